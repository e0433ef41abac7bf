"""Recurrent layers as their papers have them: loops over rows and steps in float64.

Dims: B batch, T length, D input size, G gates, H units, P size of the output.
"""

import jax
import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm_step(p, x, state, cell_clip=None, projection_clip=None):
    """One step of one row: the output, and (output, cell) to go on from."""
    hidden, cell = state
    W, U = p["input"]["kernel"], p["recurrent"]["kernel"]
    bias = p["input"]["bias"] + p["recurrent"].get("bias", 0.0)
    i, f, g, o = np.einsum("d,dgh->gh", x, W) + np.einsum("p,pgh->gh", hidden, U) + bias
    cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
    if cell_clip is not None:
        cell = np.clip(cell, -cell_clip, cell_clip)
    hidden = sigmoid(o) * np.tanh(cell)
    if "projection" in p:
        hidden = hidden @ p["projection"]["kernel"]
    if projection_clip is not None:
        hidden = np.clip(hidden, -projection_clip, projection_clip)
    return hidden, (hidden, cell)


def gru_step(p, x, state):
    """One step of one row; the state is (output, None)."""
    hidden, _ = state
    from_x = np.einsum("d,dgh->gh", x, p["input"]["kernel"]) + p["input"]["bias"]
    from_h = np.einsum("p,pgh->gh", hidden, p["recurrent"]["kernel"]) + p["recurrent"]["bias"]
    r, z = sigmoid(from_x[:2] + from_h[:2])
    new = np.tanh(from_x[2] + r * from_h[2])
    hidden = (1 - z) * new + z * hidden
    return hidden, (hidden, None)


def layer(kind, params, x_BTD, mask_BT=None, state=None, *, reverse=False, **clips):
    """Outputs [B, T, P], zero at padding, and the last (output, cell) of each row, stacked."""
    p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    x_BTD = np.asarray(x_BTD, np.float64)
    (B, T, _), H = x_BTD.shape, p["recurrent"]["kernel"].shape[-1]
    P = p["recurrent"]["kernel"].shape[0]
    mask_BT = np.ones((B, T)) if mask_BT is None else np.asarray(mask_BT)
    step = {"lstm": lstm_step, "gru": gru_step}[kind]
    y_BTP, last = np.zeros((B, T, P)), []
    for b in range(B):
        now = (np.zeros(P), np.zeros(H) if kind == "lstm" else None)
        if state is not None:
            now = tuple(None if s is None else np.asarray(s[b], np.float64) for s in state)
        for t in reversed(range(T)) if reverse else range(T):
            if mask_BT[b, t]:
                y_BTP[b, t], now = step(p, x_BTD[b, t], now, **clips)
        last.append(now)
    hidden, cell = zip(*last, strict=True)
    return y_BTP, (np.stack(hidden), np.stack(cell) if kind == "lstm" else None)
