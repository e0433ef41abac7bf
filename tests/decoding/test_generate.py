"""`generate` end to end on table models: shapes, defaults, checks, compilations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.decoding import generate
from flaxformers_edu.decoding.generate import _generate
from flaxformers_edu.errors import InputError
from tests.decoding.tables import (
    DecoderOnlyTable,
    EncoderDecoderTable,
    TableConfig,
    random_table,
)
from tests.decoding.textbook import beam_search, log_softmax, table_log_probs

V = 7
MODEL = DecoderOnlyTable(TableConfig(vocab_size=V, positions=6, pad_token_id=0))
PARAMS = {"table": random_table(0, 6, V)}
TRANSLATOR = EncoderDecoderTable(TableConfig(vocab_size=V, positions=6, pad_token_id=0))
TRANSLATOR_PARAMS = {
    "table": random_table(1, 6, V),
    "encoder": random_table(2, 1, V)[0, 0],
}
PROMPT = np.array([[0, 0, 3], [2, 4, 5]])
MASK = np.array([[0, 0, 1], [1, 1, 1]])


def test_beams_of_a_decoder_only_model_equal_the_textbook():
    found = generate(
        MODEL, PARAMS, PROMPT, MASK, max_new_tokens=5, num_beams=3, num_return_sequences=2
    )
    expected = []
    for prompt in ([3], [2, 4, 5]):
        log_probs = table_log_probs(PARAMS["table"], prompt, max_new_tokens=5)
        expected += beam_search(
            log_probs,
            num_beams=3,
            max_new_tokens=5,
            eos=(1,),
            length_penalty=1.0,
            early_stopping=False,
        )[:2]
    assert found.sequences.shape == (4, 3 + max(len(tokens) for _, tokens in expected))
    for row, score, (expected_score, tokens) in zip(
        found.sequences, found.scores, expected, strict=True
    ):
        assert row[3 : 3 + len(tokens)].tolist() == tokens
        # Padding id 0 counts as none in beam search: the end is repeated.
        assert set(row[3 + len(tokens) :].tolist()) <= {1}
        assert float(score) == pytest.approx(expected_score, abs=1e-4)


def test_beams_of_an_encoder_decoder_equal_the_textbook():
    source = np.array([[3, 4, 0], [5, 6, 2]])
    mask = np.array([[1, 1, 0], [1, 1, 1]])
    found = generate(
        TRANSLATOR, TRANSLATOR_PARAMS, source, mask, max_new_tokens=5, num_beams=3, pad_token_id=6
    )
    rows = []
    for ids in ([3, 4], [5, 6, 2]):
        bias = TRANSLATOR_PARAMS["encoder"][ids].sum(axis=0)

        def log_probs(new_tokens, bias=bias):
            tokens = [0, 2, *new_tokens]
            table = TRANSLATOR_PARAMS["table"]
            return log_softmax(table[len(new_tokens) % 6, tokens[-2], tokens[-1]] + bias)

        rows += beam_search(
            log_probs,
            num_beams=3,
            max_new_tokens=5,
            eos=(1,),
            length_penalty=1.0,
            early_stopping=False,
        )[:1]
    longest = max(len(tokens) for _, tokens in rows)
    expected = [[2, *tokens, *[6] * (longest - len(tokens))] for _, tokens in rows]
    assert found.sequences.tolist() == expected
    np.testing.assert_allclose(found.scores, [score for score, _ in rows], atol=1e-4)


def test_decoder_start_token_can_be_given():
    found = generate(
        TRANSLATOR, TRANSLATOR_PARAMS, PROMPT, max_new_tokens=2, decoder_start_token_id=5
    )
    assert found.sequences[:, 0].tolist() == [5, 5]


def test_greedy_is_cropped_at_the_longest_and_padded_with_the_padding():
    params = {"table": PARAMS["table"].copy()}
    params["table"][..., 1] = -9.0
    params["table"][1, :, :, 1] = 9.0  # The row of one prompt token ends with its second new one.
    params["table"][4, :, :, 1] = 9.0  # The row of three: with its third.
    found = generate(MODEL, params, PROMPT, MASK, max_new_tokens=6)
    assert found.sequences.shape == (2, 3 + 3)
    assert found.sequences[0, 4:].tolist() == [1, 0]
    assert int(found.sequences[1, 5]) == 1
    assert found.scores.shape == (2,)


def test_no_end_and_several_ends():
    endless = generate(MODEL, PARAMS, PROMPT, MASK, max_new_tokens=6, eos_token_id=())
    assert endless.sequences.shape == (2, 9)
    every = generate(MODEL, PARAMS, PROMPT, MASK, max_new_tokens=6, eos_token_id=range(V))
    assert every.sequences.shape == (2, 4)


def test_sampling_returns_a_rows_samples_together():
    key = jax.random.key(0)
    settings = {"max_new_tokens": 4, "do_sample": True, "rng": key}
    found = generate(MODEL, PARAMS, PROMPT, MASK, num_return_sequences=3, **settings)
    assert found.sequences.shape[0] == 6
    np.testing.assert_array_equal(found.sequences[:3, :3], PROMPT[:1].repeat(3, axis=0))
    np.testing.assert_array_equal(found.sequences[3:, :3], PROMPT[1:].repeat(3, axis=0))
    alone = generate(MODEL, PARAMS, PROMPT[:1], MASK[:1], num_return_sequences=3, **settings)
    length = min(alone.sequences.shape[1], found.sequences.shape[1])
    np.testing.assert_array_equal(alone.sequences[:, :length], found.sequences[:3, :length])
    np.testing.assert_allclose(alone.scores, found.scores[:3], atol=1e-6)


def test_sampling_at_top_k_of_one_is_greedy():
    greedy = generate(MODEL, PARAMS, PROMPT, MASK, max_new_tokens=4)
    sampled = generate(
        MODEL,
        PARAMS,
        PROMPT,
        MASK,
        max_new_tokens=4,
        do_sample=True,
        top_k=1,
        rng=jax.random.key(0),
    )
    np.testing.assert_array_equal(greedy.sequences, sampled.sequences)
    np.testing.assert_allclose(sampled.scores, 0.0, atol=1e-6)


def test_forced_tokens_come_from_the_config_unless_told():
    class Config(TableConfig):
        forced_eos_token_id = 1

    model = DecoderOnlyTable(Config(vocab_size=V, positions=6))
    params = {"table": PARAMS["table"].copy()}
    params["table"][..., 1] = -9.0
    settings = {"max_new_tokens": 3, "num_beams": 2}
    assert (generate(model, params, PROMPT, MASK, **settings).sequences[:, -1] == 1).all()
    without = generate(model, params, PROMPT, MASK, forced_eos_token_id=(), **settings)
    assert (without.sequences[:, -1] != 1).all()


def test_lists_numpy_and_jax_arrays_are_alike():
    settings = {"max_new_tokens": 4, "num_beams": 2}
    from_numpy = generate(MODEL, PARAMS, PROMPT, MASK, **settings)
    from_jax = generate(MODEL, PARAMS, jnp.asarray(PROMPT), jnp.asarray(MASK == 1), **settings)
    from_lists = generate(MODEL, PARAMS, PROMPT.tolist(), MASK.tolist(), **settings)
    np.testing.assert_array_equal(from_numpy.sequences, from_jax.sequences)
    np.testing.assert_array_equal(from_numpy.sequences, from_lists.sequences)


def test_no_mask_means_no_padding():
    ones = generate(MODEL, PARAMS, PROMPT, np.ones_like(PROMPT), max_new_tokens=4)
    none = generate(MODEL, PARAMS, PROMPT, max_new_tokens=4)
    np.testing.assert_array_equal(ones.sequences, none.sequences)


def test_a_second_call_does_not_compile():
    settings = {"max_new_tokens": 5, "num_beams": 2, "repetition_penalty": 1.3, "min_new_tokens": 1}
    generate(MODEL, PARAMS, PROMPT, MASK, length_penalty=1.0, **settings)
    compiled = _generate._cache_size()
    again = DecoderOnlyTable(TableConfig(vocab_size=V, positions=6, pad_token_id=0))
    settings |= {"repetition_penalty": 0.7, "min_new_tokens": 3}
    for length_penalty in (-1.0, 0, 2.0):
        generate(again, PARAMS, PROMPT[::-1], length_penalty=length_penalty, **settings)
    assert _generate._cache_size() == compiled
    generate(MODEL, PARAMS, PROMPT, MASK, **{**settings, "num_beams": 3})
    assert _generate._cache_size() == compiled + 1


def test_sampling_values_do_not_compile_again():
    settings = {"max_new_tokens": 5, "do_sample": True}
    values = {"temperature": 0.7, "top_p": 0.9, "min_p": 0.1}
    generate(MODEL, PARAMS, PROMPT, rng=jax.random.key(0), **values, **settings)
    compiled = _generate._cache_size()
    values = {"temperature": 1.4, "top_p": 0.3, "min_p": 0.2}
    generate(MODEL, PARAMS, PROMPT, rng=jax.random.key(1), **values, **settings)
    assert _generate._cache_size() == compiled


def test_inside_jit_and_vmap_the_full_length_is_kept():
    settings = {"max_new_tokens": 6, "num_beams": 2, "pad_token_id": 5}
    # The end likely enough for the longest result to be shorter than the maximum.
    params = {"table": PARAMS["table"] + 4.0 * (np.arange(V) == 1)}
    plain = generate(MODEL, params, PROMPT, MASK, **settings)

    def run(params, ids, mask):
        return generate(MODEL, params, ids, mask, **settings)

    traced = jax.jit(run)(params, PROMPT, MASK)
    assert traced.sequences.shape == (2, 9)
    length = plain.sequences.shape[1]
    assert length < 9
    np.testing.assert_array_equal(traced.sequences[:, :length], plain.sequences)
    assert (traced.sequences[:, length:] == 5).all()

    tables = np.stack([params["table"], random_table(5, 6, V)])
    mapped = jax.vmap(lambda table: run({"table": table}, PROMPT, MASK))(tables)
    np.testing.assert_array_equal(mapped.sequences[0], traced.sequences)
    other = generate(MODEL, {"table": tables[1]}, PROMPT, MASK, **settings)
    np.testing.assert_array_equal(
        mapped.sequences[1, :, : other.sequences.shape[1]], other.sequences
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens is 0; it must be a whole number >= 1"),
        ({"min_new_tokens": -1}, "min_new_tokens is -1"),
        ({"min_new_tokens": 5}, "min_new_tokens is 5; it must be at most max_new_tokens, 4"),
        ({"num_beams": 0}, "num_beams is 0"),
        ({"num_beams": 2, "num_return_sequences": 3}, "at most num_beams, 2"),
        ({"num_return_sequences": 2}, "num_return_sequences is 2; it must be 1 in greedy"),
        ({"num_return_sequences": 0}, "num_return_sequences is 0"),
        ({"early_stopping": "always"}, 'must be True, False or "never"'),
        ({"length_penalty": float("nan")}, "length_penalty is nan"),
        ({"temperature": 0.0}, "temperature is 0.0"),
        ({"top_k": -1}, "top_k is -1"),
        ({"top_p": 1.5}, r"top_p is 1.5; it must be in \[0, 1\]"),
        ({"min_p": -0.1}, "min_p is -0.1"),
        ({"repetition_penalty": 0.0}, "repetition_penalty is 0.0"),
        ({"do_sample": True}, "rng is None"),
        ({"do_sample": True, "rng": 0, "num_beams": 2}, "1 when do_sample is set"),
        ({"scorer": "gnmmt"}, "did you mean 'gnmt'"),
        ({"eos_token_id": 7}, r"eos_token_id is 7; token ids lie in .* \[0, 7\)"),
        ({"eos_token_id": "</s>"}, "eos_token_id is '</s>'"),
        ({"pad_token_id": -1}, "pad_token_id is -1"),
        ({"num_beams": 2, "eos_token_id": range(7)}, "vocab_size 7 is too small"),
        ({"forced_eos_token_id": 9}, "forced_eos_token_id is 9"),
        ({"num_beams": 8}, "num_beams is 8; it must be at most the size of the vocabulary, 7"),
        ({"max_new_tokens": 47}, "prompt of 3 tokens and max_new_tokens=47 .* 48 positions"),
        ({"no_repeat_ngram_size": -1}, "no_repeat_ngram_size is -1; it must be a whole number"),
        ({"suppress_tokens": [7]}, "suppress_tokens is .7.; token ids lie in"),
        ({"bad_words_ids": [[1], []]}, "bad_words_ids has an empty sequence"),
        ({"stop_sequences": [[1, -1]]}, "stop_sequences is .1, -1.; token ids lie in"),
    ],
)
def test_bad_settings_are_named_before_anything_compiles(settings, message):
    compiled = _generate._cache_size()
    with pytest.raises(InputError, match=message):
        generate(MODEL, PARAMS, PROMPT, MASK, **{"max_new_tokens": 4, **settings})
    assert _generate._cache_size() == compiled


@pytest.mark.parametrize(
    ("ids", "mask", "message"),
    [
        (PROMPT, MASK[:, :2], r"attention_mask has shape \(2, 2\); .* \(2, 3\)"),
        (PROMPT, MASK[:, ::-1], "ends with 0 in row 0; .* padded on the left"),
        (PROMPT, 2 * MASK, "must hold 1 for tokens and 0 for padding"),
        (PROMPT[0], None, r"input_ids has shape \(3,\)"),
        (PROMPT[:, :0], None, r"input_ids has shape \(2, 0\)"),
        (PROMPT.astype(np.float32), None, "type float32"),
        (PROMPT + 5, None, "input_ids holds 10"),
        (PROMPT - 1, None, "input_ids holds -1"),
    ],
)
def test_bad_inputs_are_named(ids, mask, message):
    with pytest.raises(InputError, match=message):
        generate(MODEL, PARAMS, ids, mask, max_new_tokens=4)


def test_an_encoder_decoder_may_pad_its_source_on_the_right_but_needs_a_start():
    right = MASK[:, ::-1]
    generate(TRANSLATOR, TRANSLATOR_PARAMS, PROMPT, right, max_new_tokens=2)
    startless = EncoderDecoderTable(TableConfig(vocab_size=V, decoder_start_token_id=None))
    with pytest.raises(InputError, match="decoder_start_token_id"):
        generate(startless, TRANSLATOR_PARAMS, PROMPT, right, max_new_tokens=2)


@pytest.mark.parametrize("search", [{}, {"num_beams": 3, "num_return_sequences": 3}])
def test_rules_on_sequences_hold_in_every_search(search):
    settings = {"max_new_tokens": 9, "eos_token_id": (), **search}
    free = np.asarray(generate(MODEL, PARAMS, PROMPT, MASK, **settings).sequences)
    pair, token = free[-1, 5:7].tolist(), int(free[0, 4])
    ruled = generate(
        MODEL,
        PARAMS,
        PROMPT,
        MASK,
        no_repeat_ngram_size=2,
        bad_words_ids=[pair],
        suppress_tokens=[token],
        **settings,
    )
    n = len(ruled.sequences) // len(PROMPT)
    for index, row in enumerate(ruled.sequences.tolist()):
        row = row[int((1 - MASK[index // n]).sum()) :]  # padding is part of no n-gram
        bigrams = list(zip(row, row[1:], strict=False))
        assert len(set(bigrams)) == len(bigrams)
        assert tuple(pair) not in bigrams[len(PROMPT[0]) :]
        assert token not in row[len(row) - 9 :]
    assert np.isfinite(ruled.scores).all()


@pytest.mark.parametrize("search", [{}, {"num_beams": 3, "num_return_sequences": 3}])
def test_stop_sequences_end_a_search(search):
    settings = {"max_new_tokens": 9, "eos_token_id": (), "length_penalty": -2.0, **search}
    prompt = PROMPT[1:]
    stop = np.asarray(generate(MODEL, PARAMS, prompt, **settings).sequences)[0, 5:7].tolist()
    found = generate(MODEL, PARAMS, prompt, stop_sequences=[stop, [4, 4, 4, 4]], **settings)
    endings = []
    for row in found.sequences[:, 3:].tolist():
        # What follows the end: padding, or -1 of beams without an end-of-sequence token.
        new = row[: row.index(-1)] if -1 in row else row
        pairs = [new[i : i + 2] for i in range(len(new) - 1)]
        assert not search or stop not in pairs[:-1]
        endings.append(pairs.index(stop) if stop in pairs else None)
    assert any(place is not None and place < 7 for place in endings)


def test_as_many_other_tokens_do_not_compile_again():
    def run(stop, banned):
        generate(MODEL, PARAMS, PROMPT, max_new_tokens=4, stop_sequences=stop, bad_words_ids=banned)

    run([[1, 2], [3]], [[4, 5, 6]])
    compiled = _generate._cache_size()
    run([[2, 2], [5, 1]], [[1, 2, 3, 4]])
    assert _generate._cache_size() == compiled
