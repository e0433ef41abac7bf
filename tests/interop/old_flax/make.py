"""Folders as transformers' former Flax classes wrote them, each with what its model answered.

    python -m venv old && old/bin/pip install transformers==4.57.6 jax==0.10.2 flax==0.12.8
    old/bin/python tests/interop/old_flax/make.py

That version is the last that has these classes. Weights are random, and so are the biases, which
they would begin with zeros.
"""

from pathlib import Path

import jax
import numpy as np
import transformers

SIZES = {
    "vocab_size": 40,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 16,
}
CONFIGS = {
    "FlaxBertForPreTraining": transformers.BertConfig(**SIZES),
    "FlaxRobertaForSequenceClassification": transformers.RobertaConfig(**SIZES, type_vocab_size=1),
    "FlaxAlbertForMaskedLM": transformers.AlbertConfig(**SIZES, embedding_size=4),
    "FlaxElectraForPreTraining": transformers.ElectraConfig(**SIZES, embedding_size=4),
    "FlaxDistilBertForMaskedLM": transformers.DistilBertConfig(
        vocab_size=40, dim=8, n_layers=2, n_heads=2, hidden_dim=12, max_position_embeddings=16
    ),
    "FlaxGPT2LMHeadModel": transformers.GPT2Config(
        vocab_size=40,
        n_embd=8,
        n_layer=2,
        n_head=2,
        n_positions=16,
        bos_token_id=1,
        eos_token_id=1,
    ),
}


def main() -> None:
    """Writes a folder for each class."""
    random = np.random.default_rng(0)
    input_ids = random.integers(5, 40, (2, 9))
    attention_mask = (np.arange(9) < np.array([[9], [6]])).astype(np.int32)
    for name, config in CONFIGS.items():
        model = getattr(transformers, name)(config, seed=0)
        model.params = jax.tree.map(
            lambda leaf: np.asarray(leaf) + random.normal(0, 0.1, leaf.shape).astype(np.float32),
            model.params,
        )
        # Its ELECTRA takes token types as ones where none are given; everybody else as zeros.
        types = {} if "GPT2" in name or "Distil" in name else {"token_type_ids": 0 * input_ids}
        output = model(input_ids, attention_mask=attention_mask, **types)
        folder = Path(__file__).parent / name
        model.save_pretrained(folder)
        answers = {
            key: np.asarray(value) for key, value in output.items() if hasattr(value, "ndim")
        }
        np.savez(
            folder / "answers.npz",
            input_ids=input_ids,
            attention_mask=attention_mask,
            **answers,
        )


if __name__ == "__main__":
    main()
