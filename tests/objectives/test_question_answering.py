import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flaxformers_edu.errors import InputError
from flaxformers_edu.objectives import QuestionAnswering
from flaxformers_edu.objectives.spans import Span, best_spans, most_context, pieces_of, windows
from tests.objectives.finetuning import CLS, SEP, config, encode, says, tokenizer

PIECES = tokenizer()
CONTEXT = "the quick brown fox jumps over the lazy dog near the old river bank"


def about(answer, context=CONTEXT, **fields):
    return {
        "question": "the fox", "context": context, "answers": [answer],
        "answer_starts": [context.index(answer)], **fields,
    }  # fmt: skip


def gold(rows, length=64):
    """What a model says that is sure of each row's labels."""
    said = []
    for row in rows:
        places = int(row["start_positions"][0]), int(row["end_positions"][0])
        start, end = (np.where(np.arange(length) == p, 9.0, 0.0) for p in places)
        said.append({"start_logits": start, "end_logits": end})
    return said


@given(st.integers(0, 60), st.integers(1, 20), st.integers(1, 25))
def test_windows_leave_nothing_out_and_end_at_the_end(number, room, stride):
    begins = windows(number, room, stride)
    covered = {piece for begin in begins for piece in range(begin, min(begin + room, number))}
    assert covered == set(range(number))
    assert all(begin + room < number for begin in begins[:-1])  # only the last one reaches it


@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 15))
def test_a_piece_counts_in_the_window_with_most_context(number, room, stride):
    begins = windows(number, room, stride)
    found = most_context(begins, room, number)

    def context(window, piece):
        """As `_check_is_max_context` of the original has it."""
        length = min(room, number - begins[window])
        if not 0 <= piece - begins[window] < length:
            return -1.0
        left, right = piece - begins[window], begins[window] + length - 1 - piece
        return min(left, right) + 0.01 * length

    for piece in range(number):
        scores = [context(window, piece) for window in range(len(begins))]
        counts = [
            window
            for window, begin in enumerate(begins)
            if 0 <= piece - begin < len(found[window]) and found[window][piece - begin]
        ]
        assert counts == [scores.index(max(scores))]


def test_an_answer_in_the_overlap_is_in_both_windows():
    objective = QuestionAnswering(stride=4)
    examples = [about("dog near")]
    question = len(PIECES.pieces("the fox").ids)
    rows = encode(objective, examples, PIECES, max_length=question + 3 + 8)
    assert len(rows) > 2 and set(rows.origins) == {0}
    ids = [row["input_ids"].tolist() for row in rows]
    assert all(len(row) <= question + 11 and row[0] == CLS and row[-1] == SEP for row in ids)
    inside = [index for index, row in enumerate(rows) if row["start_positions"][0]]
    assert len(inside) == 2
    (outcome,) = objective.outcomes(gold(rows), rows, examples, PIECES)
    assert outcome["answer"] == "dog near"
    assert CONTEXT[outcome["start"] : outcome["end"]] == "dog near"
    assert len({c["answer"] for c in outcome["candidates"]}) == len(outcome["candidates"])
    assert objective.score([outcome], examples) == {"exact_match": 100.0, "f1": 100.0}


@pytest.mark.parametrize("answer", ["대한민국", "서울이다", "🦊 강남구"])
def test_spans_are_characters_whatever_their_bytes(answer):
    context = "대한민국의 수도는 서울이다 🦊 강남구는 서울에 있다"
    example = about(answer, context)
    rows = encode(QuestionAnswering(), [example], PIECES)
    (outcome,) = QuestionAnswering().outcomes(gold(rows), rows, [example], PIECES)
    # A span ends with a piece: it may be longer than the answer, by a part of a word at most.
    assert outcome["answer"].startswith(answer)
    assert " " not in outcome["answer"].removeprefix(answer)


def test_questions_without_an_answer():
    objective = QuestionAnswering(unanswerable=True)
    examples = [about("fox"), {**about("fox"), "answers": [], "answer_starts": []}]
    rows = encode(objective, examples, PIECES)
    assert [row["start_positions"][0] == 0 for row in rows] == [False, True]
    outcomes = objective.outcomes(gold(rows), rows, examples, PIECES)
    assert [outcome["answer"] for outcome in outcomes] == ["fox", ""]
    assert outcomes[1]["best_answer"] and outcomes[1]["no_answer_score"] > 0
    scores = objective.score(outcomes, examples)
    assert scores["exact_match"] == scores["best_exact_match"] == 100.0
    # With a threshold that is never reached every question gets its best span.
    bold = QuestionAnswering(unanswerable=True, threshold=1e9)
    answers = bold.outcomes(gold(rows), rows, examples, PIECES)
    assert all(outcome["answer"] for outcome in answers)
    with pytest.raises(InputError, match="there is no answer; set objective.unanswerable"):
        encode(QuestionAnswering(), examples, PIECES)


def test_null_score_is_the_least_of_the_windows():
    """One window that is sure of an answer outweighs another that sees none."""
    objective = QuestionAnswering(stride=4, unanswerable=True)
    examples = [about("quick brown")]
    rows = encode(objective, examples, PIECES, max_length=16)
    (outcome,) = objective.outcomes(gold(rows), rows, examples, PIECES)
    assert len(rows) > 1 and rows[len(rows) - 1]["start_positions"][0] == 0
    assert outcome["answer"] == "quick brown"


def test_spans_that_may_not_be_are_left_out():
    row = {
        "context_begins": np.array([2]),
        "span_starts": np.array([0, 4, 8, 12]),
        "span_ends": np.array([3, 7, 11, 15]),
        "most_context": np.array([1, 1, 1, 1]),
    }
    starts = np.array([99.0, 99.0, 0.0, 5.0, 1.0, 4.0, 99.0])  # question and [SEP] are likeliest
    ends = np.array([99.0, 99.0, 6.0, 0.0, 0.0, 3.0, 99.0])
    found = best_spans(starts, ends, row, num_best=4, max_pieces=2)
    assert max(found, key=found.get) == Span(12, 15)
    assert found[Span(12, 15)] == 7.0
    assert found[Span(0, 3)] == 6.0
    assert Span(4, 15) not in found  # three pieces
    assert all(span.start < span.end for span in found)
    assert Span(4, 15) in best_spans(starts, ends, row, num_best=4, max_pieces=3)
    assert best_spans(starts, ends, row, num_best=1, max_pieces=4) == {}  # backwards
    row["most_context"] = np.array([1, 1, 1, 0])  # another window knows more about the last piece
    assert Span(12, 15) not in best_spans(starts, ends, row, num_best=4, max_pieces=2)


def test_pieces_of_a_span():
    spans = [(0, 3), (4, 4), (4, 7), (7, 9)]
    assert pieces_of(Span(0, 3), spans) == (0, 0)
    assert pieces_of(Span(4, 9), spans) == (2, 3)
    assert pieces_of(Span(5, 6), spans) == (2, 2)  # within a piece
    assert pieces_of(Span(3, 4), spans) is None


def test_the_loss_is_the_mean_of_two_and_ignores_places_outside():
    rows = encode(QuestionAnswering(), [about("fox"), about("dog")], PIECES)
    batch = jax.tree.map(jnp.asarray, QuestionAnswering().collate(config())(list(rows), 3, 64))
    assert batch["start_positions"].shape == (3,)
    assert batch["end_positions"][2] == -100
    start = np.random.default_rng(0).normal(size=(3, 64)).astype(np.float32)
    end = start[:, ::-1]
    model = says(start_logits=start, end_logits=end)
    loss = QuestionAnswering().loss(model, {}, batch, None)

    def nll(logits, places):
        places = np.asarray(places)[:2]
        normaliser = np.log(np.exp(logits[:2]).sum(1))
        return (normaliser - logits[np.arange(2), places]).sum()

    expected = nll(start, batch["start_positions"]) + nll(end, batch["end_positions"])
    assert float(loss.sum) == pytest.approx(expected / 2, rel=1e-5)
    assert float(loss.weight) == 2
    beyond = batch | {"start_positions": jnp.array([64, 3, -100], jnp.int32)}
    assert float(QuestionAnswering().loss(model, {}, beyond, None).weight) == 1


def test_unlabelled_questions_can_be_encoded():
    example = {"question": "the fox", "context": CONTEXT}
    (row,) = QuestionAnswering().encode(example, PIECES, max_length=64)
    assert row["start_positions"] == row["end_positions"] == [-100]
    assert not QuestionAnswering().labelled(example)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer_starts": [17]}, "'fox' should be at character 17 .*, but 'ox ' is there"),
        ({"answer_starts": [-1]}, "at character -1"),
        ({"answer_starts": []}, "1 answers but 0 starts"),
        ({"answers": [""]}, "the answer '' should be"),
        ({"context": 3}, "context is 3; it must be a text"),
        ({"question": "the " * 60}, "question's 60 tokens leave no room"),
    ],
)
def test_bad_examples(change, message):
    with pytest.raises(InputError, match="id 'q1': .*" + message):
        QuestionAnswering().encode(about("fox", id="q1") | change, PIECES, max_length=48)
    with pytest.raises(InputError, match="objective.stride is 0"):
        QuestionAnswering(stride=0)
