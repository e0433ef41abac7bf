"""ELMo's folders made up, and its forward pass in numpy: weights by their published names."""

import json
from pathlib import Path

import numpy as np

OPTIONS = {
    "lstm": {
        "use_skip_connections": True,
        "projection_dim": 6,
        "cell_clip": 0.4,
        "proj_clip": 0.3,
        "dim": 8,
        "n_layers": 2,
    },
    "char_cnn": {
        "activation": "relu",
        "filters": [[1, 3], [3, 5]],
        "n_highway": 2,
        "embedding": {"dim": 4},
        "n_characters": 262,
        "max_characters_per_token": 50,
    },
}
CELL = "RNN_{}/RNN/MultiRNNCell/Cell{}/LSTMCell"


def made_up_weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = {
        "char_embed": (261, 4),
        "CNN/W_cnn_0": (1, 1, 4, 3),
        "CNN/b_cnn_0": (3,),
        "CNN/W_cnn_1": (1, 3, 4, 5),
        "CNN/b_cnn_1": (5,),
        "CNN_proj/W_proj": (8, 6),
        "CNN_proj/b_proj": (6,),
    }
    for i in range(2):
        shapes |= {f"CNN_high_{i}/W_{name}": (8, 8) for name in ("carry", "transform")}
        shapes |= {f"CNN_high_{i}/b_{name}": (8,) for name in ("carry", "transform")}
        for direction in range(2):
            cell = CELL.format(direction, i)
            shapes |= {f"{cell}/W_0": (12, 32), f"{cell}/B": (32,), f"{cell}/W_P_0": (8, 6)}
    return {name: (0.4 * rng.standard_normal(s)).astype(np.float32) for name, s in shapes.items()}


def write(folder: Path, weights: dict[str, np.ndarray], options: dict = OPTIONS) -> Path:
    import h5py

    folder.mkdir(exist_ok=True)
    (folder / "options.json").write_text(json.dumps(options))
    with h5py.File(folder / "weights.hdf5", "w") as file:
        for name, array in weights.items():
            file[name] = array
    return folder


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def words(weights, ids_TC):
    """Characters [T, 50], counted from 1, to vectors [T, P]."""
    x = weights["char_embed"][ids_TC - 1]
    parts = []
    for i, (width, _) in enumerate(OPTIONS["char_cnn"]["filters"]):
        kernel = weights[f"CNN/W_cnn_{i}"][0]
        windows = np.stack([x[:, j : j + width] for j in range(50 - width + 1)], 1)
        y = np.einsum("tjwe,wef->tjf", windows, kernel).max(1) + weights[f"CNN/b_cnn_{i}"]
        parts.append(np.maximum(y, 0))
    x = np.concatenate(parts, -1)
    for i in range(2):
        name = f"CNN_high_{i}"
        gate = sigmoid(x @ weights[f"{name}/W_carry"] + weights[f"{name}/b_carry"])
        new = np.maximum(x @ weights[f"{name}/W_transform"] + weights[f"{name}/b_transform"], 0)
        x = gate * new + (1 - gate) * x
    return x @ weights["CNN_proj/W_proj"] + weights["CNN_proj/b_proj"]


def lstm(weights, cell, x_TP, state):
    """TensorFlow's LSTMCell: gates i, j, f, o; 1 added to f; clipped before it is projected."""
    c, h = state
    outputs = []
    for x in x_TP:
        gates = np.concatenate([x, h]) @ weights[f"{cell}/W_0"] + weights[f"{cell}/B"]
        i, j, f, o = np.split(gates, 4)
        c = np.clip(sigmoid(f + 1) * c + sigmoid(i) * np.tanh(j), -0.4, 0.4)
        h = np.clip((sigmoid(o) * np.tanh(c)) @ weights[f"{cell}/W_P_0"], -0.3, 0.3)
        outputs.append(h)
    return np.stack(outputs), (c, h)


def layers(weights, ids_TC, states=None):
    """All layers [3, T, 2P] of a sentence, and the states after it."""
    zeros = (np.zeros(8, np.float32), np.zeros(6, np.float32))
    states, after = states or {}, {}
    x = words(weights, ids_TC)
    found = [np.concatenate([x, x], -1)]
    sides = {0: x, 1: x[::-1]}
    for i in range(2):
        for direction in range(2):
            key = (direction, i)
            y, after[key] = lstm(
                weights, CELL.format(direction, i), sides[direction], states.get(key, zeros)
            )
            sides[direction] = y + sides[direction] if i else y
        found.append(np.concatenate([sides[0], sides[1][::-1]], -1))
    return np.stack(found), after
