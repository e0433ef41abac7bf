"""Masking: rates over many draws, whole words, nothing special, shapes that never change."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.objectives.masking import (
    Masking,
    choose,
    hide,
    mask_batch,
    places_of,
)

CONFIG = types.SimpleNamespace(mask_token_id=4, vocab_size=1000)
ROWS, LENGTH = 32, 60


def a_batch(seed: int = 0) -> dict[str, np.ndarray]:
    """Rows of other lengths: [CLS], words of 1 to 3 pieces, [SEP], padding."""
    rng = np.random.default_rng(seed)
    ids = np.zeros((ROWS, LENGTH), np.int32)
    maskable = np.zeros((ROWS, LENGTH), np.int32)
    for row in range(ROWS):
        length = int(rng.integers(20, LENGTH + 1))
        kinds: list[int] = []
        while len(kinds) < length - 2:
            kinds += [1, *[2] * int(rng.integers(0, 3))]
        maskable[row, 1 : length - 1] = kinds[: length - 2]
        ids[row, 1 : length - 1] = rng.integers(5, 1000, length - 2)
        ids[row, [0, length - 1]] = 2, 3
    return {
        "input_ids": ids,
        "attention_mask": (ids > 0).astype(np.int32),
        "token_type_ids": np.zeros_like(ids),
        "maskable": maskable,
    }


def draws(masking: Masking, number: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """What `choose` takes of a batch, for many keys: [number, rows, length]."""
    maskable = a_batch()["maskable"]
    keys = jax.random.split(jax.random.key(1), number)
    chosen = jax.jit(jax.vmap(lambda key: choose(key, jnp.asarray(maskable), masking)))(keys)
    return np.asarray(chosen), maskable


WORDS, NGRAMS = Masking(whole_words=True), Masking(whole_words=True, max_ngram=3)


@pytest.mark.parametrize("masking", [Masking(), WORDS, NGRAMS])
def test_rate_and_places(masking) -> None:
    chosen, maskable = draws(masking)
    assert not chosen[:, maskable == 0].any()
    budget = np.round(0.15 * (maskable > 0).sum(axis=1))
    counts = chosen.sum(axis=2)
    assert (counts <= budget).all()
    assert (counts <= masking.places(LENGTH)).all()
    if not masking.whole_words:
        assert (counts == budget).all()
    rate = chosen.sum() / (len(chosen) * (maskable > 0).sum())
    assert 0.14 < rate < 0.16
    # Every token has its chance, and no key does as another.
    often = chosen.mean(axis=0)[maskable > 0]
    assert np.percentile(often, 1) > 0
    assert np.percentile(often, 99) < 0.4
    assert not (chosen[0] == chosen[1]).all()


@pytest.mark.parametrize("masking", [WORDS, NGRAMS])
def test_words_stay_whole(masking) -> None:
    chosen, maskable = draws(masking)
    continues = maskable[:, 1:] == 2
    assert (chosen[:, :, 1:] == chosen[:, :, :-1])[:, continues].all()
    tokens = draws(Masking())[0]
    assert not (tokens[:, :, 1:] == tokens[:, :, :-1])[:, continues].all()


def test_ngrams_have_the_published_lengths() -> None:
    # One piece a word and much room, so that nothing is cut short; runs that touch are rare.
    maskable = jnp.ones((16, 400), jnp.int32)
    masking = Masking(fraction=0.03, whole_words=True, max_ngram=3)
    keys = jax.random.split(jax.random.key(0), 60)
    chosen = np.asarray(jax.vmap(lambda key: choose(key, maskable, masking))(keys))
    edges = np.diff(np.pad(chosen, ((0, 0), (0, 0), (1, 1))).astype(int), axis=2)
    lengths = np.nonzero(edges == -1)[2] - np.nonzero(edges == 1)[2]
    # The last n-gram of a row falls back to what is left: compare the two longer ones.
    shares = np.array([(lengths == n).mean() for n in (1, 2, 3)])
    np.testing.assert_allclose(shares, np.array([6, 3, 2]) / 11, atol=0.04)
    single = np.asarray(choose(keys[0], maskable, Masking(fraction=0.03, whole_words=True)))
    assert single.sum() == 16 * 12


def test_what_hides() -> None:
    ids = jnp.full((200, 100), 7, jnp.int32)
    chosen = jnp.tile(jnp.arange(100) % 2 == 0, (200, 1))
    hidden = np.asarray(hide(jax.random.key(0), ids, chosen, CONFIG, Masking()))
    assert (hidden[:, 1::2] == 7).all()
    hidden = hidden[:, ::2]
    assert abs((hidden == 4).mean() - 0.8) < 0.01
    assert abs((hidden == 7).mean() - 0.1) < 0.01
    others = hidden[(hidden != 4) & (hidden != 7)]
    assert abs(len(others) / hidden.size - 0.1) < 0.01
    assert others.min() < 20 and others.max() > 980
    electra = Masking(masked=0.85, random=0.0)
    hidden = np.asarray(hide(jax.random.key(0), ids, chosen, CONFIG, electra))[:, ::2]
    assert set(np.unique(hidden)) == {4, 7}
    assert abs((hidden == 4).mean() - 0.85) < 0.01


def test_places_hold_the_truth() -> None:
    batch = {name: jnp.asarray(array) for name, array in a_batch().items()}
    inputs, labels = mask_batch(batch, CONFIG, NGRAMS, jax.random.key(3))
    positions = np.asarray(inputs["predict_positions"])
    assert positions.shape == labels.shape == (ROWS, NGRAMS.places(LENGTH))
    assert set(inputs) == {
        "input_ids", "attention_mask", "token_type_ids", "predict_positions"
    }  # fmt: skip
    labels = np.asarray(labels)
    real = labels != -100
    truth = np.take_along_axis(a_batch()["input_ids"], positions, axis=1)
    assert (labels[real] == truth[real]).all()
    for row in range(ROWS):
        places = positions[row][real[row]]
        assert (np.diff(places) > 0).all()
    changed = np.asarray(inputs["input_ids"]) != a_batch()["input_ids"]
    for row, place in np.argwhere(changed):
        assert place in positions[row][real[row]]
    again, _ = mask_batch(batch, CONFIG, NGRAMS, jax.random.key(3))
    assert (again["input_ids"] == inputs["input_ids"]).all()
    other, _ = mask_batch(batch, CONFIG, NGRAMS, jax.random.key(4))
    assert not (other["input_ids"] == inputs["input_ids"]).all()


def test_rare_tokens_are_favoured() -> None:
    """By their counts to the power of -1/2, drawn without replacement."""
    masking = Masking(fraction=0.01, smoothing=0.5)
    counts = jnp.array([[9, 9, 1, 4, 0, 16]])
    maskable = jnp.array([[0, 1, 1, 2, 1, 1]])
    keys = jax.random.split(jax.random.key(0), 20_000)
    chosen = jax.jit(jax.vmap(lambda key: choose(key, maskable, masking, counts)))(keys)[:, 0]
    assert (chosen.sum(axis=1) == 1).all()
    weights = np.array([0, 1 / 3, 1, 1 / 2, 1, 1 / 4])  # none in the corpus counts as one
    expected = weights / weights.sum()
    deviation = np.sqrt(expected * (1 - expected) / len(keys))
    assert (np.abs(chosen.mean(axis=0) - expected) <= 4 * deviation).all()


def test_empty_rows_predict_nothing() -> None:
    nothing = jnp.zeros((2, 10), jnp.int32)
    for masking in (Masking(), WORDS, NGRAMS):
        chosen = choose(jax.random.key(0), nothing, masking)
        assert not chosen.any()
        _, labels = places_of(chosen, nothing, masking.places(10))
        assert (labels == -100).all()


def test_bad_fields() -> None:
    with pytest.raises(InputError, match=r"masking.fraction is 1.5"):
        Masking(fraction=1.5)
    with pytest.raises(InputError, match=r"add up to 1"):
        Masking(masked=0.9, random=0.2)
    with pytest.raises(InputError, match=r"masking.max_ngram is 3.*whole_words"):
        Masking(max_ngram=3)
    with pytest.raises(InputError, match=r"masking.smoothing is 0.7.*whole_words"):
        Masking(smoothing=0.7, whole_words=True)
