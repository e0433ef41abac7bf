"""Scores of extracted answers, as the official scripts of SQuAD v1.1 and v2.0 compute them.

Percent throughout. An empty answer says that the context does not hold one.
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from flaxformers_edu.errors import InputError

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = frozenset(string.punctuation)


def normalized(answer: str) -> str:
    """Lower case, without ASCII punctuation and English articles, single spaces.

    >>> normalized("The  Cat's  hat,")
    'cats hat'
    """
    plain = "".join(c for c in answer.lower() if c not in _PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", plain).split())


def exact_match(answer: str, truth: str) -> float:
    """1 where both are the same once normalised."""
    return float(normalized(answer) == normalized(truth))


def word_f1(answer: str, truth: str) -> float:
    """F1 of the words that both have, counted with multiplicity.

    Where either has no words it is 1 if neither has, otherwise 0: the rule of v2.0's script, where
    v1.1's says 0 to both.
    """
    said, wanted = normalized(answer).split(), normalized(truth).split()
    if not said or not wanted:
        return float(said == wanted)
    common = (Counter(said) & Counter(wanted)).total()
    return 2 * common / (len(said) + len(wanted))


def best_over(measure: Callable[[str, str], float], answer: str, truths: Sequence[str]) -> float:
    """The measure against the truth that suits it best; none of them means that "" is right.

    Truths that have no words once normalised are left out, as v2.0's script does.
    """
    return max(measure(answer, truth) for truth in [t for t in truths if normalized(t)] or [""])


def squad_scores(answers: Sequence[str], truths: Sequence[Sequence[str]]) -> dict[str, float]:
    """Exact match and F1 in percent; where some questions have no answer, also of both kinds.

    Args:
        answers: what was said; "" for no answer.
        truths: for each question what is right; nothing where it has no answer.

    Raises:
        InputError: there is no question, or the two differ in number.
    """
    _check(answers, truths)
    exact_N = np.array(
        [best_over(exact_match, *pair) for pair in zip(answers, truths, strict=True)]
    )
    f1_N = np.array([best_over(word_f1, *pair) for pair in zip(answers, truths, strict=True)])
    found = {"exact_match": _percent(exact_N), "f1": _percent(f1_N)}
    answerable_N = _answerable(truths)
    if answerable_N.all():
        return found
    if answerable_N.any():
        found |= {
            "exact_match_answerable": _percent(exact_N[answerable_N]),
            "f1_answerable": _percent(f1_N[answerable_N]),
        }
    return {**found, "exact_match_unanswerable": _percent(exact_N[~answerable_N])}


def best_thresholds(
    answers: Sequence[str], truths: Sequence[Sequence[str]], no_answer_scores: Sequence[float]
) -> dict[str, float]:
    """The best that any threshold on the no-answer score could have reached, and that threshold.

    A question is answered where its no-answer score is at most the threshold. Thresholds that are
    tried are those of the v2.0 script, the scores themselves, and the smallest one less 1, at
    which no question is answered. Unlike there, questions of equal scores are not told apart.

    Args:
        answers: the best answer to each question, as if it had one.
        truths: for each question what is right; nothing where it has no answer.
        no_answer_scores: the higher, the less the model believes in an answer.

    Raises:
        InputError: there is no question, or the three differ in number.
    """
    _check(answers, truths)
    if len(no_answer_scores) != len(answers):
        raise InputError(f"{len(no_answer_scores)} no-answer scores for {len(answers)} questions")
    scores_N = np.asarray(no_answer_scores, np.float64)
    unanswerable_N = ~_answerable(truths)
    order = np.argsort(scores_N, kind="stable")
    ascending_N = scores_N[order]
    # Only after the last of equal scores: a threshold answers all of them or none.
    ends: np.ndarray = np.append(np.flatnonzero(np.diff(ascending_N)), len(ascending_N) - 1)
    thresholds: np.ndarray = np.append(ascending_N[0] - 1, ascending_N[ends])
    found = {}
    for name, measure in (("exact_match", exact_match), ("f1", word_f1)):
        # What answering gains over not answering.
        gains_N = (_each(measure, answers, truths) - unanswerable_N)[order]
        totals = unanswerable_N.sum() + np.append(0.0, np.cumsum(gains_N)[ends])
        best = int(totals.argmax())
        found[f"best_{name}"] = 100.0 * float(totals[best]) / len(answers)
        found[f"best_{name}_threshold"] = float(thresholds[best])
    return found


def _each(
    measure: Callable[[str, str], float], answers: Sequence[str], truths: Sequence[Sequence[str]]
) -> np.ndarray:
    return np.array([best_over(measure, a, t) for a, t in zip(answers, truths, strict=True)])


def _answerable(truths: Sequence[Sequence[str]]) -> np.ndarray:
    return np.array([len(of_question) > 0 for of_question in truths])


def _percent(values_N: np.ndarray) -> float:
    return 100.0 * float(values_N.mean())


def _check(answers: Sequence[str], truths: Sequence[Sequence[str]]) -> None:
    if not len(answers):
        raise InputError("there are no answers to score")
    if len(answers) != len(truths):
        raise InputError(f"{len(answers)} answers for {len(truths)} questions")
