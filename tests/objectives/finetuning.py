"""A small WordPiece, and stand-ins for a model and its config."""

from types import SimpleNamespace

import flax.linen as nn
import jax.numpy as jnp

from flaxformers_edu.text.huggingface import HuggingFaceTokenizer
from flaxformers_edu.text.training import train_wordpiece
from train.encoding import encode_examples
from train.pipeline import Batching

TEXTS = (
    "the quick brown fox jumps over the lazy dog near the old river bank",
    "Super Bowl 50 was won by the Denver Broncos 24–10 in 2016",
    "대한민국의 수도는 서울이다 강남구는 서울에 있다",
)
CLS, SEP = 2, 3


def tokenizer() -> HuggingFaceTokenizer:
    """[PAD] 0, [UNK] 1, [CLS] 2, [SEP] 3, [MASK] 4, then the pieces of TEXTS."""
    return train_wordpiece(TEXTS * 4, vocab_size=400)


def config(num_labels=2, num_token_types=2):
    """What `collate` asks of a model's config."""
    return SimpleNamespace(pad_token_id=0, num_labels=num_labels, num_token_types=num_token_types)


def encode(objective, examples, pieces, max_length=64):
    """The rows of examples, as the trainer keeps them."""
    return encode_examples(
        examples,
        lambda example: objective.encode(example, pieces, max_length=max_length),
        Batching(max_source_length=max_length),
    )


class Says(nn.Module):
    """A model that says what it was made with, whatever it reads."""

    outputs: tuple

    def __call__(self, input_ids, attention_mask, token_type_ids=None, deterministic=True):
        assert input_ids.shape == attention_mask.shape
        return SimpleNamespace(**{name: jnp.asarray(x) for name, x in self.outputs})


def says(**outputs):
    """A `Says` with these outputs."""
    as_lists = {name: jnp.asarray(x, jnp.float32).tolist() for name, x in outputs.items()}
    return Says(tuple((name, _frozen(x)) for name, x in as_lists.items()))


def _frozen(x):
    return tuple(map(_frozen, x)) if isinstance(x, list) else x
