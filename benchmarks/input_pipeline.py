"""Batches of pre-training rows a second, against those that a training step eats.

The pipeline of `python -m train run` (`TrainData.iterate`: shuffling, collation, threads that work
ahead) over rows of random tokens, and the compiled step of a masked language model, each alone on
the processors. The step hides tokens itself, so that a batch is the rows and their padding.
"""

import statistics
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.encoder_step import SMALL
from benchmarks.peers import bert_config
from benchmarks.steps import our_steps

MINI = {
    "num_layers": 4,
    "hidden_size": 128,
    "intermediate_size": 512,
    "num_heads": 4,
    "vocab_size": 4096,
}
CASES: dict[str, dict[str, Any]] = {
    "mini, 32 x 64": {"shape": MINI, "batch": 32, "length": 64, "steps": 5},
    "small, 32 x 128": {"shape": SMALL, "batch": 32, "length": 128, "steps": 2},
}
ROWS = 20_000
BATCHES_A_STEP = 100
"""The pipeline makes so many for each step that is timed: more than it may have ready."""


def batches(shape: dict[str, Any], batch: int, length: int) -> Any:
    """Endless batches of rows that are three quarters to all of the length."""
    from flaxformers_edu.objectives import MaskedLM
    from train.examples import EncodedExamples
    from train.pipeline import Batching, TrainData

    rng = np.random.default_rng(0)
    offsets: np.ndarray = np.append(0, np.cumsum(rng.integers(3 * length // 4, length + 1, ROWS)))
    ids = rng.integers(5, shape["vocab_size"], offsets[-1], dtype=np.int32)
    columns = {"input_ids": ids, "token_type_ids": 0 * ids, "maskable": 0 * ids + 1}
    batching = Batching(
        tokens_per_batch=batch * length, max_source_length=length, buckets=(length,)
    )
    data = TrainData(
        EncodedExamples({name: (values, offsets) for name, values in columns.items()}),
        MaskedLM().collate(bert_config(shape, "unrolled")),
        batching,
        seed=0,
    )
    return data.iterate()


def pipeline(*, shape: dict[str, Any], batch: int, length: int, steps: int) -> Callable[[], Any]:
    """Batches alone, thrown away."""
    made = batches(shape, batch, length)

    def run() -> None:
        for _ in range(steps * BATCHES_A_STEP):
            assert next(made)["input_ids"].shape == (batch, length)

    return run


def step(*, shape: dict[str, Any], batch: int, length: int, steps: int) -> Callable[[], Any]:
    """Steps alone, on one batch."""
    from flaxformers_edu.objectives import MaskedLM

    model = bert_config(shape, "unrolled").build("masked_lm")
    return our_steps(model, MaskedLM(), next(batches(shape, batch, length)), steps=steps)


PEERS = {"pipeline": pipeline, "step": step}


def main() -> None:
    """Measures and writes results/input_pipeline-DEVICE.json."""
    options = harness.parser(__doc__, rounds=5).parse_args()
    found = {}
    for case, settings in CASES.items():
        print(f"input_pipeline, {case}:", file=sys.stderr)
        samples = harness.interleave(
            "benchmarks.input_pipeline",
            list(PEERS),
            settings,
            rounds=options.rounds,
            retries=options.retries,
            threads=options.threads,
            fresh=False,
        )
        seconds = {peer: [one.seconds for one in taken] for peer, taken in samples.items()}
        number = {"pipeline": settings["steps"] * BATCHES_A_STEP, "step": settings["steps"]}
        found[case] = {
            "settings": settings,
            "batches_per_second": {
                peer: number[peer] / statistics.median(taken) for peer, taken in seconds.items()
            },
            "ratio": statistics.median(
                BATCHES_A_STEP * eaten / made
                for made, eaten in zip(seconds["pipeline"], seconds["step"], strict=True)
            ),
            "clean_rounds": sum(
                made.clean and eaten.clean
                for made, eaten in zip(samples["pipeline"], samples["step"], strict=True)
            ),
            "seconds": seconds,
        }
        print(
            f"  {found[case]['batches_per_second']}, {found[case]['ratio']:.1f} times what is eaten"
        )
    harness.write("input_pipeline", options.threads, {"unit": "batches", "measured": found})


if __name__ == "__main__":
    main()
