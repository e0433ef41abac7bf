"""The gradient noise scale: how large a batch is worth its cost (McCandlish et al. 2018).

A gradient over w tokens is the true one plus noise: E|G_w|² = |G|² + tr(Σ) / w (their eq. A.1).
Two batch sizes give two equations, and so both unknowns; B_simple = tr(Σ) / |G|² (eq. 2.9) is the
critical batch size in tokens, under the assumption that the Hessian is close to a multiple of the
identity. Well below it, doubling the batch halves the steps; well above, it only doubles the cost.

An accumulated step holds both sizes already: its n parts, with gradients G_j over w_j tokens, and
the whole, G = Σ (w_j / W) G_j over W = Σ w_j. The paper's parts are equally large; ours are not.
With |G_parts|² = Σ (w_j / W) |G_j|², each part weighs as much as in the whole, and

    E|G_parts|² = Σ (w_j / W) (|G|² + tr(Σ) / w_j) = |G|² + n tr(Σ) / W

whatever the weights are: the parts count as n of the mean size W / n, and the estimates below have
no bias. "Token" is the unit, not a claim: tokens of one sequence are not independent, and the
noise is that of drawing the sequences (and, in training, of dropout) per token that they hold.
"""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

NOISE = ("noise_trace", "noise_signal")
"""What `estimate` finds."""

WINDOW = 100
"""Steps over which the two estimates are averaged before they are divided: each alone is noisy, and
a mean of ratios of noisy numbers is far from the ratio of their means (appendix A.1)."""


@struct.dataclass
class Parts:
    """What parts of a batch say, to be added up over them."""

    number: Float[Array, ""]
    """Parts that hold any token."""
    squares: Float[Array, ""]
    """Σ w_j |G_j|², in tokens times the gradient's unit squared."""

    @classmethod
    def of(cls, summed_gradient: object, weight: Float[Array, ""]) -> "Parts":
        """One part: a tree of gradients of the loss's sum over `weight` tokens, w_j G_j."""
        square = sum(
            (
                jnp.sum(jnp.square(leaf.astype(jnp.float32)))
                for leaf in jax.tree.leaves(summed_gradient)
            ),
            start=jnp.zeros(()),
        )
        return cls((weight > 0).astype(jnp.float32), square / jnp.maximum(weight, 1.0))


def estimate(
    parts: Parts, whole_square: Float[Array, ""], weight: Float[Array, ""]
) -> dict[str, Float[Array, ""]]:
    """Unbiased estimates of tr(Σ) and |G|² from one accumulated step (McCandlish et al., eq. A.2).

    Args:
        parts: the sum over at least two parts that hold tokens.
        whole_square: |G|² of the whole batch's mean gradient, before any clipping.
        weight: tokens of the whole batch.

    Returns:
        "noise_trace": tr(Σ) of one token's gradient; "noise_signal": |G|² without the noise, which
        may be negative in a single step. With fewer than two parts both are NaN.
    """
    more = jnp.where(parts.number > 1, parts.number - 1, jnp.nan)
    parts_square = parts.squares / jnp.maximum(weight, 1.0)
    return {
        "noise_trace": (parts_square - whole_square) * weight / more,
        "noise_signal": (parts.number * whole_square - parts_square) / more,
    }


def critical_batch(
    noise_trace: Float[Array, ""], noise_signal: Float[Array, ""]
) -> Float[Array, ""]:
    """B_simple in tokens, from means of the two estimates over many steps.

    Infinite where the signal drowns in the noise: then the batch is far below it, and more steps
    have to be averaged.
    """
    seen = noise_signal > 0
    return jnp.where(seen, noise_trace / jnp.where(seen, noise_signal, 1.0), jnp.inf)
