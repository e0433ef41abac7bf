"""Cached decoding and prefill of a GPT-2 against Hugging Face's of the same shape.

Random weights, forced lengths (min_new_tokens = max_new_tokens), float32; everything is compiled
and warm. A sample is one call on one batch, numpy in and out. Prefill is a call for one new token.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.peers import EOS, PAD, gpt_config, hugging_face_gpt2

SHAPE = {
    "num_layers": 12,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_heads": 12,
    "vocab_size": 50257,
}
MAX_LENGTH = 1024
SETTINGS = {"shape": SHAPE, "batch": 4, "prompt_length": 32, "new_tokens": 64}
CASES = {
    "greedy": {**SETTINGS, "num_beams": 1},
    "beam 4": {**SETTINGS, "num_beams": 4},
    "prefill 1024": {
        "shape": SHAPE,
        "batch": 1,
        "prompt_length": 1024,
        "new_tokens": 1,
        "num_beams": 1,
    },
}


def prompts(batch: int, length: int, vocab_size: int) -> np.ndarray:
    """Random words, int32 [batch, length]."""
    return np.random.default_rng(0).integers(EOS + 1, vocab_size, (batch, length), dtype=np.int32)


def ours(
    layout: str,
    *,
    shape: dict[str, Any],
    batch: int,
    prompt_length: int,
    new_tokens: int,
    num_beams: int,
) -> Callable[[], Any]:
    """`ff.generate`."""
    import flax.linen as nn
    import jax

    import flaxformers_edu as ff

    model = gpt_config(shape, layout, max_length=MAX_LENGTH).build("causal_lm")
    params = nn.meta.unbox(jax.jit(model.init)(jax.random.key(0), **model.dummy_inputs()))["params"]
    ids = prompts(batch, prompt_length, shape["vocab_size"])

    def run() -> Any:
        found = ff.generate(
            model,
            params,
            ids,
            num_beams=num_beams,
            min_new_tokens=new_tokens,
            max_new_tokens=new_tokens,
        )
        return np.asarray(found.sequences)

    assert run().shape == (batch, prompt_length + new_tokens)
    return run


def hugging_face(
    *,
    shape: dict[str, Any],
    batch: int,
    prompt_length: int,
    new_tokens: int,
    num_beams: int,
) -> Callable[[], Any]:
    """`GPT2LMHeadModel.generate` with its default cache and attention (sdpa)."""
    import torch

    model = hugging_face_gpt2(shape, "sdpa", max_length=MAX_LENGTH).eval()
    ids = torch.tensor(prompts(batch, prompt_length, shape["vocab_size"]), dtype=torch.long)

    @torch.inference_mode()
    def run() -> Any:
        found = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            num_beams=num_beams,
            do_sample=False,
            min_new_tokens=new_tokens,
            max_new_tokens=new_tokens,
            pad_token_id=PAD,
        )
        return found.numpy()

    assert run().shape == (batch, prompt_length + new_tokens)
    return run


PEERS = {
    "scanned": partial(ours, "scanned"),
    "unrolled": partial(ours, "unrolled"),
    "hugging_face": hugging_face,
}


def tokens(settings: Mapping[str, Any]) -> int:
    """Tokens of a sample: those that it writes, or, where it is one a row, those that it reads."""
    written, read = settings["new_tokens"], settings["prompt_length"]
    return settings["batch"] * (written if written > 1 else read)


def main() -> None:
    """Measures and writes results/generation-DEVICE.json."""
    options = harness.parser(__doc__, rounds=8)
    options.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
    chosen = options.parse_args()
    harness.compare(
        "generation",
        {name: CASES[name] for name in chosen.cases},
        list(PEERS),
        baseline="hugging_face",
        unit="tokens",
        units_a_sample=tokens,
        options=chosen,
    )


if __name__ == "__main__":
    main()
