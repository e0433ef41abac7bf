"""Likelihoods: the plain definition, both ways, few shapes, nothing twice."""

import dataclasses

import numpy as np
import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.models import TransformerConfig
from flaxformers_edu.prompting import Query, Scorer, scoring
from tests.prompting.tiny import LENGTH, V, log_probs_TV, plainly, pretrained


def ids(length, seed):
    return tuple(int(i) for i in np.random.default_rng([length, seed]).integers(5, V, length))


def query(context, *lengths):
    """A random context of so many tokens, and continuations of so many."""
    return Query(ids(context, 0), tuple(ids(length, i) for i, length in enumerate(lengths, 1)))


# Two programs for contexts that are read once, three for whole rows.
QUERIES = [
    *(query(12, 3), query(9, 1, 4, 2), query(16, 3, 3, 4, 1), query(30, 2, 1), query(44, 1)),
    *(query(14, 4, 4, 2), query(4, 4)),
]


@pytest.fixture(scope="module")
def scorer():
    return Scorer(pretrained(), batch_size=4)


@pytest.fixture(scope="module")
def plain_scorer():
    return Scorer(pretrained(), batch_size=4, share_context=False)


def test_of_every_continuation_the_plain_definition(scorer, plain_scorer):
    for way in (scorer, plain_scorer):
        for asked, found in zip(QUERIES, way(QUERIES), strict=True):
            for text, one in zip(asked.continuations, found, strict=True):
                total, greedy = plainly(asked.context, text)
                assert one.log_likelihood == pytest.approx(total, abs=2e-4)
                assert one.greedy == greedy and one.tokens == len(text)


def test_a_context_is_read_once_for_several_continuations(scorer, plain_scorer):
    shared, rows = scorer._routes(dict.fromkeys(QUERIES))
    assert {shape: len(some) for shape, some in shared.items()} == {(16, 4, 4): 3, (32, 2, 2): 1}
    assert {shape: len(some) for shape, some in rows.items()} == {(16, 8): 2, (48, 8): 1}
    shared, rows = plain_scorer._routes(dict.fromkeys(QUERIES))
    assert not shared and sum(map(len, rows.values())) == 15


def test_what_greedy_search_writes_is_greedy(scorer):
    context = QUERIES[0].context
    text = []
    for _ in range(3):
        text.append(int(log_probs_TV([*context, *text])[len(context) + len(text) - 1].argmax()))
    other = (*text[:2], (text[2] + 1) % V)
    [[yes, no, alone]] = scorer([Query(context, (tuple(text), other, (text[0],)))])
    assert yes.greedy and alone.greedy and not no.greedy


def test_many_examples_few_programs(scorer):
    programs = (scoring.score_contexts_first, scoring.score_whole_rows)
    before = [program._cache_size() for program in programs]
    lengths = [(1 + n % 4, 1 + n // 4 % 4, 1 + n // 9 % 4) for n in range(36)]
    scorer([query(4 + n % 13, *some[: 1 + n % 3]) for n, some in enumerate(lengths)])
    # One length of contexts, two numbers of candidates, of 1, 2 or 4 tokens; rows of two lengths.
    limits = (2 * 3, 2)
    for program, number, limit in zip(programs, before, limits, strict=True):
        assert program._cache_size() - number <= limit


def test_nothing_is_read_twice(scorer, monkeypatch):
    calls, program = [], scoring.score_contexts_first
    monkeypatch.setattr(
        scoring, "score_contexts_first", lambda *a: (calls.append(1), program(*a))[1]
    )
    found = scorer([QUERIES[1]] * 40)
    assert len(calls) == 1 and len(found) == 40 and found[0] == found[39]


def test_whole_rows_where_a_context_first_does_not_fit(scorer):
    """The longest query that the model reads, and long continuations of a short context."""
    context, texts = tuple(range(5, 5 + LENGTH - 4)), ((9,) * 5, (8,) * 5)
    assert Query(context, texts).length == LENGTH
    short = Query((7,), ((5, 6, 7), (6, 7, 8)))
    for asked in (Query(context, texts), short):
        assert scorer._shared_shape(asked) is None
        for text, one in zip(asked.continuations, scorer([asked])[0], strict=True):
            assert one.log_likelihood == pytest.approx(plainly(asked.context, text)[0], abs=2e-4)


def test_long_continuations_have_their_logits_in_chunks(monkeypatch):
    monkeypatch.setattr("flaxformers_edu.prompting.likelihoods.CHUNK", 8)
    asked = query(2, 30)
    [[found]] = Scorer(pretrained(), batch_size=1)([asked])
    total = plainly(asked.context, asked.continuations[0])[0]
    assert found.log_likelihood == pytest.approx(total, abs=5e-4)


def test_bad_input(scorer):
    long = Query(tuple(range(5, 5 + LENGTH)), ((7, 8),))
    with pytest.raises(InputError, match=f"query 0 has {LENGTH + 1} tokens, more than the model"):
        scorer([long])
    with pytest.raises(InputError, match="batch_size is 0"):
        Scorer(pretrained(), batch_size=0)
    model = TransformerConfig(vocab_size=20).build("seq2seq_lm")
    with pytest.raises(InputError, match="needs a model that continues texts"):
        Scorer(dataclasses.replace(pretrained(), model=model))
