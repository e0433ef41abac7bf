"""Splash attention: the block-sparse flash-attention kernel for TPU (Pallas), behind our mask.

Dims: B batch, T queries, S keys, H query heads, G key/value heads, K head_dim.
"""

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu import splash_attention as splash
from jaxtyping import Array, Float

from flaxformers_edu.errors import InputError
from flaxformers_edu.layers.masks import Mask

BLOCK = 128  # the kernel's blocks are whole rows of 128 lanes


def splash_attention(
    q_BTHK: Float[Array, "B T H K"],
    k_BSGK: Float[Array, "B S G K"],
    v_BSGK: Float[Array, "B S G K"],
    mask: Mask,
    *,
    scale: float,
) -> Float[Array, "B T H K"]:
    """Attention by the splash kernel; off TPU it runs in Pallas' interpreter (for tests).

    Lengths are padded to multiples of 128; the padding is a segment of its own.

    Raises:
        InputError: a mask with explicit positions or `visible_BTS`, which the kernel cannot take.
    """
    if mask.places_keys:
        raise InputError(
            "attention implementation 'splash' takes causal, window, padding and segments only; "
            "use 'xla' for masks with explicit positions"
        )
    (B, T, H, _), S = q_BTHK.shape, k_BSGK.shape[1]
    T_pad, S_pad = -T % BLOCK, -S % BLOCK
    segments = mask.segments(B, T, S)
    if segments is None and (T_pad or S_pad):
        segments = jnp.ones((B, T), jnp.int32), jnp.ones((B, S), jnp.int32)
    if segments is not None:
        query_BT, key_BS = segments
        segments = splash.SegmentIds(
            q=jnp.pad(query_BT, ((0, 0), (0, T_pad)), constant_values=-1),
            kv=jnp.pad(key_BS, ((0, 0), (0, S_pad))),
        )

    shape = (T + T_pad, S + S_pad)
    block_mask: splash.Mask = splash.FullMask(shape)
    if mask.causal:
        block_mask = splash.CausalMask(shape)
    if mask.window is not None:
        right = 0 if mask.causal else mask.window - 1
        block_mask = splash.LocalMask(shape, (mask.window - 1, right), offset=0)
    kernel = splash.make_splash_mha_single_device(
        splash.MultiHeadMask([block_mask] * H), interpret=jax.default_backend() != "tpu"
    )

    def heads_first(x_BLHK: Array, pad: int) -> Array:
        return jnp.pad(x_BLHK, ((0, 0), (0, pad), (0, 0), (0, 0))).transpose(0, 2, 1, 3)

    repeats = H // k_BSGK.shape[2]
    k_BSHK, v_BSHK = (jnp.repeat(x, repeats, axis=2) for x in (k_BSGK, v_BSGK))
    o_BHTK = jax.vmap(kernel)(
        heads_first(q_BTHK * scale, T_pad),
        heads_first(k_BSHK, S_pad),
        heads_first(v_BSHK, S_pad),
        segments,
    )
    return o_BHTK.transpose(0, 2, 1, 3)[:, :T]
