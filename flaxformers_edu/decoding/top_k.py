"""The best token of a row, and the best k of all hypotheses of a batch row, found by blocks.

Letters: B batch, N hypotheses a batch row, V vocabulary, K candidates, C blocks of W tokens.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

BLOCK = 128
"""Width of a block: a machine vector or a few, and far below the vocabularies in use."""
FEW = 4096
"""Up to this many continuations `lax.top_k` alone is the faster way."""


def highest_token(scores: Float[Array, "*s V"]) -> Int[Array, "*s"]:
    """The index of the highest score, the lowest among equals: `argmax`, several times as fast.

    The block whose maximum comes first, then the place in it: two short searches and one plain
    maximum, where XLA's argmax carries an index along with every element.
    """
    V = scores.shape[-1]
    if V <= FEW:
        return jnp.argmax(scores, axis=-1).astype(jnp.int32)
    blocks = _in_blocks(scores)
    block = jnp.argmax(blocks.max(axis=-1), axis=-1)
    candidates = jnp.take_along_axis(blocks, block[..., None, None], axis=-2)[..., 0, :]
    return (block * BLOCK + jnp.argmax(candidates, axis=-1)).astype(jnp.int32)


def _in_blocks(scores: Float[Array, "*s V"]) -> Float[Array, "*s C W"]:
    """The vocabulary cut into blocks, the last one filled up with -inf."""
    V = scores.shape[-1]
    num_blocks = -(-V // BLOCK)
    padding = [(0, 0)] * (scores.ndim - 1) + [(0, num_blocks * BLOCK - V)]
    padded = jnp.pad(scores, padding, constant_values=-jnp.inf)
    return padded.reshape(*scores.shape[:-1], num_blocks, BLOCK)


def top_continuations(
    scores_BNV: Float[Array, "B N V"],
    minus_BN: Float[Array, "B N"],
    plus_BN: Float[Array, "B N"],
    k: int,
) -> tuple[Float[Array, "B K"], Int[Array, "B K"], Int[Array, "B K"]]:
    """The k highest `scores - minus + plus` of each batch row, highest first.

    Equal ones come in the order (hypothesis, token). With `minus` the log-sum-exp of a row of
    logits, this ranks log-probabilities that are never written out: rounding to nearest keeps
    the order, so a block's highest logit is also its highest log-probability.

    The k best lie in the k blocks of W tokens whose maxima are highest: of any other block, every
    element is behind those k maxima. A continuation of -inf may be reported as another one of -inf.

    Returns:
      The values, the hypotheses and the tokens, each [B, K].
    """
    B, N, V = scores_BNV.shape
    if N * V <= FEW or V < BLOCK:
        total_BNV = scores_BNV - minus_BN[..., None] + plus_BN[..., None]
        values_BK, index_BK = lax.top_k(total_BNV.reshape(B, N * V), k)
        return values_BK, index_BK // V, index_BK % V

    blocks_BNCW = _in_blocks(scores_BNV)
    num_blocks = blocks_BNCW.shape[2]
    highest_BNC = blocks_BNCW.max(axis=-1) - minus_BN[..., None] + plus_BN[..., None]
    kept = min(k, N * num_blocks)
    block_BK = lax.top_k(highest_BNC.reshape(B, N * num_blocks), kept)[1]
    # In the order of the vocabulary again, so that equal values keep it.
    block_BK = jnp.sort(block_BK, axis=-1)

    hypothesis_BK = block_BK // num_blocks
    blocks_BCW = blocks_BNCW.reshape(B, N * num_blocks, BLOCK)
    candidates_BKW = (
        jnp.take_along_axis(blocks_BCW, block_BK[..., None], axis=1)
        - jnp.take_along_axis(minus_BN, hypothesis_BK, axis=1)[..., None]
        + jnp.take_along_axis(plus_BN, hypothesis_BK, axis=1)[..., None]
    )
    values_BK, place_BK = lax.top_k(candidates_BKW.reshape(B, kept * BLOCK), k)
    block_BK = jnp.take_along_axis(block_BK, place_BK // BLOCK, axis=1)
    token_BK = (block_BK % num_blocks) * BLOCK + place_BK % BLOCK
    # Only where fewer than k are finite can a padded place, -inf itself, be among them.
    return values_BK, block_BK // num_blocks, jnp.minimum(token_BK, V - 1)
