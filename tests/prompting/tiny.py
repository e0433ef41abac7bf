"""A tiny random GPT with a byte-level tokeniser, and the plain definition of a likelihood."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from flaxformers_edu.interop import Pretrained
from flaxformers_edu.models import GPTConfig
from flaxformers_edu.text.training import train_gpt2_bpe
from tests.trees import random_params

TEXT = (
    "is the sky blue? answer: yes. is the sea red? answer: no. maybe the answer: no, no, yes. " * 2
)
LENGTH, V = 48, 285
"""Tokens that the model reads, and ids that there are at least."""


@cache
def tokenizer():
    return train_gpt2_bpe([TEXT] * 4, vocab_size=300)


@cache
def pretrained(**fields):
    words = tokenizer()
    config = GPTConfig(
        vocab_size=words.vocab_size,
        hidden_size=16,
        num_layers=2,
        num_heads=2,
        intermediate_size=32,
        max_length=LENGTH,
        pad_token_id=0,
        eos_token_id=0,
        **fields,
    )
    model = config.build("causal_lm")
    params = random_params(model, **model.dummy_inputs(), seed=1)
    return Pretrained(model=model, params=params, tokenizer=words, config=config, task="causal_lm")


@cache
def _compiled():
    model = pretrained().model

    @jax.jit
    def log_probs(params, ids, mask):
        return jax.nn.log_softmax(model.apply({"params": params}, ids, mask).logits)

    return log_probs


def log_probs_TV(ids):
    """Log-probabilities of the next token at each place of one text of at most LENGTH tokens."""
    row = np.zeros((1, LENGTH), np.int32)
    row[0, : len(ids)] = ids
    mask = (np.arange(LENGTH) < len(ids))[None].astype(np.int32)
    return np.asarray(_compiled()(pretrained().params, jnp.asarray(row), jnp.asarray(mask)))[0]


def plainly(context, text):
    """(log-likelihood of a continuation, whether it is what greedy search writes), by its words."""
    found = log_probs_TV([*context, *text[:-1]])[len(context) - 1 :]
    total = sum(float(found[place, token]) for place, token in enumerate(text))
    return total, all(int(found[p].argmax()) == token for p, token in enumerate(text))
