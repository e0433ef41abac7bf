"""The tiny experiment of the chaos test: its log says which examples each step was trained on.

Dims: B rows of a batch, S length of its sources.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from flaxformers_edu.objectives import Translation
from flaxformers_edu.objectives.losses import Loss
from flaxformers_edu.optim.schedules import Schedule
from tests.train.tiny import config as tiny
from train.experiment import Experiment

ODD, PRIME = 40503, 8191


def row_marks(input_ids_BS: Any, attention_mask_BS: Any) -> Any:
    """A small number for each row, [B], from its tokens and their places; 0 for an empty row.

    Of numpy arrays or of jax's: the sum over a batch is exact in float32, in any order.
    """
    lib = np if isinstance(input_ids_BS, np.ndarray) else jnp
    places_S = lib.arange(input_ids_BS.shape[1], dtype=lib.uint32) * ODD + 1
    ids_BS = (input_ids_BS * attention_mask_BS).astype(lib.uint32)
    return (ids_BS * places_S[None, :]).sum(axis=1, dtype=lib.uint32) % PRIME


@dataclasses.dataclass(frozen=True)
class Witness(Translation):
    """Translation, judged by its loss alone, that counts `witness`: the marks of the real batch."""

    metric = "loss"
    higher_is_better = False
    predicts = False
    generates = False

    def loss(
        self, model: Any, params: Any, batch: Mapping[str, Any], dropout_key: Any | None
    ) -> Loss:
        """Translation's, with the count."""
        found = super().loss(model, params, batch, dropout_key)
        marks_B = row_marks(batch["input_ids"], batch["attention_mask"])
        counts = {**found.counts, "witness": marks_B.sum().astype(jnp.float32)}
        return Loss(found.sum, found.weight, counts)


def config() -> Experiment:
    """Endless, with a checkpoint every five steps and a line of the log for each."""
    return tiny(
        name="chaos",
        objective=Witness(),
        schedule=Schedule(peak=1e-3, warmup_steps=20),
        steps=10**7,
        eval_every=10**7,
        checkpoint_every=5,
        keep_last=3,
        keep_every=50,
    )
