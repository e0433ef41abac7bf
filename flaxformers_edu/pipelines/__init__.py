"""From texts to answers in one call: a tokeniser, a model, and what a task makes of its outputs.

>>> fill = pipeline("fill-mask", "bert-base-uncased/")  # doctest: +SKIP
>>> fill("Paris is the [MASK] of France.")[0]["token_str"]  # doctest: +SKIP
'capital'

Rows go in batches of one size and a few lengths, so that a pipeline compiles once a length.
"""

from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from flaxformers_edu.errors import InputError, unknown_name
from flaxformers_edu.interop import from_pretrained
from flaxformers_edu.pipelines.base import Pipeline
from flaxformers_edu.pipelines.feature_extraction import Features
from flaxformers_edu.pipelines.fill_mask import MASK, FillMask
from flaxformers_edu.pipelines.multiple_choice import Choices
from flaxformers_edu.pipelines.question_answering import Answers
from flaxformers_edu.pipelines.text_classification import TextClassification
from flaxformers_edu.pipelines.text_generation import TextGeneration
from flaxformers_edu.pipelines.token_classification import TokenClassification

PIPELINES: dict[str, type[Pipeline]] = {
    "fill-mask": FillMask,
    "text-classification": TextClassification,
    "token-classification": TokenClassification,
    "question-answering": Answers,
    "multiple-choice": Choices,
    "feature-extraction": Features,
    "text-generation": TextGeneration,
}
"""Tasks by the names that Hugging Face gives them."""

__all__ = [
    "MASK",
    "PIPELINES",
    "Answers",
    "Choices",
    "Features",
    "FillMask",
    "Pipeline",
    "TextClassification",
    "TextGeneration",
    "TokenClassification",
    "pipeline",
]


def pipeline(
    task: str, folder: str | Path, *, batch_size: int = 8, mesh: Mesh | None = None, **changes: Any
) -> Pipeline:
    """What a folder's model says of texts.

    Args:
        task: "fill-mask", "text-classification", "token-classification", "question-answering",
            "multiple-choice", "feature-extraction" or "text-generation".
        folder: of a model with its tokeniser, see `from_pretrained`.
        batch_size: rows that are computed at once.
        mesh: where the parameters go.
        **changes: fields of the model's config, see `from_pretrained`.

    Raises:
        InputError: an unknown task, a folder that cannot be read, one without a tokeniser, or whose
            model has not learnt the task.
    """
    if task not in PIPELINES:
        raise unknown_name("task", task, PIPELINES)
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}; it must be at least 1")
    kind = PIPELINES[task]
    found = from_pretrained(folder, kind.model_task, mesh=mesh, **changes)
    if found.tokenizer is None:
        raise InputError(f"{folder} has no tokeniser")
    if new := [name for name in found.initialised if not name.startswith("pooler")]:
        raise InputError(f"{folder} has not learnt {task}: it has no weights for {', '.join(new)}")
    return kind(found, batch_size)
