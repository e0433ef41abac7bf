"""A training step of a masked language model against Hugging Face's BertForMaskedLM.

Forward, backward and AdamW on one batch of texts, float32, dropout 0.1; of every text 15% is to be
predicted. Our side is the compiled step that `python -m train run` makes: it hides tokens on the
device and computes the vocabulary's logits only where something is hidden. "everywhere" computes
them at all places, as Hugging Face's model does, whose texts come with their labels. A sample is a
few steps.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.peers import bert_config, hugging_face_bert, sentences
from benchmarks.steps import large_pages, our_steps, torch_steps

SMALL = {
    "num_layers": 6,
    "hidden_size": 256,
    "intermediate_size": 1024,
    "num_heads": 4,
    "vocab_size": 8192,
}
CASES = {"small, 32 x 128": {"shape": SMALL, "batch": 32, "length": 128, "steps": 2}}
FRACTION, IGNORED = 0.15, -100


def our_batch(batch: int, length: int, vocab_size: int) -> dict[str, np.ndarray]:
    """A batch as our pipeline makes it; every token may be hidden."""
    ids, mask = sentences(batch, length, vocab_size, seed=0)
    types = np.zeros_like(ids)
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types, "maskable": mask}


def labelled_batch(batch: int, length: int, vocab_size: int) -> dict[str, np.ndarray]:
    """The same with labels at some places, as Hugging Face's collator makes it."""
    texts = our_batch(batch, length, vocab_size)
    hidden = np.random.default_rng(1).random((batch, length)) < FRACTION
    labels = np.where(hidden & (texts.pop("maskable") > 0), texts["input_ids"], IGNORED)
    return {**texts, "labels": labels}


def masked_lm(everywhere: bool) -> Any:
    """The library's objective, or the same with logits of all places."""
    import jax.numpy as jnp

    from flaxformers_edu.objectives import MaskedLM

    class Everywhere(MaskedLM):
        def mask(self, batch: Any, config: Any, key: Any) -> Any:
            inputs, labels_BP = super().mask(batch, config, key)
            rows_B1 = jnp.arange(len(labels_BP))[:, None]
            labels_BT = jnp.full_like(inputs["input_ids"], IGNORED)
            # A place left over is the last one again: its label must not undo a real one's.
            places_BP = inputs.pop("predict_positions")
            return inputs, labels_BT.at[rows_B1, places_BP].max(labels_BP)

    return Everywhere() if everywhere else MaskedLM()


def ours(
    layout: str, everywhere: bool, *, shape: dict[str, Any], batch: int, length: int, steps: int
) -> Callable[[], Any]:
    """`train.step.make_train_step`, with the parameters of the layers stacked or not."""
    model = bert_config(shape, layout).build("masked_lm")
    numbers = our_batch(batch, length, shape["vocab_size"])
    return our_steps(model, masked_lm(everywhere), numbers, steps=steps)


def hugging_face(
    attention: str, fused: bool, *, shape: dict[str, Any], batch: int, length: int, steps: int
) -> Callable[[], Any]:
    """The usual loop in torch."""
    model = hugging_face_bert("BertForMaskedLM", shape, attention)
    numbers = labelled_batch(batch, length, shape["vocab_size"])
    return torch_steps(model, numbers, steps=steps, fused=fused)


PEERS = {
    "scanned": partial(ours, "scanned", False),
    "unrolled": partial(ours, "unrolled", False),
    "unrolled, large pages": large_pages(partial(ours, "unrolled", False)),
    "unrolled, everywhere": partial(ours, "unrolled", True),
    "torch sdpa": partial(hugging_face, "sdpa", False),
    "torch sdpa, fused AdamW": partial(hugging_face, "sdpa", True),
    "torch sdpa, large pages": large_pages(partial(hugging_face, "sdpa", False)),
    "torch eager": partial(hugging_face, "eager", False),
}


def main() -> None:
    """Measures and writes results/encoder_step-DEVICE.json."""
    options = harness.parser(__doc__, rounds=8).parse_args()
    harness.compare(
        "encoder_step",
        CASES,
        list(PEERS),
        baseline="torch sdpa",
        unit="steps",
        units_a_sample=lambda settings: settings["steps"],
        options=options,
    )


if __name__ == "__main__":
    main()
