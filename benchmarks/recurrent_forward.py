"""A bidirectional LSTM of 2 x 512 units, forward, against torch's own.

Two layers on 512 features, 16 texts of 128 tokens, float32. "step by step" multiplies each input
by its matrix within the loop, as the formulas are written: what one product over all steps gains.
"Eigen" is XLA with its older products, see `steps.EIGEN`. A sample is a few batches.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.steps import with_eigen

CASES = {
    "2 x 512, 16 x 128": {"units": 512, "layers": 2, "rows": 16, "length": 128, "batches": 2},
}


def inputs(rows: int, length: int, units: int) -> np.ndarray:
    """Random features."""
    return np.random.default_rng(0).standard_normal((rows, length, units)).astype(np.float32)


def ours(
    unroll: int, *, units: int, layers: int, rows: int, length: int, batches: int
) -> Callable[[], Any]:
    """`RecurrentStack` of `Bidirectional`."""
    import flax.linen as nn
    import jax

    from flaxformers_edu.layers.recurrent import Recurrent
    from flaxformers_edu.layers.recurrent_stack import Bidirectional, RecurrentStack

    make = partial(Bidirectional, partial(Recurrent, "lstm", units, unroll=unroll))
    model = RecurrentStack([make] * layers)
    x_BTD = inputs(rows, length, units)
    params = nn.meta.unbox(jax.jit(model.init)(jax.random.key(0), x_BTD))["params"]
    forward = jax.jit(lambda params, x: model.apply({"params": params}, x)[0][-1])

    def run() -> Any:
        for _ in range(batches):
            found = np.asarray(forward(params, x_BTD))
        return found

    return run


def step_by_step(
    *, units: int, layers: int, rows: int, length: int, batches: int
) -> Callable[[], Any]:
    """The same sizes, with both products of each gate inside the loop."""
    import jax
    import jax.numpy as jnp

    keys = jax.random.split(jax.random.key(0), 2 * layers)
    widths = [units, units] + [2 * units] * (2 * layers - 2)
    bound = units**-0.5
    params = [
        jax.random.uniform(key, (width + units + 1, 4 * units), minval=-bound, maxval=bound)
        for key, width in zip(keys, widths, strict=True)
    ]

    def direction(weights: Any, x_TBD: Any, reverse: bool) -> Any:
        zeros = jnp.zeros((rows, units))

        def step(state: Any, x_BD: Any) -> Any:
            hidden, cell = state
            read = jnp.concatenate([x_BD, hidden, jnp.ones((rows, 1))], axis=-1)
            i, f, g, o = jnp.split(read @ weights, 4, axis=-1)
            cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
            hidden = jax.nn.sigmoid(o) * jnp.tanh(cell)
            return (hidden, cell), hidden

        return jax.lax.scan(step, (zeros, zeros), x_TBD, reverse=reverse)[1]

    @jax.jit
    def forward(params: Any, x_BTD: Any) -> Any:
        x_TBD = x_BTD.swapaxes(0, 1)
        for both in zip(params[::2], params[1::2], strict=True):
            outputs = [direction(w, x_TBD, bool(n)) for n, w in enumerate(both)]
            x_TBD = jnp.concatenate(outputs, axis=-1)
        return x_TBD.swapaxes(0, 1)

    x_BTD = inputs(rows, length, units)

    def run() -> Any:
        for _ in range(batches):
            found = np.asarray(forward(params, x_BTD))
        return found

    return run


def torch_lstm(
    *, units: int, layers: int, rows: int, length: int, batches: int
) -> Callable[[], Any]:
    """`torch.nn.LSTM` in inference mode."""
    import torch

    model = torch.nn.LSTM(units, units, layers, batch_first=True, bidirectional=True).eval()
    x = torch.tensor(inputs(rows, length, units))

    @torch.inference_mode()
    def run() -> Any:
        for _ in range(batches):
            found = model(x)[0].numpy()
        return found

    return run


PEERS = {
    "loop": partial(ours, 1),
    "loop, Eigen": with_eigen(partial(ours, 1)),
    "loop of 4": partial(ours, 4),
    "step by step": step_by_step,
    "torch": torch_lstm,
}


def main() -> None:
    """Measures and writes results/recurrent_forward-DEVICE.json."""
    options = harness.parser(__doc__, rounds=8).parse_args()
    harness.compare(
        "recurrent_forward",
        CASES,
        list(PEERS),
        baseline="torch",
        unit="tokens",
        units_a_sample=lambda s: s["rows"] * s["length"] * s["batches"],
        options=options,
    )


if __name__ == "__main__":
    main()
