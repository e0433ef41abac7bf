"""Attention as its definition has it: loops and float64, to compare the library with.

Dims: B batch, T queries, S keys, H query heads, G key/value heads, K head_dim, W value head_dim.
"""

import numpy as np


def sees(mask, b, t, s):
    """Whether query t of row b may attend to key s, one condition after the other."""

    def at(array, row, *index):
        return np.asarray(array)[min(row, np.asarray(array).shape[0] - 1)][index]

    query = t if mask.query_positions_BT is None else at(mask.query_positions_BT, b, t)
    key = s if mask.key_positions_BS is None else at(mask.key_positions_BS, b, s)
    if mask.causal and key > query:
        return False
    if mask.window is not None and abs(query - key) >= mask.window:
        return False
    if mask.key_lengths_B is not None and s >= mask.key_lengths_B[b]:
        return False
    if mask.key_mask_BS is not None and not mask.key_mask_BS[b, s]:
        return False
    if mask.query_segments_BT is not None and mask.key_segments_BS is not None:
        own, other = mask.query_segments_BT[b, t], mask.key_segments_BS[b, s]
        if other == 0 or own != other:
            return False
    return mask.visible_BTS is None or bool(at(mask.visible_BTS, b, t, s))


def allowed_BTS(mask, B, T, S):
    """`sees` for every row, query and key."""
    return np.array(
        [[[sees(mask, b, t, s) for s in range(S)] for t in range(T)] for b in range(B)], bool
    )


def attention(q_BTHK, k_BSGK, v_BSGW, allowed, scale=None):
    """The output and the weights [B, H, T, S], in float64."""
    q, k, v = (np.asarray(x, np.float64) for x in (q_BTHK, k_BSGK, v_BSGW))
    k, v = (np.repeat(x, q.shape[2] // x.shape[2], axis=2) for x in (k, v))
    scores = np.einsum("bthk,bshk->bhts", q, k) * (q.shape[-1] ** -0.5 if scale is None else scale)
    highest = np.where(allowed[:, None], scores, -1e30).max(axis=-1, keepdims=True)
    exponentials = np.exp(np.minimum(scores - highest, 0.0)) * allowed[:, None]
    total = exponentials.sum(axis=-1, keepdims=True)
    weights = np.divide(exponentials, total, out=np.zeros_like(exponentials), where=total > 0)
    return np.einsum("bhts,bshw->bthw", weights, v), weights


def attention_gradients(q_BTHK, k_BSGK, v_BSGW, allowed, d_out_BTHW, scale=None):
    """Gradients of sum(output * d_out) with respect to queries, keys and values, in float64."""
    scale = q_BTHK.shape[-1] ** -0.5 if scale is None else scale
    q, k, v, d_out = (np.asarray(x, np.float64) for x in (q_BTHK, k_BSGK, v_BSGW, d_out_BTHW))
    _, weights = attention(q, k, v, allowed, scale)
    B, S, G, _ = k.shape
    repeats = q.shape[2] // G
    k, v = (np.repeat(x, repeats, axis=2) for x in (k, v))
    d_weights = np.einsum("bthw,bshw->bhts", d_out, v)
    d_scores = weights * (d_weights - (d_weights * weights).sum(axis=-1, keepdims=True)) * scale
    d_q = np.einsum("bhts,bshk->bthk", d_scores, k)
    d_k = np.einsum("bhts,bthk->bshk", d_scores, q)
    d_v = np.einsum("bhts,bthw->bshw", weights, d_out)

    def of_groups(d_BSHK):
        return d_BSHK.reshape(B, S, G, repeats, -1).sum(axis=3)

    return d_q, of_groups(d_k), of_groups(d_v)
