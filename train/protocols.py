"""What the trainer knows of what it is given: a model's config, and an objective.

Whatever has these attributes will do; nothing inherits from here.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import flax.linen as nn
import numpy as np
from jaxtyping import Array

from flaxformers_edu.text.tokenizer import Tokenizer
from train.examples import EncodedExamples


class ModelConfig(Protocol):
    """What the trainer knows of a family: how to build it, and what text must agree with."""

    vocab_size: int
    pad_token_id: int
    eos_token_id: int
    dtype: str
    """Of the computation."""

    def build(self, task: str) -> nn.Module: ...

    def forward_flops(
        self, shapes: Mapping[str, tuple[int, ...]], *, masked: bool = False, task: str = "base"
    ) -> dict[str, float]:
        """FLOPs of a forward pass by part, in the conventions of `flaxformers_edu.flops`."""
        ...


EncodedRow = dict[str, list[int]] | dict[str, list[float]] | dict[str, list[int] | list[float]]


class Objective(Protocol):
    """What the trainer knows of a training idea."""

    task: str
    metric: str
    higher_is_better: bool
    predicts: bool
    """Whether it is judged by what the model says of examples: then it is a PredictingObjective."""
    generates: bool
    """Whether the model says it in a text of its own: then it is a GenerativeObjective."""

    def texts(self, example: Mapping[str, Any]) -> list[str]: ...

    def encode(
        self, example: Mapping[str, Any], tokenizer: Tokenizer, *, max_length: int
    ) -> EncodedRow | list[EncodedRow]:
        """An example as numbers: one row, or several where one row of max_length cannot hold it.

        Where the objective has `encode_corpus(examples, tokenizer, *, max_length, seed)`, which
        yields rows made of the whole corpus, that is used instead.
        """
        ...

    def collate(self, config: Any, *, packed: bool = False) -> Callable[..., dict]: ...

    def loss(
        self, model: nn.Module, params: Any, batch: Mapping[str, Array], dropout_key: Array | None
    ) -> Any: ...

    def measures(self, means: dict[str, float]) -> dict[str, float]:
        """What the mean loss and its counts say, in the terms of this objective.

        An objective whose batches are to move the parameters more or less than others has
        `update_factor(batch)`, too: a number that multiplies the learning rate. One whose training
        changes as it goes on has `scheduled(batch, updates)`: the batch with what depends on the
        number of updates made, in arrays whose first axis is the rows.
        """
        ...


class CarryingObjective(Objective, Protocol):
    """What the trainer knows of an objective whose batches follow each other.

    A corpus is read as parallel streams (`train/streams.py`): row b of a batch goes on where row b
    of the batch before ended, with what the model remembers. That is part of the training state.
    """

    def start(self, model: nn.Module, rows: int) -> Any:
        """What is remembered before the first batch: a tree of arrays whose first axis is rows."""
        ...

    def carried_loss(
        self,
        model: nn.Module,
        params: Any,
        batch: Mapping[str, Array],
        dropout_key: Array | None,
        carried: Any,
    ) -> tuple[Any, Any]:
        """The loss, and what is remembered after the batch; batch["begins"] says which rows forget
        what is before them.
        """
        ...

    def lengths(self, rng: np.random.Generator, longest: int, number: int) -> np.ndarray:
        """Lengths of the windows of so many batches in turn, [number], from 1 to longest."""
        ...


def carries(objective: Any) -> bool:
    """Whether an objective is a CarryingObjective."""
    return hasattr(objective, "carried_loss")


class PredictingObjective(Objective, Protocol):
    """What the trainer knows of an objective whose predictions are compared with the truth."""

    def predict(
        self, model: nn.Module, params: Any, batch: Mapping[str, Array], **settings: Any
    ) -> dict[str, Array]:
        """What the model says of each row of a batch: arrays whose first axis is the rows."""
        ...

    def outcomes(
        self,
        rows: Sequence[Mapping[str, np.ndarray]],
        encoded: EncodedExamples,
        examples: Sequence[Mapping[str, Any]],
        tokenizer: Tokenizer,
    ) -> list[Any]:
        """One outcome an example, fit for JSON.

        rows[i] is what `predict` said of encoded[i], which came from the example
        encoded.origins[i].
        """
        ...

    def score(
        self, outcomes: Sequence[Any], examples: Sequence[Mapping[str, Any]]
    ) -> dict[str, float]: ...


class GenerativeObjective(PredictingObjective, Protocol):
    """What the trainer knows of one whose predictions are texts, found by `decoding.generate`.

    `predict` is given the settings of the search; outcomes are texts.
    """

    def alignment(
        self, model: nn.Module, params: Any, source_ids: Sequence[int], target_ids: Sequence[int]
    ) -> Array: ...
