"""The states of BERT-base against Hugging Face's BertModel, eager and sdpa.

One batch of padded texts through the encoder and its pooler, float32, no dropout, random weights;
numpy in and out. A sample is a few batches.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.peers import bert_config, hugging_face_bert, sentences

BASE = {
    "num_layers": 12,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_heads": 12,
    "vocab_size": 30522,
}
CASES = {"bert-base 8 x 128": {"shape": BASE, "batch": 8, "length": 128, "batches": 3}}


def ours(
    layout: str, *, shape: dict[str, Any], batch: int, length: int, batches: int
) -> Callable[[], Any]:
    """The compiled `apply`, with the parameters of the layers stacked or not."""
    import flax.linen as nn
    import jax

    model = bert_config(shape, layout).build("base")
    params = nn.meta.unbox(jax.jit(model.init)(jax.random.key(0), **model.dummy_inputs()))["params"]
    ids, mask = sentences(batch, length, shape["vocab_size"], seed=0)

    @jax.jit
    def states(params: Any, ids: Any, mask: Any) -> Any:
        found = model.apply({"params": params}, ids, mask)
        return found.last_hidden_state, found.pooler_output

    def run() -> Any:
        for _ in range(batches):
            found = jax.tree.map(np.asarray, states(params, ids, mask))
        return found

    return run


def hugging_face(
    attention: str, *, shape: dict[str, Any], batch: int, length: int, batches: int
) -> Callable[[], Any]:
    """`BertModel` in inference mode."""
    import torch

    model = hugging_face_bert("BertModel", shape, attention).eval()
    ids, mask = sentences(batch, length, shape["vocab_size"], seed=0)

    @torch.inference_mode()
    def run() -> Any:
        for _ in range(batches):
            found = model(
                torch.tensor(ids, dtype=torch.long),
                attention_mask=torch.tensor(mask, dtype=torch.long),
            )
            found = found.last_hidden_state.numpy(), found.pooler_output.numpy()
        return found

    return run


PEERS = {
    "scanned": partial(ours, "scanned"),
    "unrolled": partial(ours, "unrolled"),
    "torch sdpa": partial(hugging_face, "sdpa"),
    "torch eager": partial(hugging_face, "eager"),
}


def main() -> None:
    """Measures and writes results/encoder_forward-DEVICE.json."""
    options = harness.parser(__doc__, rounds=8).parse_args()
    harness.compare(
        "encoder_forward",
        CASES,
        list(PEERS),
        baseline="torch sdpa",
        unit="texts",
        units_a_sample=lambda settings: settings["batch"] * settings["batches"],
        options=options,
    )


if __name__ == "__main__":
    main()
