"""A corpus as parallel streams: what is next to what, in whichever order and however resumed."""

import pickle

import numpy as np
import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.objectives import BPTTLanguageModel
from tests.train.tiny_streams import MODEL
from train.examples import EncodedExamples
from train.pipeline import Batching
from train.streams import StreamData, Streams, check_streams, evaluation_windows

ROWS, LONGEST = 4, 12
OBJECTIVE = BPTTLanguageModel(bptt=9, deviation=2.0)
BATCHING = Batching(tokens_per_batch=ROWS * LONGEST, max_source_length=LONGEST)


def corpus(lengths=(30, 1, 57, 12, 100, 3)):
    """Texts whose tokens are all different, from 1."""
    ids = np.arange(1, sum(lengths) + 1, dtype=np.int32)
    return EncodedExamples({"input_ids": (ids, np.concatenate([[0], np.cumsum(lengths)]))})


def data(examples=None, **settings):
    settings = {"seed": 3, "lengths": OBJECTIVE.lengths} | settings
    return StreamData(examples or corpus(), OBJECTIVE.collate(MODEL), BATCHING, **settings)


def in_order(order):
    """All tokens of the texts in this order."""
    examples = corpus()
    return np.concatenate([examples[int(i)]["input_ids"] for i in order])


def test_each_row_goes_on_where_it_ended_and_an_epoch_has_every_token_once():
    found = data()
    batches = [found.batch_at(step) for step in range(found.steps_per_epoch)]
    rows = [
        np.concatenate([b["input_ids"][row][b["attention_mask"][row] == 1] for b in batches])
        for row in range(ROWS)
    ]
    order = np.random.default_rng([3, 0]).permutation(6)
    np.testing.assert_array_equal(np.concatenate(rows), in_order(order))
    for previous, batch in zip(batches[:-1], batches[1:], strict=True):
        sizes = previous["attention_mask"].sum(axis=1)
        last = previous["labels"][np.arange(ROWS), sizes - 1]
        np.testing.assert_array_equal(last, batch["input_ids"][:, 0])
    assert [int(b["begins"].sum()) for b in batches] == [ROWS] + [0] * (len(batches) - 1)
    # The last token of a stream is followed by the first one of the next; the very last by none.
    ends = [batches[-1]["labels"][row].max() for row in range(ROWS)]
    assert ends[:-1] == [row[0] for row in rows[1:]]
    labels = np.concatenate([b["labels"][b["labels"] >= 0] for b in batches])
    assert len(labels) == 203 - 1


def test_lengths_are_drawn_and_shapes_stay():
    found = data()
    batches = [found.batch_at(step) for step in range(3 * found.steps_per_epoch)]
    assert {b["input_ids"].shape for b in batches} == {(ROWS, LONGEST)} == set(found.shapes)
    lengths = {int(b["attention_mask"].sum(axis=1).max()) for b in batches}
    assert len(lengths) > 2 and max(lengths) <= LONGEST


def test_a_batch_depends_on_seed_and_step_alone():
    one, other = data(), pickle.loads(pickle.dumps(data()))
    for step in (9, 0, 17):
        for name, array in one.batch_at(step).items():
            np.testing.assert_array_equal(array, other.batch_at(step)[name])
    assert (one.batch_at(0)["input_ids"] != data(seed=4).batch_at(0)["input_ids"]).any()


def test_epochs():
    found = data()
    n = found.steps_per_epoch
    assert found.epochs_before(0) == 0 and found.epochs_before(n) == 1
    assert 0 < found.epochs_before(n - 1) < 1
    first, second = (in_order(np.random.default_rng([3, e]).permutation(6)) for e in (0, 1))
    assert (first != second).any()
    assert found.batch_at(n)["begins"].all()
    assert found.batch_at(n)["input_ids"][0, 0] == second[0]


def test_processes_share_the_rows():
    whole = data().batch_at(5)["input_ids"]
    parts = [data(process_index=i, process_count=2).batch_at(5)["input_ids"] for i in (0, 1)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_evaluation_reads_every_token_once_in_order():
    batches = list(evaluation_windows(corpus(), OBJECTIVE.collate(MODEL), 7, 5))
    rows = [
        np.concatenate([b["input_ids"][row][b["attention_mask"][row] == 1] for b in batches])
        for row in range(5)
    ]
    np.testing.assert_array_equal(np.concatenate(rows), np.arange(1, 204))


def test_more_streams_than_tokens_are_empty_when_evaluated():
    [batch] = evaluation_windows(corpus((3,)), OBJECTIVE.collate(MODEL), 4, 8)
    assert batch["attention_mask"].sum() == 3 and (batch["labels"] >= 0).sum() == 2


def test_columns_run_side_by_side():
    offsets = np.array([0, 2])
    columns = {"a": (np.arange(2), offsets), "b": (np.arange(3), np.array([0, 3]))}
    with pytest.raises(InputError, match="columns of a stream are of one length"):
        Streams(EncodedExamples(columns), np.arange(1), 1)


def test_what_cannot_be_split():
    with pytest.raises(InputError, match="4 streams, and devices and accumulation share them in 8"):
        check_streams(BATCHING, 8)
    with pytest.raises(InputError, match="has 4 tokens, too few for 4 streams"):
        data(corpus((4,)))
    longer = BPTTLanguageModel(bptt=13)
    with pytest.raises(InputError, match="max_source_length is 12, and objective.bptt 13"):
        data(lengths=longer.lengths)
