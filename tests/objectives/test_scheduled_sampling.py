"""Scheduled sampling: the three curves, what a batch is told, and who can read its own words."""

import dataclasses
import math
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.models import Seq2SeqConfig, TransformerConfig
from flaxformers_edu.objectives import OBJECTIVES, ScheduledSampling, Translation
from tests.trees import random_params

EXAMPLES = [{"input_ids": [5, 3, 1], "labels": [7, 8, 1]}, {"input_ids": [4, 1], "labels": [3, 1]}]
MODEL = Seq2SeqConfig(
    vocab_size=11,
    embedding_size=4,
    hidden_size=4,
    num_layers=1,
    attention="dot",
    reverse_source=False,
    dropout=0.0,
)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"decay": "linear", "k": 0.9, "slope": 0.01, "least": 0.2}, [0.9, 0.8, 0.4, 0.2, 0.2]),
        ({"decay": "exponential", "k": 0.97}, [0.97**i for i in (0, 10, 50, 100, 100_000)]),
        (
            {"decay": "inverse_sigmoid", "k": 20.0},
            [20 / (20 + math.exp(i / 20)) for i in (0, 10, 50, 100)] + [0.0],
        ),
    ],
    ids=lambda value: value.get("decay", "") if isinstance(value, dict) else "",
)
def test_the_right_word_grows_rarer(settings, expected):
    objective = ScheduledSampling(**settings)
    steps = jnp.array([0, 10, 50, 100, 100_000])
    np.testing.assert_allclose(objective.teaching(steps), expected, rtol=1e-5, atol=1e-7)


def test_a_batch_is_told_the_probability():
    objective = ScheduledSampling(decay="exponential", k=0.5)
    batch = {"labels": jnp.zeros((3, 4), jnp.int32)}
    told = objective.scheduled(batch, jnp.int32(2))
    np.testing.assert_allclose(told["sampling_probability"], [0.75] * 3)
    assert set(told) == {"labels", "sampling_probability"}
    assert OBJECTIVES["scheduled_sampling"] is ScheduledSampling


def batch_of(config):
    return jax.tree.map(jnp.asarray, Translation().collate(config)(EXAMPLES, 2, 4))


def test_zero_is_teacher_forcing_and_evaluation_is_always():
    module, batch = MODEL.build(), batch_of(MODEL)
    params = random_params(module, **module.dummy_inputs())
    ours, theirs = ScheduledSampling(label_smoothing=0.1), Translation(label_smoothing=0.1)
    key = jax.random.key(0)
    never = dataclasses.replace(ours, decay="linear", k=1.0).scheduled(batch, jnp.int32(9))
    always = dataclasses.replace(ours, decay="linear", k=0.5, slope=1.0)
    always = always.scheduled(batch, jnp.int32(9))

    @jax.jit
    def losses(params):
        return {
            "never": ours.loss(module, params, never, key).sum,
            "always": ours.loss(module, params, always, key).sum,
            "forced": theirs.loss(module, params, batch, key).sum,
            "evaluated": ours.loss(module, params, always, None).sum,
            "plain": theirs.loss(module, params, batch, None).sum,
        }

    found = losses(params)
    np.testing.assert_allclose(found["never"], found["forced"], rtol=1e-6)
    np.testing.assert_allclose(found["evaluated"], found["plain"], rtol=1e-6)
    assert abs(found["always"] - found["forced"]) > 1e-3


def test_a_transformer_cannot_read_its_own_words():
    config = TransformerConfig(
        vocab_size=11, hidden_size=4, num_layers=1, num_heads=1, intermediate_size=4
    )
    batch = ScheduledSampling().scheduled(batch_of(config), jnp.int32(0))
    with pytest.raises(InputError, match="needs a recurrent decoder, and a Transformer"):
        ScheduledSampling().loss(config.build(), {}, batch, jax.random.key(0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"decay": "liner"}, "did you mean 'linear'"),
        ({"decay": "linear", "k": 2.0}, "objective.k is 2.0.*at most 1"),
        ({"decay": "exponential", "k": 1.0}, "between 0 and 1"),
        ({"decay": "inverse_sigmoid", "k": 0.5}, "at least 1"),
        ({"slope": 0.1}, "is for decay 'linear'"),
        ({"least": 1.5}, "objective.least is 1.5"),
        ({"label_smoothing": 1.5}, "objective.label_smoothing=1.5"),
    ],
)
def test_what_cannot_be_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        ScheduledSampling(**settings)


def test_a_row_is_one_sentence():
    with pytest.raises(InputError, match="batching.packing puts several sentences into a row"):
        Translation().collate(MODEL, packed=True)
    packs = SimpleNamespace(pad_token_id=0, decoder_start_token_id=0)
    assert Translation().collate(packs, packed=True)
