"""Floating-point operations of the parts of a model, in closed form.

A family's config composes them in its `forward_flops(shapes)`: FLOPs of one forward pass by part,
for a batch whose arrays have these shapes. Conventions:

- A product [m, k] x [k, n] is 2mkn: a multiplication and an addition for each term.
- Products only. Softmax, norms, activations and biases are left out, an embedding looked up is 0:
  beside products of the widths that models have, they are below 2% (tests/test_flops.py).
- Every position counts, also of padding: the program computes them.
- Attention counts the pairs of a query and a key that its causal mask and its window let through:
  what the model needs. With `masked=True` it counts the pairs that they hide as well: what a
  program does that multiplies whole squares and masks them afterwards, as XLA's attention does.
- The backward pass is two products for each of the forward pass, and recomputation
  (rematerialisation) is no work of the model's: training is 3 x forward.

MFU, "model FLOPs utilisation" (Chowdhery et al. 2022, PaLM, appendix B), divides by the peak of the
devices. It is stated here with `masked=False`, the stricter count.
"""

import math
from collections.abc import Mapping

import numpy as np

Shapes = Mapping[str, tuple[int, ...]]
"""Shapes of a batch by name: {"input_ids": (B, S), "decoder_input_ids": (B, T)}."""

TRAINING = 3
"""FLOPs of training for each of the forward pass: itself, and gradients by inputs and weights."""


def linear(positions: int, inputs: int, outputs: int) -> float:
    """A vector times a matrix [inputs, outputs] at each position; an output layer is one, too."""
    return 2.0 * positions * inputs * outputs


def feed_forward(
    positions: int, hidden_size: int, intermediate_size: int, *, gated: bool = False
) -> float:
    """Up and down, and a second way up where it is gated (Shazeer 2020)."""
    return (3 if gated else 2) * linear(positions, hidden_size, intermediate_size)


def attention(
    batch: int,
    num_queries: int,
    num_keys: int,
    *,
    hidden_size: int,
    num_heads: int,
    head_dim: int | None = None,
    value_head_dim: int | None = None,
    num_kv_heads: int | None = None,
    causal: bool = False,
    window: int | None = None,
    masked: bool = False,
) -> dict[str, float]:
    """Multi-head attention of `num_queries` positions to `num_keys` positions in each row.

    The other arguments are those of `MultiHeadAttention` and `Mask`.

    Returns:
        "projections", of queries, keys, values and output, and "products", Q Kᵀ and weights · V.
    """
    head_dim = head_dim or hidden_size // num_heads
    value_dim = value_head_dim or head_dim
    kv_heads = num_kv_heads or num_heads
    if masked:
        pairs = num_queries * num_keys
    else:
        pairs = visible_pairs(num_queries, num_keys, causal=causal, window=window)
    queries, keys = batch * num_queries, batch * num_keys
    return {
        "projections": linear(queries, hidden_size, num_heads * (head_dim + value_dim))
        + linear(keys, hidden_size, kv_heads * (head_dim + value_dim)),
        "products": 2.0 * batch * num_heads * pairs * (head_dim + value_dim),
    }


def visible_pairs(
    num_queries: int, num_keys: int, *, causal: bool = False, window: int | None = None
) -> int:
    """Pairs (query, key) of a row that a mask lets through; a causal square is half, and T/2.

    A window of w is |query position - key position| < w, as in `Mask`.
    """
    window = num_queries + num_keys if window is None else window
    queries = np.arange(num_queries)
    first = np.maximum(queries - window + 1, 0)
    last = np.minimum(queries if causal else queries + window - 1, num_keys - 1)
    return int(np.maximum(last - first + 1, 0).sum())


def within(name: str, parts: Mapping[str, float], times: int = 1) -> dict[str, float]:
    """The parts under a common name, as often as there are such layers."""
    return {f"{name}/{part}": times * flops for part, flops in parts.items()}


def training_flops(forward: Mapping[str, float]) -> float:
    """FLOPs of a forward and a backward pass together."""
    return TRAINING * math.fsum(forward.values())
