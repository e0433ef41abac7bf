"""Sliding windows, and perplexities of long texts."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flaxformers_edu.errors import InputError
from flaxformers_edu.prompting import Reader, Scorer, TextLikelihood, text_likelihoods, windows
from tests.prompting.tiny import LENGTH, TEXT, log_probs_TV, pretrained


@given(st.integers(0, 40), st.integers(2, 12), st.integers(0, 12))
def test_every_token_is_predicted_once_from_as_much_as_fits(number, length, stride):
    stride = min(stride, length)
    ids = list(range(100, 100 + number))
    found = list(windows((1,), ids, length=length, stride=stride))
    predicted = [token for query in found for token in query.continuations[0]]
    assert predicted == ids
    whole, place = [1, *ids], 1
    for query in found:
        [text] = query.continuations
        assert 1 <= query.length <= length
        assert list(query.context) == whole[place - len(query.context) : place]
        place += len(text)
    for query in found[1:]:
        assert query.length == length and len(query.continuations[0]) <= (stride or length)


@given(st.integers(1, 40), st.integers(2, 12), st.integers(1, 12))
def test_as_lm_eval_cuts_them(number, length, context):
    utils = pytest.importorskip("lm_eval.utils")
    context = min(context, length)
    ids = list(range(100, 100 + number))
    theirs = utils.get_rolling_token_windows(ids, 1, length, context)
    ours = windows((1,), ids, length=length, stride=length - context + 1)
    assert [
        ([*query.context, *query.continuations[0][:-1]], list(query.continuations[0]))
        for query in ours
    ] == [(list(read), list(predicted)) for read, predicted in theirs]


@pytest.mark.parametrize("stride", [0, 1, 7])
def test_perplexity_is_that_of_a_plain_loop(stride):
    reader, scorer = Reader.of(pretrained()), Scorer(pretrained(), batch_size=4)
    texts = [TEXT, "yes"]
    assert len(reader.encode(TEXT)) > LENGTH  # more than a window
    found = text_likelihoods(reader, scorer, texts, stride=stride)

    def loop(ids):
        """One token after the other; what stands before it, by the definition of the window."""
        whole, total = [reader.tokenizer.bos_token_id, *ids], 0.0
        for place in range(1, len(whole)):
            step = stride or LENGTH
            behind = max(0, -(-(place - LENGTH) // step))  # windows after the first
            end = min(LENGTH + behind * step, len(whole) - 1)
            start = max(0, end - LENGTH)
            total += float(log_probs_TV(whole[start:place])[place - start - 1, whole[place]])
        return total

    for text, one in zip(texts, found, strict=True):
        assert one.log_likelihood == pytest.approx(loop(reader.encode(text)), abs=2e-3)
        assert one.tokens == len(reader.encode(text)) and one.bytes == len(text)
    assert found[1].words == 1


def test_measures_add_up_over_texts():
    total = TextLikelihood(-10.0, 4, 2, 20) + TextLikelihood(-6.0, 4, 2, 12)
    assert total.measures == pytest.approx(
        {
            "token_perplexity": math.exp(2),
            "word_perplexity": math.exp(4),
            "byte_perplexity": math.exp(0.5),
            "bits_per_byte": 0.5 / math.log(2),
        }
    )


def test_bad_strides():
    for stride in (-1, 9):
        with pytest.raises(InputError, match=f"stride is {stride}; it must be from 1 to"):
            list(windows((1,), [2], length=8, stride=stride))
    with pytest.raises(InputError, match="leave no room"):
        list(windows((1,) * 9, [2], length=8))
