"""Tokens by and by are those of `generate`."""

import jax
import numpy as np
import pytest

from flaxformers_edu.decoding import Stream, generate
from flaxformers_edu.decoding.stream import _advance, _begin
from flaxformers_edu.errors import InputError
from tests.decoding.tables import DecoderOnlyTable, TableConfig, random_table

V, M = 7, 9
MODEL = DecoderOnlyTable(TableConfig(vocab_size=V, positions=6, pad_token_id=0))
PARAMS = {"table": random_table(0, 6, V) + 1.5 * (np.arange(V) == 1)}
PROMPT = np.array([[0, 0, 3], [2, 4, 5], [0, 6, 6]])
MASK = np.array([[0, 0, 1], [1, 1, 1], [0, 1, 1]])
GREEDY = {"max_new_tokens": M}
SAMPLES = {
    "max_new_tokens": M,
    "do_sample": True,
    "num_return_sequences": 2,
    "rng": jax.random.key(3),
}


@pytest.fixture(scope="module", params=[GREEDY, SAMPLES], ids=["greedy", "samples"])
def both(request):
    """Settings, and the new tokens that `generate` finds with them."""
    found = generate(MODEL, PARAMS, PROMPT, MASK, **request.param)
    return request.param, np.asarray(found.sequences)[:, 3:]


@pytest.mark.parametrize("chunk", [1, 4, 100])
def test_the_same_tokens_in_stretches(both, chunk):
    settings, expected = both
    pieces = list(Stream(MODEL, PARAMS, PROMPT, MASK, chunk=chunk, **settings))
    assert all(piece.shape[1] == chunk for piece in pieces[:-1])
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), expected)


def test_another_chunk_does_not_compile_again(both):
    settings, _ = both
    list(Stream(MODEL, PARAMS, PROMPT, MASK, chunk=2, **settings))
    compiled = _begin._cache_size(), _advance._cache_size()
    list(Stream(MODEL, PARAMS, PROMPT[::-1], MASK[::-1], chunk=3, **settings))
    assert (_begin._cache_size(), _advance._cache_size()) == compiled


def test_rows_that_are_ended_give_padding_and_the_others_go_on():
    settings = {**GREEDY, "eos_token_id": ()}
    expected = np.asarray(generate(MODEL, PARAMS, PROMPT, MASK, **settings).sequences)[:, 3:]
    stream = Stream(MODEL, PARAMS, PROMPT, MASK, chunk=2, **settings)
    pieces = []
    for piece in stream:
        pieces.append(piece)
        stream.end([len(pieces) >= 1, False, len(pieces) >= 2])
    found = np.concatenate(pieces, axis=1)
    np.testing.assert_array_equal(found[1], expected[1])
    assert found[0].tolist() == [*expected[0, :2], *[0] * 7]
    assert found[2].tolist() == [*expected[2, :4], *[0] * 5]

    stream = Stream(MODEL, PARAMS, PROMPT, MASK, chunk=2, **settings)
    for number, _ in enumerate(stream, start=1):
        stream.end([True, number >= 2, True])
    assert number == 2


class ReadPrompts(DecoderOnlyTable):
    """A table that says which prompts it reads."""

    def start_cache(self, input_ids_BS, attention_mask_BS, **settings):
        READ.append(input_ids_BS.shape)
        return super().start_cache(input_ids_BS, attention_mask_BS, **settings)


READ: list = []


def test_a_prompt_is_read_once_for_all_its_samples():
    READ.clear()
    model = ReadPrompts(MODEL.config)
    found = generate(model, PARAMS, PROMPT, MASK, **SAMPLES)
    assert found.sequences.shape[0] == 6
    assert READ == [(3, 3)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_beams": 2}, "num_beams is 2; what a beam search says is open until its end"),
        ({"chunk": 0}, "chunk is 0; it must be at least 1"),
        ({"top_kk": 3}, "unknown setting 'top_kk'; did you mean 'top_k'"),
        ({"temperature": 0.0}, "temperature is 0.0"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(InputError, match=message):
        Stream(MODEL, PARAMS, PROMPT, MASK, **{**GREEDY, **settings})
