"""The n-gram model against numbers worked out by hand, and its definition written plainly."""

from collections import Counter

import numpy as np
import pytest

from benchmarks.ngram import FALLBACK, KneserNey

MARK = -1


def corpus(tokens: int, vocab_size: int, seed: int) -> list[list[int]]:
    """Texts of tokens that follow each other by a law, so that grams come back."""
    rng = np.random.default_rng(seed)
    texts = []
    for _ in range(8):
        text = [0]
        for _ in range(tokens // 8):
            jump = int(rng.zipf(1.8)) % vocab_size
            text.append((3 * text[-1] + jump) % vocab_size)
        texts.append(text)
    return texts


def test_by_hand():
    """0 1 0 1 0 2 and a mark before it: too small for counts of counts, so discounts are given.

    Behind different tokens: 0 behind two, 1 and 2 behind one each. The pairs behind 0: twice 1 and
    once 2; behind 1: twice 0; at the beginning: once 0.
    """
    model = KneserNey([[0, 1, 0, 1, 0, 2]], order=2, vocab_size=3)
    zero, other = (2 - 1) / 4 + 1 / 2 / 3, (1 - 0.5) / 4 + 1 / 2 / 3
    assert zero + 2 * other == pytest.approx(1)
    first = (1 - 0.5) / 1 + 0.5 * zero
    expected = [first, (2 - 1) / 3 + 0.5 * other, (2 - 1) / 2 + 0.5 * zero]
    expected += [(1 - 0.5) / 3 + 0.5 * other, zero]  # behind 2 the corpus never goes on
    [found] = model.log_probs([[0, 1, 0, 2, 0]])
    np.testing.assert_allclose(np.exp(found), expected, rtol=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_probabilities_of_a_context_add_up_to_one(order):
    """Of contexts that the corpus has, and of others."""
    vocab_size = 11
    model = KneserNey(corpus(1500, vocab_size, seed=0), order=order, vocab_size=vocab_size)
    rng = np.random.default_rng(1)
    contexts = [list(rng.integers(0, vocab_size, length)) for length in (0, 1, 2, 4, 6)]
    contexts += [text[: 3 + i] for i, text in enumerate(corpus(80, vocab_size, seed=0))]
    for context in contexts:
        texts = [[*context, token] for token in range(vocab_size)]
        total = sum(np.exp(found[-1]) for found in model.log_probs(texts))
        assert total == pytest.approx(1, abs=1e-12)


def by_definition(texts, order, vocab_size):
    """P(token | context) as Chen & Goodman (1998, section 3) write it, by dictionaries."""
    marked = [[MARK] * (order - 1) + list(text) for text in texts]
    grams = {
        n: Counter(
            tuple(text[i - n + 1 : i + 1]) for text in marked for i in range(order - 1, len(text))
        )
        for n in range(1, order + 1)
    }
    counts = {order: grams[order]}
    for n in range(1, order):
        counts[n] = Counter(gram[1:] for gram in grams[n + 1])

    def discounts(n):
        n1, n2, n3, n4 = (sum(c == k for c in counts[n].values()) for k in (1, 2, 3, 4))
        if not n1 * n2 * n3 * n4:
            return FALLBACK
        y = n1 / (n1 + 2 * n2)
        found = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
        return found if min(found) > 0 else FALLBACK

    taken = {n: discounts(n) for n in counts}

    def probability(token, context):
        n = len(context) + 1
        lower = probability(token, context[1:]) if context else 1 / vocab_size
        behind = {gram[-1]: c for gram, c in counts[n].items() if gram[:-1] == context}
        if not behind:
            return lower
        off = {w: taken[n][min(c, 3) - 1] for w, c in behind.items()}
        total = sum(behind.values())
        own = behind.get(token, 0) - off.get(token, 0)
        return own / total + sum(off.values()) / total * lower

    return probability, taken


def test_it_is_the_definition():
    """Also where the discounts come from counts of counts."""
    order, vocab_size = 3, 9
    texts = corpus(700, vocab_size, seed=2)
    probability, taken = by_definition(texts, order, vocab_size)
    assert taken[3] != FALLBACK
    model = KneserNey(texts, order=order, vocab_size=vocab_size)
    held_out = corpus(80, vocab_size, seed=3)[:2]
    for text, found in zip(held_out, model.log_probs(held_out), strict=True):
        marked = [MARK] * (order - 1) + text
        expected = [
            probability(token, tuple(marked[i : i + order - 1])) for i, token in enumerate(text)
        ]
        np.testing.assert_allclose(np.exp(found), expected, rtol=1e-9)


def test_texts_do_not_see_each_other():
    model = KneserNey(corpus(400, 7, seed=4), order=3, vocab_size=7)
    texts = [[1, 2, 3], [4], [5, 6]]
    together = model.log_probs(texts)
    assert list(map(len, together)) == [3, 1, 2]
    for text, found in zip(texts, together, strict=True):
        np.testing.assert_array_equal(found, model.log_probs([text])[0])


def test_nothing_to_count_is_refused():
    with pytest.raises(ValueError, match="nothing to count"):
        KneserNey([[]], order=3, vocab_size=5)
