"""Does compiling a training step take longer for a deeper model?

To trace, lower and compile the step that `python -m train run` makes: with 6 and with 48 scanned
layers (one loop, whatever the depth), and with 6 and 12 unrolled ones for comparison. Small widths;
every sample in a fresh process, without a compilation cache.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks import harness
from benchmarks.peers import transformer_config
from benchmarks.steps import our_step
from benchmarks.training_step import pairs, translation

SHAPE = {"hidden_size": 64, "intermediate_size": 128, "num_heads": 4, "vocab_size": 1000}
CASES = {"small": {"shape": SHAPE, "batch": 8, "length": 16}}


def compilation(
    layout: str, num_layers: int, *, shape: dict[str, Any], batch: int, length: int
) -> Callable[[], Any]:
    """From the Python function to the executable."""
    import jax

    jax.config.update("jax_enable_compilation_cache", False)
    model = transformer_config({**shape, "num_layers": num_layers}, layout).build()
    step, state, mesh = our_step(model, translation(), abstract=True)
    numbers = pairs(batch, length, shape["vocab_size"])

    def run() -> Any:
        with jax.set_mesh(mesh):
            return step.lower(state, numbers).compile()

    return run


PEERS = {
    f"{layout} {num_layers}": partial(compilation, layout, num_layers)
    for layout, num_layers in [("scanned", 6), ("scanned", 48), ("unrolled", 6), ("unrolled", 12)]
}


def main() -> None:
    """Measures and writes results/compile_time-DEVICE.json."""
    harness.compare(
        "compile_time",
        CASES,
        list(PEERS),
        baseline="scanned 6",
        unit="compilations",
        units_a_sample=lambda settings: 1,
        options=harness.parser(__doc__, rounds=5).parse_args(),
        fresh=True,
    )


if __name__ == "__main__":
    main()
