"""Language modelling by truncated backpropagation through time: a recurrent model reads a corpus as
parallel streams, and its states go on from batch to batch (Merity et al. 2017, sections 4 and 5).

Dims: B streams, T longest window, E embedding size.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from flaxformers_edu.errors import InputError
from flaxformers_edu.objectives.base import JudgedByLoss
from flaxformers_edu.objectives.losses import (
    Loss,
    check_loss_chunks,
    joint_loss,
    output_loss,
    own_means,
    perplexity,
)
from flaxformers_edu.objectives.rows import Row, check_unpacked
from flaxformers_edu.text.batching import IGNORED_LABEL, pad_sequences
from flaxformers_edu.text.tokenizer import Tokenizer

SHORTEST = 5
"""Tokens of the shortest window that is drawn."""
PENALTIES = ("ar", "tar")


@dataclasses.dataclass(frozen=True)
class BPTTLanguageModel(JudgedByLoss):
    """Cross-entropy of the next token, with states that are carried from batch to batch.

    The longest window is batching.max_source_length; rows of a batch are as many streams as of
    these go into batching.tokens_per_batch. All windows have one shape, whatever their length.
    """

    bptt: int = 70
    """Usual length of a window; drawn ones differ around it, or (5%) around half of it."""
    deviation: float = 5.0
    """Standard deviation of the lengths that are drawn; 0: all windows have `bptt` tokens. The
    learning rate of each batch is multiplied by its length over `bptt`."""
    ar: float = 2.0
    """Activation regularisation: times the mean square of what the output layer reads."""
    tar: float = 1.0
    """Temporal activation regularisation: times the mean square of what the last layer's states
    change from token to token."""
    backward: bool = False
    """Texts are read from their end: for the second of a pair of models that are averaged."""
    loss_chunks: int = 1
    """Parts of the length whose logits are computed one after the other: less memory."""

    task = "causal_lm"

    def __post_init__(self) -> None:
        if self.bptt < 1:
            raise InputError(f"objective.bptt is {self.bptt}; it must be at least 1")
        for name in ("deviation", *PENALTIES):
            if not 0 <= getattr(self, name) < float("inf"):
                raise InputError(f"objective.{name} is {getattr(self, name)}; it must be 0 or more")
        check_loss_chunks(self.loss_chunks)

    def texts(self, example: Mapping[str, Any]) -> list[str]:
        """What a tokeniser is trained on."""
        return [example["text"]]

    def encode(
        self, example: Mapping[str, Any], tokenizer: Tokenizer, *, max_length: int
    ) -> dict[str, list[int]]:
        """A text {"text"} as token ids with an end token, however long it is."""
        ids = list(tokenizer.encode(example["text"]))
        return {"input_ids": ids[::-1] if self.backward else ids}

    def collate(self, config: Any, *, packed: bool = False) -> Callable[..., dict]:
        """The function from windows of streams to a batch with `labels` and `begins`.

        Raises:
            InputError: packing is asked for.
        """
        check_unpacked(packed)
        return partial(collate_windows, pad_token_id=config.pad_token_id)

    def lengths(self, rng: np.random.Generator, longest: int, number: int) -> np.ndarray:
        """Lengths of the windows of so many batches in turn (section 4.1).

        Raises:
            InputError: the usual length is beyond the longest.
        """
        if longest < self.bptt:
            raise InputError(
                f"batching.max_source_length is {longest}, and objective.bptt {self.bptt}: give "
                "windows room for what is drawn, or lower objective.bptt"
            )
        if not self.deviation:
            return np.full(number, self.bptt)
        around = np.where(rng.random(number) < 0.95, self.bptt, self.bptt / 2)
        drawn: np.ndarray = np.floor(rng.normal(around, self.deviation))
        return np.clip(drawn, min(SHORTEST, longest), longest).astype(np.int64)

    def update_factor(self, batch: Mapping[str, Array]) -> Float[Array, ""]:
        """A window's length over the usual one: short windows would have too much to say."""
        length = jnp.max(batch["attention_mask"].sum(axis=1))
        return jnp.asarray(length, jnp.float32) / self.bptt

    def start(self, model: nn.Module, rows: int) -> Any:
        """What is remembered before the first batch."""
        remembering: Any = model
        return remembering.start(rows)

    def loss(
        self, model: nn.Module, params: Any, batch: Mapping[str, Array], dropout_key: Array | None
    ) -> Loss:
        """The loss of windows before which there is nothing; no key means no dropout."""
        states = self.start(model, len(batch["input_ids"]))
        return self.carried_loss(model, params, batch, dropout_key, states)[0]

    def carried_loss(
        self,
        model: nn.Module,
        params: Any,
        batch: Mapping[str, Array],
        dropout_key: Array | None,
        carried: Any,
    ) -> tuple[Loss, Any]:
        """The loss of windows that go on from `carried`, and the states at their ends.

        In training, with a key, the two regularisers are added.
        """
        begins_B1 = batch["begins"][:, None] != 0
        states = jax.tree.map(lambda x: jnp.where(begins_B1, jnp.zeros_like(x), x), carried)
        output: Any = model.apply(
            {"params": params},
            batch["input_ids"],
            batch["attention_mask"],
            states=states,
            deterministic=dropout_key is None,
            rngs={"dropout": dropout_key} if dropout_key is not None else {},
        )
        loss = output_loss(model, params, output, batch["labels"], chunks=self.loss_chunks)
        if dropout_key is not None:
            real_BT = batch["attention_mask"] != 0
            parts = {
                "ar": mean_square(output.last_hidden_state, real_BT),
                "tar": mean_square(
                    output.undropped_state[:, 1:] - output.undropped_state[:, :-1],
                    real_BT[:, 1:] & real_BT[:, :-1],
                ),
            }
            for name, part in parts.items():
                if factor := getattr(self, name):
                    loss = joint_loss(loss, part, name, factor)
        return loss, jax.lax.stop_gradient(output.states)

    def measures(self, means: dict[str, float]) -> dict[str, float]:
        """The means, and the perplexity: e to the mean negative log-likelihood of a token."""
        for name in PENALTIES:
            means = own_means(means, name) if f"{name}_weight" in means else means
        return {**means, "perplexity": perplexity(means["nll"])}


def mean_square(x_BTE: Float[Array, "B T E"], real_BT: Array) -> Loss:
    """The mean over the features of each real place, squared, as a sum over the places."""
    squares_BT = jnp.square(x_BTE.astype(jnp.float32)).mean(axis=-1)
    total = jnp.where(real_BT, squares_BT, 0).sum()
    return Loss(sum=total, weight=real_BT.sum(dtype=jnp.float32), counts={})


def collate_windows(
    examples: Sequence[Row], rows: int, length: int, *, pad_token_id: int
) -> dict[str, np.ndarray]:
    """Windows of streams, int32 [rows, length], each token's label the one after it.

    Keys: input_ids, attention_mask, labels (-100 where there is nothing to predict), and `begins`
    [rows], 1 where nothing is before the window.
    """
    missing: list[list[int]] = [[] for _ in range(rows - len(examples))]
    sizes = [example["length"] for example in examples]
    ids = [example["input_ids"][:n] for example, n in zip(examples, sizes, strict=True)]
    following = [
        example["input_ids"][1 : n + 1] for example, n in zip(examples, sizes, strict=True)
    ]
    lengths_B = np.array([*sizes, *[0] * len(missing)])
    begins_B: np.ndarray = np.ones(rows, np.int32)
    begins_B[: len(examples)] = [example["begins"] for example in examples]
    return {
        "input_ids": pad_sequences([*ids, *missing], length, pad_token_id),
        "attention_mask": (np.arange(length) < lengths_B[:, None]).astype(np.int32),
        "labels": pad_sequences([*following, *missing], length, IGNORED_LABEL),
        "begins": begins_B,
    }
