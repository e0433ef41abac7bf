"""A training step of a GPT against Hugging Face's GPT2LMHeadModel.

Forward, backward and AdamW on rows full of text, float32, dropout 0.1. Our side is the compiled
step that `python -m train run` makes; "in chunks" is `--objective.loss-chunks 4`: logits, loss and
gradients of a quarter of the length at a time. A sample is one step, or two of the small model.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.peers import gpt_config, hugging_face_gpt2
from benchmarks.steps import large_pages, our_steps, torch_steps

GPT2 = {
    "num_layers": 12,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_heads": 12,
    "vocab_size": 50257,
}
SMALL = {
    "num_layers": 6,
    "hidden_size": 256,
    "intermediate_size": 1024,
    "num_heads": 4,
    "vocab_size": 8192,
}
CASES = {
    "GPT-2 124M, 4 x 256": {"shape": GPT2, "batch": 4, "length": 256, "steps": 1},
    "6 x 256, 32 x 128": {"shape": SMALL, "batch": 32, "length": 128, "steps": 2},
}
CHUNKS = 4


def rows(batch: int, length: int, vocab_size: int) -> np.ndarray:
    """Random ids, [batch, length], as a packed corpus has them: without padding."""
    return np.random.default_rng(0).integers(2, vocab_size, (batch, length), dtype=np.int32)


def ours(
    layout: str, chunks: int, *, shape: dict[str, Any], batch: int, length: int, steps: int
) -> Callable[[], Any]:
    """`train.step.make_train_step`; each label is the next token, and the last place has none."""
    from flaxformers_edu.objectives import CausalLM
    from flaxformers_edu.text.batching import IGNORED_LABEL

    ids = rows(batch, length, shape["vocab_size"])
    labels = np.concatenate([ids[:, 1:], np.full((batch, 1), IGNORED_LABEL, np.int32)], axis=1)
    model = gpt_config(shape, layout, max_length=length).build("causal_lm")
    return our_steps(
        model, CausalLM(loss_chunks=chunks), {"input_ids": ids, "labels": labels}, steps=steps
    )


def hugging_face(
    attention: str, fused: bool, *, shape: dict[str, Any], batch: int, length: int, steps: int
) -> Callable[[], Any]:
    """The usual loop in torch; the model shifts its labels by itself."""
    ids = rows(batch, length, shape["vocab_size"])
    model = hugging_face_gpt2(shape, attention, max_length=length)
    return torch_steps(model, {"input_ids": ids, "labels": ids}, steps=steps, fused=fused)


PEERS = {
    "scanned": partial(ours, "scanned", 1),
    "unrolled": partial(ours, "unrolled", 1),
    "unrolled, in chunks": partial(ours, "unrolled", CHUNKS),
    "unrolled, large pages": large_pages(partial(ours, "unrolled", 1)),
    "unrolled, in chunks, large pages": large_pages(partial(ours, "unrolled", CHUNKS)),
    "torch sdpa": partial(hugging_face, "sdpa", False),
    "torch sdpa, fused AdamW": partial(hugging_face, "sdpa", True),
    "torch sdpa, large pages": large_pages(partial(hugging_face, "sdpa", False)),
    "torch eager": partial(hugging_face, "eager", False),
}
UNASKED = {
    "GPT-2 124M, 4 x 256": ("scanned", "torch sdpa, fused AdamW", "torch eager"),
    "6 x 256, 32 x 128": (),
}
"""Peers that a case leaves out unless they are asked for: all are in memory together, and GPT-2
takes about 3 GB for each."""


def main() -> None:
    """Measures and writes results/decoder_step-DEVICE.json."""
    options = harness.parser(__doc__, rounds=8)
    options.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
    options.add_argument("--peers", nargs="*", choices=list(PEERS), help="all that fit")
    chosen = options.parse_args()
    harness.compare(
        "decoder_step",
        {name: CASES[name] for name in chosen.cases},
        {
            name: chosen.peers or [peer for peer in PEERS if peer not in UNASKED[name]]
            for name in chosen.cases
        },
        baseline="torch sdpa",
        unit="steps",
        units_a_sample=lambda settings: settings["steps"],
        options=chosen,
    )


if __name__ == "__main__":
    main()
