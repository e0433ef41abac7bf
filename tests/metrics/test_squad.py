import pytest
from hypothesis import given
from hypothesis import strategies as st

from flaxformers_edu.errors import InputError
from flaxformers_edu.metrics.squad import (
    best_over,
    best_thresholds,
    exact_match,
    normalized,
    squad_scores,
    word_f1,
)


@pytest.mark.parametrize(
    ("answer", "plain"),
    [
        ("The  Denver Broncos!", "denver broncos"),
        ("an apple, a day", "apple day"),
        ("Theatre", "theatre"),  # "the" only as a word
        ("a-b", "ab"),  # punctuation goes first, and articles after it
        ("1989년 2월 15일", "1989년 2월 15일"),
        ("the", ""),
    ],
)
def test_normalized(answer, plain):
    assert normalized(answer) == plain


def test_f1_by_hand():
    assert word_f1("the Denver Broncos", "Broncos") == pytest.approx(2 / 3)
    assert word_f1("x x y", "x y y") == pytest.approx(2 / 3)  # with multiplicity
    assert word_f1("x", "y") == 0
    assert word_f1("", "") == 1
    assert word_f1("", "y") == 0
    assert exact_match("Broncos.", "the broncos") == 1


def test_the_best_of_several_truths_counts():
    assert best_over(exact_match, "24–10", ["won", "24–10"]) == 1
    assert best_over(word_f1, "x y", ["x", "x y z"]) == pytest.approx(0.8)
    assert best_over(exact_match, "", []) == 1
    assert best_over(exact_match, "", ["the"]) == 1  # a truth without words is no truth


def test_scores_by_hand():
    found = squad_scores(["Broncos", "x y"], [["the Broncos"], ["y"]])
    assert found == {"exact_match": 50.0, "f1": pytest.approx(100 * (1 + 2 / 3) / 2)}
    found = squad_scores(["Broncos", "x", ""], [["Broncos"], [], []])
    assert found == {
        "exact_match": pytest.approx(200 / 3),
        "f1": pytest.approx(200 / 3),
        "exact_match_answerable": 100.0,
        "f1_answerable": 100.0,
        "exact_match_unanswerable": 50.0,
    }


def test_threshold_by_hand():
    """Answering only below 0.5 gets three of four right; any other threshold fewer."""
    answers = ["x", "y", "z", "w"]
    truths = [["x"], ["no"], [], []]
    found = best_thresholds(answers, truths, [0.0, 0.5, 0.2, 0.9])
    assert found["best_exact_match"] == 75.0
    assert found["best_exact_match_threshold"] == 0.0
    # Never answering is best where every answer is wrong: below the smallest score.
    found = best_thresholds(["x", "y"], [[], []], [3.0, 4.0])
    assert (found["best_f1"], found["best_f1_threshold"]) == (100.0, 2.0)


def test_equal_scores_are_answered_together():
    """Between the two no threshold stands, so that 100 cannot be reached."""
    found = best_thresholds(["x", "y"], [["x"], []], [1.0, 1.0])
    assert found["best_exact_match"] == 50.0


ANSWERS = st.sampled_from(["x", "y", "x y"])


@given(
    st.lists(
        st.tuples(ANSWERS, st.lists(ANSWERS, max_size=2), st.integers(-2, 2)),
        min_size=1,
        max_size=8,
    )
)
def test_the_threshold_gives_what_it_promises_and_none_gives_more(questions):
    answers, truths, scores = map(list, zip(*questions, strict=True))

    def at(threshold, name):
        said = [a if s <= threshold else "" for a, s in zip(answers, scores, strict=True)]
        return squad_scores(said, truths)[name]

    found = best_thresholds(answers, truths, scores)
    for name in ("exact_match", "f1"):
        assert at(found[f"best_{name}_threshold"], name) == pytest.approx(found[f"best_{name}"])
        best = max(at(threshold, name) for threshold in range(-4, 4))
        assert found[f"best_{name}"] == pytest.approx(best)


def test_bad_input():
    with pytest.raises(InputError, match="no answers to score"):
        squad_scores([], [])
    with pytest.raises(InputError, match="1 answers for 2 questions"):
        squad_scores(["x"], [["x"], []])
    with pytest.raises(InputError, match="1 no-answer scores for 2 questions"):
        best_thresholds(["x", "y"], [["x"], []], [0.0])
