"""Prompts as texts, texts as answers: padded batches, stop strings, streams."""

import jax
import pytest

from flaxformers_edu.decoding import generate_text, stream_text
from flaxformers_edu.decoding.prompts import prompt_tokens
from flaxformers_edu.errors import InputError
from flaxformers_edu.text.training import train_tokenizer
from tests.decoding.tables import DecoderOnlyTable, TableConfig, random_table

TOKENIZER = train_tokenizer("characters", ["abcdef \n"], vocab_size=10)
V, M = 10, 24
MODEL = DecoderOnlyTable(TableConfig(vocab_size=V, positions=6, eos_token_id=0))
TABLE = random_table(1, 6, V)
TABLE[..., :2] -= 9.0  # neither an end nor the unknown
PARAMS = {"table": TABLE}
PROMPTS = ["abc", "f", "deadbeef face", "cab", ""]
GREEDY = {"max_new_tokens": M}
SAMPLES = {**GREEDY, "do_sample": True, "num_return_sequences": 2, "rng": jax.random.key(5)}


def continued(prompts, **settings):
    return generate_text(MODEL, PARAMS, TOKENIZER, prompts, **{**GREEDY, **settings})


@pytest.fixture(scope="module")
def greedy():
    return [found.text for (found,) in continued(PROMPTS, batch_size=4)]


def test_padding_and_batches_change_nothing(greedy):
    assert [found.text for (found,) in continued(PROMPTS[::-1], batch_size=4)][::-1] == greedy
    assert len(set(greedy)) == 5
    assert all(len(text) == M for text in greedy)


def test_the_end_is_no_text():
    params = {"table": TABLE.copy()}
    params["table"][4, ..., 0] = 30.0
    ((found,),) = generate_text(MODEL, params, TOKENIZER, ["abc"], **GREEDY)
    assert found.ended == "end"
    assert found.tokens[-1] == 0
    assert found.text == TOKENIZER.decode(found.tokens[:-1])
    assert len(found.text) == 2


def test_stop_strings_cut_what_would_have_been_written(greedy):
    stops = [greedy[0][5:7], greedy[2][9:11], greedy[1][20]]
    answers = continued(PROMPTS, batch_size=4, stop_strings=stops)
    for (found,), text in zip(answers, greedy, strict=True):
        places = [place for stop in stops if (place := text.find(stop)) >= 0]
        assert found.text == (text[: min(places)] if places else text)
        assert found.ended == ("stop" if places else "length")
        assert TOKENIZER.decode(found.tokens).startswith(found.text)
    assert answers[0][0].text != greedy[0]


def test_stop_sequences_are_kept_as_text(greedy):
    sequence = TOKENIZER.encode(greedy[0][5:8], add_eos=False)
    ((found,),) = continued(PROMPTS[:1], stop_sequences=[sequence])
    assert found.text == greedy[0][: greedy[0].find(greedy[0][5:8]) + 3]
    assert found.ended == "stop"


@pytest.mark.parametrize("settings", [{}, {"stop_strings": ["ab", " f"]}])
def test_samples_end_each_by_itself(settings):
    answers = continued(PROMPTS[:4], batch_size=4, **SAMPLES)
    stopped = continued(PROMPTS[:4], batch_size=4, **SAMPLES, **settings)
    assert [len(found) for found in answers] == [2] * 4
    assert answers[0][0].text != answers[0][1].text
    for free, cut in zip(sum(answers, []), sum(stopped, []), strict=True):
        stops = settings.get("stop_strings", [])
        places = [place for stop in stops if (place := free.text.find(stop)) >= 0]
        assert cut.text == (free.text[: min(places)] if places else free.text)


def test_a_stream_says_the_same(greedy):
    pieces = list(stream_text(MODEL, PARAMS, TOKENIZER, PROMPTS[2], **GREEDY))
    assert pieces == list(greedy[2])
    stop = greedy[2][9:11]
    cut = "".join(
        stream_text(MODEL, PARAMS, TOKENIZER, PROMPTS[2], stop_strings=[stop], chunk=3, **GREEDY)
    )
    assert cut == greedy[2][: greedy[2].find(stop)]


def test_an_empty_prompt_is_the_beginning_of_a_text():
    assert prompt_tokens(TOKENIZER, "") == [0]
    assert prompt_tokens(TOKENIZER, "ab") == TOKENIZER.encode("ab")[:-1]
    sentencepiece = train_tokenizer("unigram", ["a cat", "a dog"] * 3, vocab_size=12)
    assert sentencepiece("a cat")["input_ids"][0, -1] == 1
    assert prompt_tokens(sentencepiece, "a cat")[-1] != 1
    assert continued([]) == []


@pytest.mark.parametrize(
    ("prompts", "settings", "message"),
    [
        (["a", "b" * 30], {}, "prompt 2 has 30 tokens; with max_new_tokens=24 .* 48 positions"),
        (["a"], {"max_new_tokens": 49}, "prompt 1 has 1 tokens; with max_new_tokens=49"),
        (["a"], {"stop_strings": "ab"}, "stop_strings is 'ab'; it must be texts"),
        (["a"], {"stop_strings": ["a", ""]}, "none empty"),
        (["a"], {"stop_strings": ["a"], "num_beams": 2}, "give stop_sequences"),
        (["a"], {"batch_size": 0}, "batch_size is 0"),
        (["a"], {"no_repeat_ngram_size": -1}, "no_repeat_ngram_size is -1"),
    ],
)
def test_bad_input(prompts, settings, message):
    with pytest.raises(InputError, match=message):
        continued(prompts, **settings)


def test_what_cannot_be_streamed():
    with pytest.raises(InputError, match="num_return_sequences must be 1"):
        stream_text(MODEL, PARAMS, TOKENIZER, "a", **SAMPLES)
