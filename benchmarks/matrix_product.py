"""Nothing but float32 matrix products, in XLA and in torch: the floor under the other figures.

The cube is what a processor reaches at best; the others are products of the models measured: the
feed-forward network of a training batch, that of a decoding step (16 sentences x 5 beams), and the
logits of such a step.
"""

from collections.abc import Callable
from typing import Any

from benchmarks import harness

CASES = {
    "1024 x 1024 x 1024": {"rows": 1024, "inner": 1024, "columns": 1024, "times": 20},
    "training, 512 x 512 x 2048": {"rows": 512, "inner": 512, "columns": 2048, "times": 40},
    "decoding, 80 x 512 x 2048": {"rows": 80, "inner": 512, "columns": 2048, "times": 200},
    "logits, 80 x 512 x 32000": {"rows": 80, "inner": 512, "columns": 32000, "times": 20},
}


def xla(*, rows: int, inner: int, columns: int, times: int) -> Callable[[], Any]:
    """`jit` of one product."""
    import jax
    import jax.numpy as jnp

    keys = jax.random.split(jax.random.key(0))
    x, y = jax.random.normal(keys[0], (rows, inner)), jax.random.normal(keys[1], (inner, columns))
    product = jax.jit(jnp.matmul)

    def run() -> None:
        for _ in range(times):
            product(x, y).block_until_ready()

    return run


def torch(*, rows: int, inner: int, columns: int, times: int) -> Callable[[], Any]:
    """`torch.mm`."""
    import torch

    x, y = torch.randn(rows, inner), torch.randn(inner, columns)

    def run() -> None:
        for _ in range(times):
            torch.mm(x, y)

    return run


def gflop(settings: Any) -> float:
    """Of one sample."""
    s = settings
    return 2e-9 * s["rows"] * s["inner"] * s["columns"] * s["times"]


PEERS = {"xla": xla, "torch": torch}


def main() -> None:
    """Measures and writes results/matrix_product-DEVICE.json."""
    harness.compare(
        "matrix_product",
        CASES,
        list(PEERS),
        baseline="torch",
        unit="GFLOP",
        units_a_sample=gflop,
        options=harness.parser(__doc__, rounds=10).parse_args(),
    )


if __name__ == "__main__":
    main()
