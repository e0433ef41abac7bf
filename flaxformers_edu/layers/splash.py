"""Splash attention: the block-sparse flash-attention kernel for TPU (Pallas), behind our mask.

Dims: B batch, T queries, S keys, H query heads, G key/value heads, K head_dim.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu import splash_attention as splash
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from flaxformers_edu.errors import InputError
from flaxformers_edu.layers.masks import Mask
from flaxformers_edu.sharding import activation_spec, platform

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

    XLA cannot split a kernel over devices, so on a mesh each device is given its part here: its
    rows, its heads, and its part of the queries with all of the keys. Rows or heads that do not
    divide over their mesh axes are computed whole on each device of that axis.

    Raises:
        InputError: a mask with explicit positions or `visible_BTS`, which the kernel cannot take.
    """
    if mask.places_keys:
        raise InputError(
            "attention implementation 'splash' takes causal, window, padding and segments only; "
            "use 'xla' for masks with explicit positions"
        )
    (B, T, H, _), S = q_BTHK.shape, k_BSGK.shape[1]
    if mask.window is not None and mask.window >= max(T, S):
        mask = dataclasses.replace(mask, window=None)
    mesh = jax.sharding.get_abstract_mesh()
    parts = mesh.shape.get("sequence", 1)  # each part of the queries is whole blocks
    T_pad, S_pad = -T % (BLOCK * parts), -S % BLOCK
    if mask.window is not None:
        # No part of the queries may lie beyond the last key's window: the kernel wants some work.
        S_pad = max(S_pad, T + T_pad - S)
    segments = mask.segments(B, T, S)
    if segments is None and (T_pad or S_pad):
        segments = jnp.ones((B, T), jnp.int32), jnp.ones((B, S), jnp.int32)
    if segments is not None:
        query_BT, key_BS = segments
        segments = splash.SegmentIds(
            q=jnp.pad(query_BT, ((0, 0), (0, T_pad)), constant_values=-1),
            kv=jnp.pad(key_BS, ((0, 0), (0, S_pad))),
        )

    def heads_first(x_BLHK: Array, pad: int) -> Array:
        return jnp.pad(x_BLHK, ((0, 0), (0, pad), (0, 0), (0, 0))).transpose(0, 2, 1, 3)

    repeats = H // k_BSGK.shape[2]
    k_BSHK, v_BSHK = (jnp.repeat(x, repeats, axis=2) for x in (k_BSGK, v_BSGK))
    q_BHTK = heads_first(q_BTHK * scale, T_pad)
    k_BHSK, v_BHSK = heads_first(k_BSHK, S_pad), heads_first(v_BSHK, S_pad)

    q_spec = activation_spec(("batch", "heads", "length", "head_dim"), q_BHTK.shape)
    if q_spec is None:
        kernel = _kernel(mask, (T + T_pad, S + S_pad), H)
        o_BHTK = jax.vmap(kernel)(q_BHTK, k_BHSK, v_BHSK, segments)
    else:
        rows, heads, length, _ = q_spec
        local_heads = H // (mesh.shape[heads] if heads else 1)
        if mask.causal or mask.window is not None:
            # All heads have the same mask, but each part of the queries its own rows of it.
            kernel = _kernel(mask, (T + T_pad, S + S_pad), local_heads, query_parts=parts)
            mask_spec = PartitionSpec(None, length)
        else:
            kernel = _kernel(mask, ((T + T_pad) // parts, S + S_pad), local_heads)
            mask_spec = PartitionSpec(None, None)
        kv_spec = PartitionSpec(rows, heads, None, None)
        ids_specs: Any = (PartitionSpec(rows, length), PartitionSpec(rows, None))
        o_BHTK = jax.shard_map(
            lambda kernel, *arguments: jax.vmap(kernel)(*arguments),
            in_specs=(
                kernel.manual_sharding_spec(NamedSharding(mesh, mask_spec)),
                *(q_spec, kv_spec, kv_spec),
                segments and splash.SegmentIds(*ids_specs),
            ),
            out_specs=q_spec,
            check_vma=False,  # Pallas does not say over which axes its results vary
        )(kernel, q_BHTK, k_BHSK, v_BHSK, segments)
    return o_BHTK.transpose(0, 2, 1, 3)[:, :T]


def _kernel(mask: Mask, shape: tuple[int, int], num_heads: int, *, query_parts: int = 1) -> Any:
    """The kernel for a mask [queries, keys]; padding and packing come with each call."""
    block_mask: splash.Mask = splash.FullMask(shape)
    if mask.causal:
        block_mask = splash.CausalMask(shape)
    if mask.window is not None:
        right = 0 if mask.causal else mask.window - 1
        block_mask = splash.LocalMask(shape, (mask.window - 1, right), offset=0)
    block_q, block_kv = _block(shape[0] // query_parts), _block(shape[1])
    return splash.make_splash_mha(
        splash.MultiHeadMask([block_mask] * num_heads),
        block_sizes=splash.BlockSizes(
            block_q=block_q,
            block_kv=block_kv,
            block_q_dkv=block_q,
            block_kv_dkv=block_kv,
            block_q_dq=block_q,
            block_kv_dq=block_kv,
        ),
        head_shards=1,
        q_seq_shards=query_parts,
        interpret=platform() != "tpu",
    )


def _block(length: int) -> int:
    """Rows of a block: large ones keep the matrix unit busy, and 512 x 512 scores fit in VMEM."""
    return next(size for size in (4 * BLOCK, 2 * BLOCK, BLOCK) if length % size == 0)
