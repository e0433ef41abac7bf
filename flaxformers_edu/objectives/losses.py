"""Losses as (sum, weight) pairs, so that means are taken once, over all tokens of a step.

Dims: B batch, T length, V vocabulary.
"""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int

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


def cross_entropy(
    logits_BTV: Float[Array, "B T V"], labels_BT: Int[Array, "B T"], label_smoothing: float = 0.0
) -> Loss:
    """Σ -(1-ε) log p(label) - ε mean_v log p(v) over the positions whose label is not -100.

    ε spreads over the whole vocabulary, as in Szegedy et al. 2016, section 7 (and torch's
    CrossEntropyLoss). Computed in float32. `counts` has "accuracy", the argmax hits, and "nll", the
    part without smoothing, whose mean gives the perplexity.
    """
    logits_BTV = logits_BTV.astype(jnp.float32)
    real_BT = labels_BT != IGNORED_LABEL
    safe_BT = jnp.where(real_BT, labels_BT, 0)
    log_normaliser_BT = jax.nn.logsumexp(logits_BTV, axis=-1)
    label_logit_BT = jnp.take_along_axis(logits_BTV, safe_BT[..., None], axis=-1)[..., 0]
    nll_BT = log_normaliser_BT - label_logit_BT
    loss_BT = nll_BT
    if label_smoothing:
        uniform_BT = log_normaliser_BT - logits_BTV.mean(axis=-1)
        loss_BT = (1 - label_smoothing) * nll_BT + label_smoothing * uniform_BT
    correct_BT = label_logit_BT >= jax.lax.stop_gradient(logits_BTV).max(axis=-1)

    def total(x_BT: Array) -> Array:
        return jnp.where(real_BT, x_BT, 0).sum(dtype=jnp.float32)

    return Loss(
        sum=total(loss_BT),
        weight=total(jnp.ones_like(loss_BT)),
        counts={"accuracy": total(correct_BT), "nll": total(nll_BT)},
    )
