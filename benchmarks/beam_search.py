"""Cached decoding against Hugging Face's Marian `generate` of the same shape.

Random weights, forced lengths (min_new_tokens = max_new_tokens), float32; everything is compiled
and warm. A sample is one call on one batch, numpy in and out.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.peers import marian_model, sentences, transformer_config

SHAPE = {
    "num_layers": 6,
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_heads": 8,
    "vocab_size": 32000,
}
SETTINGS = {"shape": SHAPE, "batch": 16, "source_length": 32, "new_tokens": 48}
CASES = {"beam 5": {**SETTINGS, "num_beams": 5}, "greedy": {**SETTINGS, "num_beams": 1}}


def ours(
    layout: str,
    *,
    shape: dict[str, Any],
    batch: int,
    source_length: int,
    new_tokens: int,
    num_beams: int,
) -> Callable[[], Any]:
    """`ff.generate`."""
    import flax.linen as nn
    import jax

    import flaxformers_edu as ff

    model = transformer_config(shape, layout).build()
    params = nn.meta.unbox(jax.jit(model.init)(jax.random.key(0), **model.dummy_inputs()))["params"]
    ids, mask = sentences(batch, source_length, shape["vocab_size"], seed=0)

    def run() -> Any:
        found = ff.generate(
            model,
            params,
            ids,
            mask,
            num_beams=num_beams,
            min_new_tokens=new_tokens,
            max_new_tokens=new_tokens,
        )
        return np.asarray(found.sequences)

    assert run().shape == (batch, new_tokens + 1)
    return run


def marian(
    *,
    shape: dict[str, Any],
    batch: int,
    source_length: int,
    new_tokens: int,
    num_beams: int,
) -> Callable[[], Any]:
    """`MarianMTModel.generate` with its default cache."""
    import torch

    model = marian_model(shape).eval()
    ids, mask = sentences(batch, source_length, shape["vocab_size"], seed=0)

    @torch.inference_mode()
    def run() -> Any:
        found = model.generate(
            torch.tensor(ids, dtype=torch.long),
            attention_mask=torch.tensor(mask, dtype=torch.long),
            num_beams=num_beams,
            do_sample=False,
            min_new_tokens=new_tokens,
            max_new_tokens=new_tokens,
        )
        return found.numpy()

    assert run().shape == (batch, new_tokens + 1)
    return run


PEERS = {
    "scanned": partial(ours, "scanned"),
    "unrolled": partial(ours, "unrolled"),
    "marian": marian,
}


def main() -> None:
    """Measures and writes results/beam_search-DEVICE.json."""
    options = harness.parser(__doc__, rounds=8)
    options.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
    chosen = options.parse_args()
    harness.compare(
        "beam_search",
        {name: CASES[name] for name in chosen.cases},
        list(PEERS),
        baseline="marian",
        unit="sentences",
        units_a_sample=lambda settings: settings["batch"],
        options=chosen,
    )


if __name__ == "__main__":
    main()
