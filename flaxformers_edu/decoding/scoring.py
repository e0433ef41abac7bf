"""How hypotheses of different lengths are compared.

A scorer turns a length (new tokens, end-of-sequence token included) and a penalty into the number
that the sum of log-probabilities is divided by.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

Scorer = Callable[[Any, Any], Any]


def huggingface(length: Any, length_penalty: Any) -> Any:
    """The power length ** length_penalty: 0 keeps the plain sum, 1 gives the mean."""
    return jnp.power(jnp.asarray(length, jnp.float32), jnp.asarray(length_penalty, jnp.float32))


def gnmt(length: Any, length_penalty: Any) -> Any:
    """((5 + length) / 6) ** length_penalty (Wu et al. 2016, equation 14; there called alpha)."""
    return huggingface((5.0 + jnp.asarray(length, jnp.float32)) / 6.0, length_penalty)


SCORERS: dict[str, Scorer] = {"huggingface": huggingface, "gnmt": gnmt}
