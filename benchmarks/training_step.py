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
LEARNING_RATE, SMOOTHING, IGNORED = 1e-4, 0.1, -100


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


def our_step(
    layout: str, shape: dict[str, Any], batch: int, length: int, *, abstract: bool = False
) -> tuple[Any, Any, dict[str, np.ndarray], Any]:
    """The compiled step, its first state (or only the shapes of it), a batch and the mesh."""
    import flax.linen as nn
    import jax.numpy as jnp

    from flaxformers_edu.objectives import Translation
    from flaxformers_edu.optim.optimizers import Optimizer
    from flaxformers_edu.sharding import MeshShape
    from train.state import abstract_params, abstract_state, create_state
    from train.step import make_train_step

    def learning_rate(step: Any) -> Any:
        return jnp.full((), LEARNING_RATE)

    model = transformer_config(shape, layout).build()
    mesh = MeshShape().build()
    parameters = nn.meta.unbox(abstract_params(model))
    optimizer = Optimizer(name="adamw", weight_decay=0.01).build(learning_rate, parameters)
    objective = Translation(label_smoothing=SMOOTHING)
    step = make_train_step(model, objective, optimizer, learning_rate, seed=0)
    if abstract:
        state = abstract_state(model, optimizer, mesh, ema=False)
    else:
        state = create_state(model, optimizer, mesh, seed=0, ema=False)
    return step, state, pairs(batch, length, shape["vocab_size"]), mesh


def ours(
    layout: str, *, shape: dict[str, Any], batch: int, length: int, steps: int
) -> Callable[[], Any]:
    """`train.step.make_train_step`, with the parameters of the layers stacked or not."""
    import jax

    from train.placement import place

    step, state, numbers, mesh = our_step(layout, shape, batch, length)

    def run() -> float:
        nonlocal state
        with jax.set_mesh(mesh):
            for _ in range(steps):
                state, metrics = step(state, place(numbers, mesh))
        jax.block_until_ready(state)
        return float(metrics["loss"])

    return run


def marian(
    fused: bool, *, shape: dict[str, Any], batch: int, length: int, steps: int
) -> Callable[[], Any]:
    """The usual loop in torch; `fused` uses AdamW's one-pass kernel, not the default on CPU."""
    import torch

    model = marian_model(shape).train()
    options = {"fused": True} if fused else {}
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LEARNING_RATE, weight_decay=0.01, **options
    )
    cross_entropy = torch.nn.CrossEntropyLoss(label_smoothing=SMOOTHING, ignore_index=IGNORED)
    inputs = {
        name: torch.tensor(value, dtype=torch.long)
        for name, value in pairs(batch, length, shape["vocab_size"]).items()
    }
    labels = inputs.pop("labels")

    def run() -> float:
        for _ in range(steps):
            optimizer.zero_grad(set_to_none=True)
            logits = model(**inputs, use_cache=False).logits
            loss = cross_entropy(logits.flatten(0, 1), labels.flatten())
            loss.backward()
            optimizer.step()
        return loss.item()

    return run


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
