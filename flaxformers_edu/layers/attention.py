"""Scaled dot-product attention and its implementations (Vaswani et al. 2017, section 3.2.1).

Dims: B batch, T queries, S keys, H query heads, G key/value heads, K head_dim of
queries and keys, W head_dim of values.
"""

from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from flaxformers_edu.errors import InputError, unknown_name
from flaxformers_edu.layers.dropout import dropout
from flaxformers_edu.layers.masks import Mask, rows_with_keys
from flaxformers_edu.layers.splash import splash_attention
from flaxformers_edu.sharding import platform

Implementation = Literal["auto", "reference", "xla", "cudnn", "splash"]

Query = Float[Array, "B T H K"]
Key = Float[Array, "B S G K"]
Value = Float[Array, "B S G W"]
Output = Float[Array, "B T H W"]


def attention_scores(q_BTHK: Query, k_BSGK: Key, scale: float) -> Float[Array, "B H T S"]:
    """Q Kᵀ · scale in float32, before any mask."""
    B, T, H, K = q_BTHK.shape
    S, G = k_BSGK.shape[1:3]
    # The queries of all heads of a group, one after the other (Q = H/G · T): one plain product.
    q_BGQK = (q_BTHK * scale).swapaxes(1, 2).reshape(B, G, H // G * T, K)
    scores = jnp.einsum("BGQK,BSGK->BGQS", q_BGQK, k_BSGK, preferred_element_type=jnp.float32)
    return scores.reshape(B, H, T, S)


def attention_weights(scores_BHTS: Float[Array, "B H T S"], mask: Mask) -> Float[Array, "B H T S"]:
    """The softmax of the scores; a query with nothing to attend to has a row of zeros."""
    dense_BTS = mask.dense(*scores_BHTS.shape[2:])
    if dense_BTS is None:
        return jax.nn.softmax(scores_BHTS, axis=-1)
    # A finite minimum, not -inf: exp(-inf - -inf) would be NaN in rows without any key.
    allowed = dense_BTS[:, None]
    weights = jax.nn.softmax(jnp.where(allowed, scores_BHTS, jnp.finfo(jnp.float32).min), axis=-1)
    return jnp.where(allowed, weights, 0.0)


def weighted_values(weights_BHTS: Float[Array, "B H T S"], v_BSGW: Value) -> Output:
    """Σ_s weights · values, each group of query heads reading its own key/value head."""
    B, H, T, S = weights_BHTS.shape
    G, W = v_BSGW.shape[2:]
    weights_BGQS = weights_BHTS.reshape(B, G, H // G * T, S).astype(v_BSGW.dtype)
    o_BGQW = jnp.einsum("BGQS,BSGW->BGQW", weights_BGQS, v_BSGW)
    return o_BGQW.reshape(B, H, T, W).swapaxes(1, 2)


def dot_product_attention(
    q_BTHK: Query,
    k_BSGK: Key,
    v_BSGW: Value,
    mask: Mask | None = None,
    *,
    scale: float | None = None,
    implementation: Implementation = "auto",
    dropout_rate: float = 0.0,
    dropout_key: PRNGKeyArray | None = None,
) -> Output:
    """softmax(Q Kᵀ / √K) V (Vaswani et al. 2017, eq. 1), with grouped key/value heads.

    Queries with nothing to attend to give zeros. Softmax is computed in float32.

    Args:
        q_BTHK: queries; H must be a multiple of the number of key/value heads G.
        k_BSGK: keys, of the queries' head_dim.
        v_BSGW: values, whose head_dim may differ.
        mask: what may be seen (None: everything).
        scale: factor on the scores; 1/√K when None.
        implementation: "reference" is the readable einsum and the truth; "xla" and "cudnn" are
            `jax.nn.dot_product_attention`; "splash" is the Pallas kernel for TPU; "auto" chooses.
        dropout_rate: dropout on the attention weights (reference only), active with a key.
        dropout_key: key of that dropout; None means none is applied.

    Raises:
        InputError: head counts that do not divide, or an implementation that cannot do it.
    """
    mask = Mask() if mask is None else mask
    (_, T, H, K), (S, G), W = q_BTHK.shape, k_BSGK.shape[1:3], v_BSGW.shape[-1]
    if H % G:
        raise InputError(f"num_heads {H} is not a multiple of num_kv_heads {G}")
    if implementation not in get_args(Implementation):
        raise unknown_name("attention implementation", implementation, get_args(Implementation))
    scale = K**-0.5 if scale is None else scale
    with_dropout = dropout_rate > 0 and dropout_key is not None
    if implementation == "auto":
        implementation = "reference" if with_dropout else choose(q_BTHK, k_BSGK, v_BSGW, mask)
    if with_dropout and implementation != "reference":
        raise InputError(
            f"attention implementation {implementation!r} has no attention dropout; "
            "use 'reference', or set attention_dropout to 0"
        )

    if implementation == "reference":
        weights_BHTS = attention_weights(attention_scores(q_BTHK, k_BSGK, scale), mask)
        weights_BHTS = dropout(weights_BHTS, dropout_rate, dropout_key)
        return weighted_values(weights_BHTS, v_BSGW)
    if K != W:
        raise InputError(
            f"attention implementation {implementation!r} needs values of head_dim {K}, got {W}; "
            "use 'reference'"
        )
    if implementation == "splash":
        o_BTHW = splash_attention(q_BTHK, k_BSGK, v_BSGW, mask, scale=scale)
    else:
        o_BTHW = jax.nn.dot_product_attention(
            q_BTHK,
            k_BSGK,
            v_BSGW,
            scale=scale,
            implementation="cudnn" if implementation == "cudnn" else "xla",
            **_mask_arguments(mask, T, S),
        )
    visible_BT = rows_with_keys(mask, T, S)
    return o_BTHW if visible_BT is None else jnp.where(visible_BT[..., None, None], o_BTHW, 0)


def _mask_arguments(mask: Mask, num_queries: int, num_keys: int) -> dict:
    """The mask as jax.nn takes it: natively where it has a word for it, else spelled out."""
    spelled_out = (
        mask.key_mask_BS,
        mask.query_segments_BT,
        mask.query_positions_BT,
        mask.key_positions_BS,
        mask.visible_BTS,
    )
    if all(field is None for field in spelled_out) and (mask.causal or mask.window is None):
        arguments: dict = {"is_causal": mask.causal}
        if mask.key_lengths_B is not None:
            arguments["key_value_seq_lengths"] = mask.key_lengths_B.astype(jnp.int32)
        if mask.window is not None:
            # jax.nn counts the neighbours on each side, `window` counts the query itself too.
            arguments["local_window_size"] = (mask.window - 1, 0)
        return arguments
    dense_BTS = mask.dense(num_queries, num_keys)
    return {"mask": None if dense_BTS is None else dense_BTS[:, None]}


def choose(q_BTHK: Query, k_BSGK: Key, v_BSGW: Value, mask: Mask) -> Implementation:
    """What "auto" means: the fastest implementation that this platform, dtype and shape allow."""
    (T, K), S = (q_BTHK.shape[1], q_BTHK.shape[3]), k_BSGK.shape[1]
    if v_BSGW.shape[-1] != K:
        return "reference"
    target = platform()
    if target == "gpu":
        half = q_BTHK.dtype in (jnp.bfloat16, jnp.float16)
        # Odd lengths have no backward pass there under a dense mask.
        fits = K <= 128 and K % 8 == 0 and T % 2 == 0 and S % 2 == 0
        # One query at a time (cached decoding) is a matrix-vector product: nothing to fuse.
        return "cudnn" if half and fits and min(T, S) >= 64 else "xla"
    if target == "tpu":
        return "splash" if min(T, S) >= 512 and not mask.places_keys else "xla"
    return "reference"
