import math

import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU

from flaxformers_edu.errors import InputError
from flaxformers_edu.metrics import bleu_by_length, corpus_bleu, sacrebleu_score, sentence_bleu

WORDS = st.lists(st.sampled_from(["a", "b", "c", "개", "d."]), max_size=9)
WORDS_1 = st.lists(st.sampled_from(["a", "b", "c", "개", "d."]), min_size=1, max_size=9)


def test_the_example_of_the_paper():
    # Papineni et al. 2002, section 2.1: "the" is clipped to 2 of 7
    bleu = sentence_bleu(
        ["the", "the", "the", "the", "the", "the", "the"],
        [["the", "cat", "is", "on", "the", "mat"], ["there", "is", "a", "cat", "on", "the", "mat"]],
    )
    assert bleu.precisions[0] == pytest.approx(100 * 2 / 7)


def test_by_hand():
    # 4 of 5 words, 3 of 4 pairs, 2 of 3 triples, 1 of 2 quadruples; 5 words for 6
    bleu = corpus_bleu([list("abcdx")], [[list("abcdef")]])
    assert bleu.precisions == pytest.approx((80, 75, 200 / 3, 50))
    assert bleu.brevity_penalty == pytest.approx(math.exp(1 - 6 / 5))
    expected = math.exp(1 - 6 / 5) * (0.8 * 0.75 * 2 / 3 * 0.5) ** 0.25 * 100
    assert bleu.score == pytest.approx(expected)
    assert (bleu.hypothesis_length, bleu.reference_length) == (5, 6)


@given(
    pairs=st.lists(st.tuples(WORDS, st.lists(WORDS_1, min_size=2, max_size=2)), min_size=1),
    smoothing=st.sampled_from(["none", "exp"]),
)
def test_a_corpus_equals_sacrebleu(pairs, smoothing):
    ours = corpus_bleu([h for h, _ in pairs], [r for _, r in pairs], smoothing=smoothing)
    metric = BLEU(tokenize="none", smooth_method=smoothing, force=True)
    streams = [[" ".join(refs[i]) for _, refs in pairs] for i in range(2)]
    theirs = metric.corpus_score([" ".join(h) for h, _ in pairs], streams)
    assert ours.score == pytest.approx(theirs.score, abs=1e-9)
    assert ours.precisions == pytest.approx(theirs.precisions, abs=1e-9)
    assert ours.brevity_penalty == pytest.approx(theirs.bp)
    assert (ours.hypothesis_length, ours.reference_length) == (theirs.sys_len, theirs.ref_len)


@given(hypothesis=WORDS, reference=WORDS_1, smoothing=st.sampled_from(["none", "exp"]))
def test_a_sentence_equals_sacrebleu(hypothesis, reference, smoothing):
    ours = sentence_bleu(hypothesis, [reference], smoothing=smoothing)
    metric = BLEU(tokenize="none", smooth_method=smoothing, effective_order=True, force=True)
    theirs = metric.sentence_score(" ".join(hypothesis), [" ".join(reference)])
    assert ours.score == pytest.approx(theirs.score, abs=1e-9)


@given(st.lists(WORDS_1.filter(lambda words: len(words) > 3), min_size=1))
def test_a_perfect_translation_has_100(sentences):
    assert corpus_bleu(sentences, [[s] for s in sentences]).score == pytest.approx(100)


def test_the_wrapper_gives_sacrebleu_s_score_and_its_signature():
    hypotheses = ["The cat sat on the mat.", "Hello, world of words!"]
    references = ["The cat sat on a mat.", "Hello, World of words!"]
    score, signature = sacrebleu_score(hypotheses, references)
    assert score == sacrebleu.corpus_bleu(hypotheses, [references]).score
    assert "tok:13a" in signature and "case:mixed" in signature
    lower, signature = sacrebleu_score(hypotheses, references, lowercase=True, tokenize="intl")
    assert lower > score and "tok:intl" in signature and "case:lc" in signature


def test_groups_by_length():
    references = ["a b c d", "a b c d e f g", "x y z w v", "a b"]
    hypotheses = ["a b c d", "a b c d e f g", "q q q q q", "a b"]
    groups = bleu_by_length(hypotheses, references, edges=(4, 6))
    shape = [(g.shortest, g.longest, g.num_segments) for g in groups]
    assert shape == [(0, 4, 2), (5, 6, 1), (7, 7, 1)]
    assert [g.score for g in groups] == pytest.approx([100, 0, 100])


def test_groups_have_every_segment_once():
    lengths = [0, 5, 6, 10, 11, 99, 200]
    groups = bleu_by_length(
        ["a"] * 7, ["a"] * 7, lengths=lengths, score=lambda hyps, refs: float(len(hyps))
    )
    assert sum(g.num_segments for g in groups) == 7
    assert all(g.score == g.num_segments for g in groups)
    assert bleu_by_length([], []) == []


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: corpus_bleu([["a"]], []), "1 hypotheses do not pair with 0"),
        (lambda: corpus_bleu([["a"]], [[]]), "segment 0 has no reference"),
        (lambda: corpus_bleu([], [], smoothing="expo"), "did you mean 'exp'"),
        (lambda: sentence_bleu(["a"], []), "one reference at least"),
        (lambda: sacrebleu_score(["a"], []), "1 hypotheses do not pair with 0"),
        (lambda: sacrebleu_score(["a"], ["a"], tokenize="13b"), "did you mean '13a'"),
        (lambda: bleu_by_length(["a"], ["a"], edges=(5, 5)), "must ascend"),
        (lambda: bleu_by_length(["a"], []), "do not pair"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
