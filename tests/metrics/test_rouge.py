"""ROUGE: numbers worked out by hand, a plain definition, and google's own scorer."""

from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flaxformers_edu.errors import InputError
from flaxformers_edu.metrics import rouge_scores
from flaxformers_edu.metrics.rouge import (
    english_words,
    longest_common_subsequence,
    rouge_l,
    rouge_n,
)

WORDS = st.lists(st.sampled_from("abc"), max_size=7)
TEXTS = st.text(st.sampled_from("ab AB1-.é\n"), max_size=30)


def test_by_hand():
    said = english_words("the cat sat on the mat")
    wanted = english_words("The the the cat lay on a mat.")
    one = rouge_n(said, wanted, 1)  # the twice, cat, on, mat
    assert (one.precision, one.recall) == (5 / 6, 5 / 8)
    assert one.f1 == pytest.approx(10 / 14)
    two = rouge_n(said, wanted, 2)  # the cat
    assert (two.precision, two.recall) == (1 / 5, 1 / 7)
    longest = rouge_l(said, wanted)  # the cat on mat
    assert (longest.precision, longest.recall) == (4 / 6, 4 / 8)


def test_of_a_corpus_the_mean_and_the_best_reference():
    found = rouge_scores(["a b", "c"], [["a b", "x"], ["d", "c d"]])
    assert found["rouge1"] == pytest.approx(100 * (1 + 2 / 3) / 2)
    assert found["rouge2"] == pytest.approx(100 * (1 + 0) / 2)
    assert rouge_scores(["하나 둘"], [["하나 둘"]])["rouge1"] == 0
    assert rouge_scores(["하나 둘"], [["하나 둘"]], tokenize=str.split)["rouge2"] == 100


@given(WORDS, WORDS)
def test_the_longest_common_subsequence_by_trying_all(one, other):
    def subsequences(words):
        return {c for n in range(len(words) + 1) for c in combinations(words, n)}

    longest = max(map(len, subsequences(one) & subsequences(other)))
    assert longest_common_subsequence(one, other) == longest


@given(WORDS, WORDS, st.integers(1, 3))
def test_overlap_by_crossing_out(one, other, n):
    left = [tuple(other[i : i + n]) for i in range(len(other) - n + 1)]
    grams = [tuple(one[i : i + n]) for i in range(len(one) - n + 1)]
    wanted, common = len(left), 0
    for gram in grams:
        if gram in left:
            left.remove(gram)
            common += 1
    found = rouge_n(one, other, n)
    assert found.precision == (common / len(grams) if grams else 0)
    assert found.recall == (common / wanted if wanted else 0)


@given(TEXTS, TEXTS)
def test_equals_googles(prediction, reference):
    scorer = pytest.importorskip("rouge_score.rouge_scorer")
    names = ["rouge1", "rouge2", "rougeL"]
    theirs = scorer.RougeScorer(names, use_stemmer=False).score(reference, prediction)
    ours = rouge_scores([prediction], [[reference]])
    assert ours == pytest.approx({name: 100 * theirs[name].fmeasure for name in names})


@given(TEXTS)
def test_words_are_what_is_left_of_a_text(text):
    kept = "abcdefghijklmnopqrstuvwxyz0123456789"
    spaced = "".join(c if c in kept else " " for c in text.lower())
    assert Counter(english_words(text)) == Counter(spaced.split())


@pytest.mark.parametrize(
    ("predictions", "references", "words"),
    [([], [], "no prediction"), (["a"], [], "do not pair"), (["a"], [[]], "has no reference")],
)
def test_bad_input(predictions, references, words):
    with pytest.raises(InputError, match=words):
        rouge_scores(predictions, references)
