"""Contexts and continuations as they are read together."""

import dataclasses

import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.prompting import Query, Reader
from flaxformers_edu.text.training import train_byte_bpe
from tests.prompting.tiny import TEXT, pretrained, tokenizer


@pytest.fixture(scope="module")
def reader():
    return Reader.of(pretrained())


@pytest.mark.parametrize(
    "context", ["is the sky blue? answer:", "is the sky blue? answer: ", "a \n "]
)
@pytest.mark.parametrize("texts", [[" yes", " no"], ["yes", "maybe no"]])
def test_white_space_before_a_continuation_are_its_own(reader, context, texts):
    """The rule of lm-eval: encode both, and what is longer than the context is the continuation."""
    query = reader.query(context, texts)
    spaces = len(context) - len(context.rstrip())
    bare = context[: len(context) - spaces]
    assert query.context == reader.encode(bare)
    for text, ids in zip(texts, query.continuations, strict=True):
        assert ids == reader.encode(context + text)[len(query.context) :]
        assert tokenizer().decode([*query.context, *ids]) == context + text


def test_where_both_melt_into_a_token_the_context_ends_before_it(reader):
    assert len(reader.encode(" answer")) == 1  # one token, of which no continuation is a part
    query = reader.query("blue? ans", ["wer: yes", "n"])
    for text, ids in zip(["wer: yes", "n"], query.continuations, strict=True):
        assert (*query.context, *ids) == reader.encode("blue? ans" + text)
    assert len(query.context) < len(reader.encode("blue? ans"))


def test_something_stands_before_a_text(reader):
    words = tokenizer()
    assert reader.begin == () and words.bos_token_id == 0
    assert reader.query("", ["yes"]) == Query((0,), (reader.encode("yes"),))
    assert reader.context("") == (0,)
    robertas = train_byte_bpe([TEXT], vocab_size=300)
    begun = Reader.of(dataclasses.replace(pretrained(), tokenizer=robertas))
    assert begun.begin == (robertas.bos_token_id,) == (0,)  # without the end behind the text
    assert begun.query("is the", [" sky"]).context == (0, *begun.encode("is the"))
    assert begun.context("is the") == (0, *begun.encode("is the"))
    with pytest.raises(InputError, match="has no tokeniser"):
        Reader.of(dataclasses.replace(pretrained(), tokenizer=None))


@pytest.mark.parametrize("context", ["", TEXT, "a "])
def test_a_candidate_without_tokens(reader, context):
    with pytest.raises(InputError, match="the candidate '' has no tokens"):
        reader.query(context, ["yes", ""])
