"""Nothing but float32 matrix products, in XLA and in torch: the floor under the other figures.

The cube is what a processor reaches at best; the others are products of the models measured: the
feed-forward network of a training batch, that of a decoding step (16 sentences x 5 beams), the
logits of such a step, the feed-forward network of GPT-2 124M on 4 x 256 tokens with the two
products of its gradients, and what each step of an LSTM of 512 units waits for. "Eigen" is XLA with
its older products, see `steps.EIGEN`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.steps import with_eigen

CASES = {
    "1024 x 1024 x 1024": {"rows": 1024, "inner": 1024, "columns": 1024, "times": 20},
    "training, 512 x 512 x 2048": {"rows": 512, "inner": 512, "columns": 2048, "times": 40},
    "decoding, 80 x 512 x 2048": {"rows": 80, "inner": 512, "columns": 2048, "times": 200},
    "logits, 80 x 512 x 32000": {"rows": 80, "inner": 512, "columns": 32000, "times": 20},
    "GPT-2, 1024 x 768 x 3072": {"rows": 1024, "inner": 768, "columns": 3072, "times": 10},
    "gradient of its inputs": {
        **{"rows": 1024, "inner": 3072, "columns": 768, "times": 10},
        "transposed": "right",
    },
    "gradient of its weights": {
        **{"rows": 768, "inner": 1024, "columns": 3072, "times": 10},
        "transposed": "left",
    },
    "LSTM, 16 x 512 x 2048": {"rows": 16, "inner": 512, "columns": 2048, "times": 500},
}


def sides(
    *, rows: int, inner: int, columns: int, times: int, transposed: str = ""
) -> tuple[np.ndarray, np.ndarray]:
    """Both factors; the one that is named lies transposed in memory."""
    normal = np.random.default_rng(0).standard_normal
    left = (inner, rows) if transposed == "left" else (rows, inner)
    right = (columns, inner) if transposed == "right" else (inner, columns)
    return normal(left).astype(np.float32), normal(right).astype(np.float32)


def xla(**settings: Any) -> Callable[[], Any]:
    """`jit` of one product."""
    import jax
    import jax.numpy as jnp

    x, y = map(jnp.asarray, sides(**settings))
    turned = settings.get("transposed")

    @jax.jit
    def product(x: Any, y: Any) -> Any:
        return (x.T if turned == "left" else x) @ (y.T if turned == "right" else y)

    def run() -> None:
        for _ in range(settings["times"]):
            product(x, y).block_until_ready()

    return run


def torch(**settings: Any) -> Callable[[], Any]:
    """`torch.mm`."""
    import torch

    x, y = map(torch.from_numpy, sides(**settings))
    turned = settings.get("transposed")
    x, y = x.T if turned == "left" else x, y.T if turned == "right" else y

    def run() -> None:
        for _ in range(settings["times"]):
            torch.mm(x, y)

    return run


def gflop(settings: Any) -> float:
    """Of one sample."""
    s = settings
    return 2e-9 * s["rows"] * s["inner"] * s["columns"] * s["times"]


PEERS = {"xla": xla, "xla, Eigen": with_eigen(xla), "torch": torch}


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
