"""A training step against a torch encoder-decoder of the same shape (Hugging Face's Marian, sdpa).

Forward, backward and AdamW on one batch of sentence pairs, float32, dropout and label smoothing
0.1. Our side is the compiled step that `python -m train run` makes. A sample is a few steps.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.peers import PAD, marian_model, sentences, transformer_config
from benchmarks.steps import our_steps, torch_steps

BASE = {
    "num_layers": 6,
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_heads": 8,
    "vocab_size": 32000,
}
SMALL = {
    "num_layers": 4,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_heads": 4,
    "vocab_size": 8000,
}
CASES = {
    "base": {"shape": BASE, "batch": 16, "length": 32, "steps": 2},
    "small": {"shape": SMALL, "batch": 64, "length": 24, "steps": 2},
}
SMOOTHING, IGNORED = 0.1, -100


def pairs(batch: int, length: int, vocab_size: int) -> dict[str, np.ndarray]:
    """A batch as our pipeline makes it; the decoder reads the labels shifted by one."""
    ids, mask = sentences(batch, length, vocab_size, seed=0)
    labels, label_mask = sentences(batch, length, vocab_size, seed=1)
    shifted = np.concatenate([np.full((batch, 1), PAD, np.int32), labels[:, :-1]], axis=1)
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "decoder_input_ids": shifted,
        "decoder_attention_mask": label_mask,
        "labels": np.where(label_mask, labels, IGNORED),
    }


def translation() -> Any:
    """The library's objective."""
    from flaxformers_edu.objectives import Translation

    return Translation(label_smoothing=SMOOTHING)


def ours(
    layout: str, *, shape: dict[str, Any], batch: int, length: int, steps: int
) -> Callable[[], Any]:
    """`train.step.make_train_step`, with the parameters of the layers stacked or not."""
    model = transformer_config(shape, layout).build()
    numbers = pairs(batch, length, shape["vocab_size"])
    return our_steps(model, translation(), numbers, steps=steps)


def marian(
    fused: bool, *, shape: dict[str, Any], batch: int, length: int, steps: int
) -> Callable[[], Any]:
    """The usual loop in torch, with a loss that is smoothed as ours."""
    import torch

    cross_entropy = torch.nn.CrossEntropyLoss(label_smoothing=SMOOTHING, ignore_index=IGNORED)

    def loss_of(model: Any, inputs: dict[str, Any]) -> Any:
        read = {name: value for name, value in inputs.items() if name != "labels"}
        logits = model(**read, use_cache=False).logits
        return cross_entropy(logits.flatten(0, 1), inputs["labels"].flatten())

    numbers = pairs(batch, length, shape["vocab_size"])
    return torch_steps(marian_model(shape), numbers, steps=steps, fused=fused, loss_of=loss_of)


PEERS = {
    "scanned": partial(ours, "scanned"),
    "unrolled": partial(ours, "unrolled"),
    "marian": partial(marian, False),
    "marian, fused AdamW": partial(marian, True),
}


def main() -> None:
    """Measures and writes results/training_step-DEVICE.json."""
    options = harness.parser(__doc__, rounds=8)
    options.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
    chosen = options.parse_args()
    harness.compare(
        "training_step",
        {name: CASES[name] for name in chosen.cases},
        list(PEERS),
        baseline="marian",
        unit="steps",
        units_a_sample=lambda settings: settings["steps"],
        options=chosen,
    )


if __name__ == "__main__":
    main()
