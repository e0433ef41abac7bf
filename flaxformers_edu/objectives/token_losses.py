"""The cross-entropy of each token by itself, with a backward pass in one array.

Differentiated as it stands, the exponentials of the forward pass would be kept for the backward
pass, and the label's share of the gradient scattered into an array of zeros: two more arrays of
vocabulary x tokens, the largest of a small model's step. Here the gradient, softmax minus target,
is computed in one pass from the logits and their normaliser.

Dims: B batch, T length, V vocabulary.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def token_losses(
    logits_BTV: Float[Array, "B T V"], labels_BT: Int[Array, "B T"], label_smoothing: float = 0.0
) -> tuple[Float[Array, "B T"], Float[Array, "B T"], Float[Array, "B T"]]:
    """Loss, negative log-likelihood, and whether the label is the likeliest; in float32.

    The loss is -(1-ε) log p(label) - ε mean_v log p(v). It alone has a gradient; the same without
    smoothing and the hits are for the log. Labels are in the vocabulary.
    """
    return _forward(logits_BTV, labels_BT, label_smoothing)[0]


def _forward(
    logits_BTV: Array, labels_BT: Array, label_smoothing: float
) -> tuple[tuple[Array, Array, Array], tuple[Array, Array, Array]]:
    wide_BTV = logits_BTV.astype(jnp.float32)
    log_normaliser_BT = jax.nn.logsumexp(wide_BTV, axis=-1)
    label_logit_BT = jnp.take_along_axis(wide_BTV, labels_BT[..., None], axis=-1)[..., 0]
    nll_BT = log_normaliser_BT - label_logit_BT
    loss_BT = nll_BT
    if label_smoothing:
        uniform_BT = log_normaliser_BT - wide_BTV.mean(axis=-1)
        loss_BT = (1 - label_smoothing) * nll_BT + label_smoothing * uniform_BT
    correct_BT = (label_logit_BT >= wide_BTV.max(axis=-1)).astype(jnp.float32)
    return (loss_BT, nll_BT, correct_BT), (logits_BTV, labels_BT, log_normaliser_BT)


def _backward(
    label_smoothing: float,
    kept: tuple[Array, Array, Array],
    cotangents: tuple[Array, Array, Array],
) -> tuple[Array, None]:
    logits_BTV, labels_BT, log_normaliser_BT = kept
    scale_BT1 = cotangents[0][..., None]
    probability_BTV = jnp.exp(logits_BTV.astype(jnp.float32) - log_normaliser_BT[..., None])
    index_BTV = jax.lax.broadcasted_iota(labels_BT.dtype, logits_BTV.shape, 2)
    target_BTV = jnp.where(index_BTV == labels_BT[..., None], 1 - label_smoothing, 0.0)
    if label_smoothing:
        target_BTV = target_BTV + label_smoothing / logits_BTV.shape[-1]
    return ((probability_BTV - target_BTV) * scale_BT1).astype(logits_BTV.dtype), None


token_losses.defvjp(_forward, _backward)
