"""TinyBERT (Jiao et al. 2019, arXiv 1909.10351): a thin BERT that learns its teacher's layers.

The model is BERT's. While it learns, one linear map takes its states, which are narrower, to the
width of the teacher's, so that they can be compared (section 3.1, eq. 8 and 9).

Dims: D hidden size, M the teacher's.
"""

import dataclasses
from typing import Any, ClassVar

from jaxtyping import Array, Float

from flaxformers_edu import flops
from flaxformers_edu.errors import InputError
from flaxformers_edu.flops import Shapes
from flaxformers_edu.layers.linear import Linear
from flaxformers_edu.models.bert import TASKS as BERT_TASKS
from flaxformers_edu.models.bert import Bert, BertConfig
from flaxformers_edu.models.encoder import Places
from flaxformers_edu.models.outputs import BaseOutput

TASKS = (*BERT_TASKS, "distillation")


@dataclasses.dataclass(frozen=True)
class TinyBertConfig(BertConfig):
    """The defaults are TinyBERT with 4 layers."""

    hidden_size: int = 312
    """d_model."""
    num_layers: int = 4
    """Layers."""
    intermediate_size: int = 1200
    """d_ff, the width inside the feed-forward network."""
    teacher_size: int = 768
    """hidden_size of the teacher, for the task "distillation"."""

    tasks: ClassVar[tuple[str, ...]] = TASKS
    pooled_tasks: ClassVar[tuple[str, ...]] = (*BertConfig.pooled_tasks, "distillation")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.teacher_size < 1:
            raise InputError(f"model.teacher_size is {self.teacher_size}; it must be at least 1")

    def build(self, task: str = "base") -> "TinyBert":
        self.check_task(task)
        return TinyBert(self, task)

    def forward_flops(
        self, shapes: Shapes, *, masked: bool = False, task: str = "base"
    ) -> dict[str, float]:
        """As BERT; "distillation" compares the embeddings and the states of every layer."""
        parts = super().forward_flops(shapes, masked=masked, task=task)
        if task == "distillation":
            B, T = shapes["input_ids"]
            states = (self.num_layers + 1) * B * T
            parts["fit_dense"] = flops.linear(states, self.hidden_size, self.teacher_size)
        return parts


PRESETS = {
    "tinybert-4": TinyBertConfig(),
    "tinybert-6": TinyBertConfig(hidden_size=768, num_layers=6, intermediate_size=3072),
}


class TinyBert(Bert):
    """BERT, and with the task "distillation" the map to the teacher's width.

    The released fine-tuning code has a ReLU between pooler and classifier; here, as in the paper
    and in other readers of its weights, there is none.
    """

    config: TinyBertConfig

    def setup(self) -> None:
        super().setup()
        width = (self.config.teacher_size,)
        self.fit_dense = Linear(width, ("embed",), ("features",), **self.settings)

    def own_task(
        self, x_BTD: Float[Array, "B T D"], places_BP: Places | None, deterministic: bool
    ) -> Any:
        """Of "distillation" the base output: who compares states applies `fit` to those he wants.

        It is called here so that it gets its parameters.
        """
        if self.task != "distillation":
            return super().own_task(x_BTD, places_BP, deterministic)
        if self.is_initializing():
            self.fit(x_BTD)
        return BaseOutput(x_BTD, self.sentence(x_BTD))

    def fit(self, x: Float[Array, "*layers T D"]) -> Float[Array, "*layers T M"]:
        """States, of the embeddings or of any layer, in the width of the teacher's."""
        return self.fit_dense(x)
