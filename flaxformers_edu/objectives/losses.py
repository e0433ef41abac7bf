"""Losses as (sum, weight) pairs, so that means are taken once, over all tokens of a step.

Dims: B batch, T length, D hidden size, V vocabulary, C chunks, c length of a chunk; C classes in
`class_loss`.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int

from flaxformers_edu.errors import InputError
from flaxformers_edu.objectives.token_losses import token_losses
from flaxformers_edu.sharding import shard

ToLogits = Callable[[Any, Array], Array]
IGNORED_LABEL = -100


@struct.dataclass
class Loss:
    """A loss to be divided by its weight after everything has been added up.

    `counts` are further sums over the same tokens, for the log: accuracy, parts of a joint loss.
    """

    sum: Float[Array, ""]
    weight: Float[Array, ""]
    counts: dict[str, Float[Array, ""]]

    def __add__(self, other: "Loss") -> "Loss":
        """The loss over both sets of tokens."""
        return jax.tree.map(jnp.add, self, other)


def joint_loss(first: Loss, second: Loss, name: str, factor: float = 1.0) -> Loss:
    """mean(first) + factor · mean(second), as one (sum, weight) with the weight of the first.

    The second's sum is scaled by the ratio of the two weights in this batch. Where a batch is split
    for accumulation, each part's mean of the second loss so counts by the part's weight of the
    first: that is the whole batch's mean where the parts have the ratio in common (all rows full),
    and otherwise close to it, as it is where replicas average means of their own. `counts` keep
    the second's own sums under `name`, from which `own_means` gives exact ones.
    """
    ratio = first.weight / jnp.maximum(second.weight, 1.0)
    counts = {**second.counts, "loss": second.sum, "weight": second.weight}
    return Loss(
        sum=first.sum + factor * ratio * second.sum,
        weight=first.weight,
        counts={**first.counts, **{f"{name}_{key}": value for key, value in counts.items()}},
    )


def own_means(means: Mapping[str, float], name: str) -> dict[str, float]:
    """Numbers in which those of `joint_loss`'s second part are means over its own weight."""
    weight = means[f"{name}_weight"] or 1.0
    return {
        key: value / weight if key.startswith(f"{name}_") else value
        for key, value in means.items()
        if key != f"{name}_weight"
    }


def perplexity(nll: float) -> float:
    """Exp of the mean negative log-likelihood; infinite where that is more than a float holds."""
    try:
        return math.exp(nll)
    except OverflowError:
        return math.inf


def cross_entropy(
    logits_BTV: Float[Array, "B T V"], labels_BT: Int[Array, "B T"], label_smoothing: float = 0.0
) -> Loss:
    """Σ -(1-ε) log p(label) - ε mean_v log p(v) over the positions whose label is not -100.

    ε spreads over the whole vocabulary, as in Szegedy et al. 2016, section 7 (and torch's
    CrossEntropyLoss). Computed in float32. `counts` has "accuracy", the argmax hits, and "nll", the
    part without smoothing, whose mean gives the perplexity. Only `sum` has a gradient.
    """
    real_BT = labels_BT != IGNORED_LABEL
    safe_BT = jnp.where(real_BT, labels_BT, 0)
    loss_BT, nll_BT, correct_BT = token_losses(logits_BTV, safe_BT, label_smoothing)

    def total(x_BT: Array) -> Array:
        return jnp.where(real_BT, x_BT, 0).sum(dtype=jnp.float32)

    return Loss(
        sum=total(loss_BT),
        weight=total(jnp.ones_like(loss_BT)),
        counts={"accuracy": total(correct_BT), "nll": total(nll_BT)},
    )


def class_loss(logits_BC: Float[Array, "B C"], labels_B: Int[Array, " B"]) -> Loss:
    """Cross-entropy of one choice a row; a label of -100 counts nothing."""
    return cross_entropy(logits_BC[:, None, :], labels_B[:, None])


def next_token_loss(
    model: nn.Module,
    params: Any,
    batch: Mapping[str, Array],
    dropout_key: Array | None,
    *,
    label_smoothing: float = 0.0,
    chunks: int = 1,
) -> Loss:
    """`cross_entropy` of a model's logits and the batch's labels; no key means no dropout.

    With `chunks` the model's own logits go unused, so that a compiled step never makes them.
    """
    inputs: dict[str, Any] = {name: x for name, x in batch.items() if name != "labels"}
    output: Any = model.apply(
        {"params": params},
        **inputs,
        deterministic=dropout_key is None,
        rngs={"dropout": dropout_key} if dropout_key is not None else {},
    )
    return output_loss(
        model, params, output, batch["labels"], label_smoothing=label_smoothing, chunks=chunks
    )


def output_loss(
    model: nn.Module,
    params: Any,
    output: Any,
    labels_BT: Int[Array, "B T"],
    *,
    label_smoothing: float = 0.0,
    chunks: int = 1,
) -> Loss:
    """`cross_entropy` of a language model's output: of its logits, or of its states in chunks."""
    if chunks == 1:
        return cross_entropy(output.logits, labels_BT, label_smoothing)
    head: Any = model

    def to_logits(head_params: Any, x_BTD: Array) -> Array:
        return head.apply({"params": head_params}, x_BTD, method="to_logits")

    return chunked_cross_entropy(
        to_logits,
        head.head_params(params),
        output.last_hidden_state,
        labels_BT,
        label_smoothing,
        chunks,
    )


def check_loss_chunks(chunks: int) -> None:
    """Raises InputError for an objective's `loss_chunks` below 1."""
    if chunks < 1:
        raise InputError(f"objective.loss_chunks is {chunks}; it must be at least 1")


def chunked_cross_entropy(
    to_logits: ToLogits,
    head_params: Any,
    hidden_BTD: Float[Array, "B T D"],
    labels_BT: Int[Array, "B T"],
    label_smoothing: float = 0.0,
    chunks: int = 1,
) -> Loss:
    """`cross_entropy` of `to_logits(head_params, hidden)`, with the logits of a chunk at a time.

    The length is cut into `chunks` (and padded where it does not divide). Where gradients are
    asked for, a chunk's logits give its loss and its gradients at once and are then forgotten:
    the whole loss is a sum, so that all its gradients scale with one number, which the
    backward pass multiplies in. Nothing is computed twice. Only `sum` has a gradient.
    """
    hidden_CBcD, labels_CBc = _cut(hidden_BTD, labels_BT, chunks)
    loss = _summed(to_logits, label_smoothing, head_params, hidden_CBcD, labels_CBc)
    return Loss(loss.sum, *jax.lax.stop_gradient((loss.weight, loss.counts)))


def _cut(
    hidden_BTD: Array, labels_BT: Array, chunks: int
) -> tuple[Float[Array, "C B c D"], Int[Array, "C B c"]]:
    """Every C-th place is a chunk: where the length lies on several devices, so does a chunk."""
    B, T, D = hidden_BTD.shape
    missing = -T % chunks
    hidden_BTD = jnp.pad(hidden_BTD, ((0, 0), (0, missing), (0, 0)))
    labels_BT = jnp.pad(labels_BT, ((0, 0), (0, missing)), constant_values=IGNORED_LABEL)
    hidden_CBcD = jnp.moveaxis(hidden_BTD.reshape(B, -1, chunks, D), 2, 0)
    return hidden_CBcD, jnp.moveaxis(labels_BT.reshape(B, -1, chunks), 2, 0)


def _chunk_loss(
    to_logits: ToLogits, label_smoothing: float, labels_Bc: Array, head_params: Any, x_BcD: Array
) -> Loss:
    x_BcD = shard(x_BcD, ("batch", "length", "embed"))
    return cross_entropy(to_logits(head_params, x_BcD), labels_Bc, label_smoothing)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _summed(
    to_logits: ToLogits,
    label_smoothing: float,
    head_params: Any,
    hidden_CBcD: Array,
    labels_CBc: Array,
) -> Loss:
    """The loss of all chunks: as it is computed where nobody asks for gradients."""

    def add(total: Loss, chunk: tuple[Array, Array]) -> tuple[Loss, None]:
        x_BcD, labels_Bc = chunk
        return total + _chunk_loss(to_logits, label_smoothing, labels_Bc, head_params, x_BcD), None

    return jax.lax.scan(add, _no_loss(), (hidden_CBcD, labels_CBc))[0]


def _summed_forward(
    to_logits: ToLogits,
    label_smoothing: float,
    head_params: Any,
    hidden_CBcD: Array,
    labels_CBc: Array,
) -> tuple[Loss, tuple[Any, Array]]:
    def add(totals: tuple[Loss, Any], chunk: tuple[Array, Array]) -> tuple[Any, Array]:
        x_BcD, labels_Bc = chunk

        def loss_of(head_params: Any, x_BcD: Array) -> tuple[Array, Loss]:
            loss = _chunk_loss(to_logits, label_smoothing, labels_Bc, head_params, x_BcD)
            return loss.sum, loss

        gradients, loss = jax.grad(loss_of, (0, 1), has_aux=True)(head_params, x_BcD)
        return jax.tree.map(jnp.add, totals, (loss, gradients[0])), gradients[1]

    zeros = (_no_loss(), jax.tree.map(jnp.zeros_like, head_params))
    (loss, head_gradients), hidden_gradients = jax.lax.scan(add, zeros, (hidden_CBcD, labels_CBc))
    return loss, (head_gradients, hidden_gradients)


def _summed_backward(
    to_logits: ToLogits, label_smoothing: float, gradients: tuple[Any, Array], cotangent: Loss
) -> tuple[Any, Array, None]:
    def scale(gradient: Array) -> Array:
        return gradient * cotangent.sum.astype(gradient.dtype)

    return (*jax.tree.map(scale, gradients), None)


_summed.defvjp(_summed_forward, _summed_backward)


def _no_loss() -> Loss:
    zero = jnp.zeros((), jnp.float32)
    return Loss(zero, zero, {"accuracy": zero, "nll": zero})
