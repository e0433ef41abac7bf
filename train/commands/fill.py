"""`generate --fill`: the likeliest pieces in place of a mask."""

from pathlib import Path

import flax.linen as nn
import jax

from flaxformers_edu import interop
from flaxformers_edu.errors import InputError
from flaxformers_edu.interop import Pretrained
from flaxformers_edu.pipelines import FillMask
from flaxformers_edu.sharding import MeshShape
from train.prepare import CONFIG, is_run, open_finished
from train.restore import load_params
from train.state import abstract_params


def fill(folder: Path, text: str, *, top_k: int, checkpoint: str = "best") -> int:
    """The command: for each mask of the text its likeliest pieces, with their probabilities."""
    if top_k < 1:
        raise InputError(f"--top-k is {top_k}; it must be at least 1")
    found = FillMask(masked_model(folder, checkpoint), batch_size=1)
    [masks] = found.of_each_mask([text], top_k=top_k)
    for number, guesses in enumerate(masks, start=1):
        if number > 1:
            print()
        for guess in guesses:
            print(f"{guess['score']:.4f}  {guess['token_str']}")
    return 0


def masked_model(folder: Path, checkpoint: str) -> Pretrained:
    """A model that fills in masks, from a run's folder or one of Hugging Face.

    Raises:
        InputError: the folder is neither, or its model has not learnt it.
    """
    if is_run(folder):
        return _of_run(folder, checkpoint)
    if not (folder / CONFIG).is_file():
        raise InputError(f"{folder} is not the folder of a run: it has no {CONFIG}")
    found = interop.from_pretrained(folder, FillMask.model_task)
    if found.initialised:
        raise InputError(f"{folder} has no weights for {', '.join(found.initialised)}")
    if found.tokenizer is None:
        raise InputError(f"{folder} has no tokeniser")
    return found


def _of_run(folder: Path, checkpoint: str) -> Pretrained:
    run = open_finished(folder)
    config = getattr(run.experiment.model, "student", run.experiment.model)
    params, _ = load_params(run, checkpoint, MeshShape().build(jax.devices()[:1]))
    params = params.get("student", params)
    if "generator" in params:  # ELECTRA's, which shares the discriminator's embeddings
        embeddings = params["discriminator"]["embeddings"]
        config, params = config.generator(), {**params["generator"], "embeddings": embeddings}
    if "mlm_head" not in params:
        raise InputError(f"{folder} was not trained to fill in masks")
    task = FillMask.model_task
    model = config.build(task)
    wanted = nn.meta.unbox(abstract_params(model))
    return Pretrained(model, {name: params[name] for name in wanted}, run.tokenizer, config, task)
