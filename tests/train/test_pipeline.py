"""Data is a pure function of (seed, step), for any number of processes."""

import pickle
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flaxformers_edu.errors import InputError
from flaxformers_edu.text.batching import collate_translation, collate_translation_packed
from train.encoding import encode_examples
from train.examples import EncodedExamples
from train.pipeline import Batching, TrainData, evaluation_batches

COLLATE = partial(collate_translation, pad_token_id=0, decoder_start_token_id=2)
PACKED = partial(collate_translation_packed, pad_token_id=0, decoder_start_token_id=2)
BATCHING = Batching(
    tokens_per_batch=64, max_source_length=16, max_target_length=16, bucket_multiple=4
)


def encode(example: dict) -> dict[str, list[int]]:
    return {"input_ids": [*example["source"], 1], "labels": [*example["target"], 1]}


def examples(number: int = 101, longest: int = 15) -> EncodedExamples:
    rng = np.random.default_rng(0)
    pairs = [
        # The first token of a source is its index: it tells who is where.
        {"source": [1000 + i, *rng.integers(10, 90, rng.integers(0, longest))],
         "target": list(rng.integers(10, 90, rng.integers(1, longest + 1)))}
        for i in range(number)
    ]  # fmt: skip
    return encode_examples(pairs, encode, BATCHING)


EXAMPLES = examples()


def data(packing: bool = False, **options) -> TrainData:
    batching = Batching(64, 16, 16, 4, packing=packing)
    options = {"seed": 3, "rows_multiple_of": 4} | options
    return TrainData(EXAMPLES, PACKED if packing else COLLATE, batching, **options)


def assert_same(first: dict, second: dict) -> None:
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


@pytest.mark.parametrize("packing", [False, True])
def test_every_example_exactly_once_an_epoch(packing: bool) -> None:
    train = data(packing)
    orders = []
    for epoch in range(3):
        seen = []
        for step in range(epoch * train.steps_per_epoch, (epoch + 1) * train.steps_per_epoch):
            batch = train.batch_at(step)
            assert batch["input_ids"].shape in train.shapes
            assert {array.shape for array in batch.values()} == {batch["input_ids"].shape}
            seen += [i - 1000 for i in batch["input_ids"].ravel() if i >= 1000]
        assert sorted(seen) == list(range(len(EXAMPLES)))
        orders.append(tuple(seen))
    assert len(set(orders)) == 3


def test_shapes_are_few_and_all_used() -> None:
    train = data()
    used = {train.batch_at(step)["input_ids"].shape for step in range(train.steps_per_epoch)}
    assert used == set(train.shapes)
    assert len(train.shapes) <= len(BATCHING.lengths)
    assert len(data(packing=True).shapes) == 1
    assert all(rows % 4 == 0 and rows * length <= 64 for rows, length in train.shapes)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 200), st.booleans())
def test_any_step_alone_equals_the_step_of_a_run(step: int, packing: bool) -> None:
    assert_same(data(packing).batch_at(step), _run(packing)[step])


_RUNS: dict[bool, list[dict]] = {}


def _run(packing: bool) -> list[dict]:
    if packing not in _RUNS:
        train = data(packing)
        _RUNS[packing] = [train.batch_at(step) for step in range(201)]
    return _RUNS[packing]


@pytest.mark.parametrize("start", [0, 7, 40])
@pytest.mark.parametrize("num_threads", [0, 3])
def test_iteration_resumes_at_any_step(start: int, num_threads: int) -> None:
    batches = data().iterate(start, start + 30, num_threads=num_threads, prefetch=4)
    count = 0
    for step, batch in enumerate(batches, start):
        assert_same(batch, _run(False)[step])
        count += 1
    assert count == 30


def test_iteration_has_no_end() -> None:
    batches = data().iterate(5)
    assert_same(next(batches), _run(False)[5])
    assert_same(next(batches), _run(False)[6])


@pytest.mark.parametrize("packing", [False, True])
@pytest.mark.parametrize("count", [2, 4])
def test_slices_of_processes_reassemble_to_the_global_batch(packing: bool, count: int) -> None:
    parts = [data(packing, process_index=i, process_count=count) for i in range(count)]
    for step in range(30):
        slices = [part.batch_at(step) for part in parts]
        whole = {name: np.concatenate([s[name] for s in slices]) for name in slices[0]}
        assert_same(whole, _run(packing)[step])


def test_seed_decides() -> None:
    first, second = data(seed=3).batch_at(0), data(seed=4).batch_at(0)
    assert not np.array_equal(first["input_ids"], second["input_ids"])


def test_pickles() -> None:
    assert_same(pickle.loads(pickle.dumps(data())).batch_at(9), _run(False)[9])


def test_examples_are_a_sequence() -> None:
    assert len(EXAMPLES) == 101
    assert EXAMPLES[-1]["input_ids"][0] == 1100
    assert EXAMPLES.lengths.shape == (101, 2)
    with pytest.raises(IndexError):
        EXAMPLES[101]


def ramped(packing: bool = True, **options) -> TrainData:
    """Two rows, then 4, 8 and 16."""
    batching = Batching(
        256, 16, 16, buckets=(16,), packing=packing, ramp_start_tokens=32, ramp_steps=9
    )
    options = {"seed": 3, "rows_multiple_of": 2} | options
    return TrainData(EXAMPLES, PACKED if packing else COLLATE, batching, **options)


def first_tokens(batch: dict) -> list[int]:
    return [i - 1000 for i in batch["input_ids"].ravel() if i >= 1000]


@pytest.mark.parametrize("packing", [False, True])
def test_a_ramp_grows_and_loses_nothing(packing: bool) -> None:
    train = ramped(packing)
    batches = [train.batch_at(step) for step in range(40)]
    rows = [len(batch["input_ids"]) for batch in batches]
    assert rows[:12] == [2, 2, 2, 4, 4, 4, 8, 8, 8, 16, 16, 16]
    assert {batch["input_ids"].shape for batch in batches} == set(train.shapes)
    seen = [i for batch in batches for i in first_tokens(batch)]
    epochs = len(seen) // len(EXAMPLES)
    assert epochs >= 3
    for epoch in range(epochs):  # each is a permutation of all examples
        part = seen[epoch * len(EXAMPLES) : (epoch + 1) * len(EXAMPLES)]
        assert sorted(part) == list(range(len(EXAMPLES)))


def test_a_ramp_reports_epochs_by_what_was_seen() -> None:
    train = ramped(packing=False)  # a row an example: 101 of them in units of 2 rows
    units = 51
    assert train.steps_per_epoch == -(-units // 8)
    assert train.epochs_before(0) == 0
    assert train.epochs_before(9) == pytest.approx((3 + 6 + 12) / units)
    assert train.epochs_before(10) == pytest.approx((3 + 6 + 12 + 8) / units)
    plain = data()
    assert plain.epochs_before(plain.steps_per_epoch) == 1


def test_processes_share_a_ramp() -> None:
    whole = ramped()
    parts = [ramped(process_index=i, process_count=2) for i in range(2)]
    for step in range(20):
        slices = [part.batch_at(step) for part in parts]
        joined = {name: np.concatenate([s[name] for s in slices]) for name in slices[0]}
        assert_same(joined, whole.batch_at(step))


def test_parts_of_a_ramp_have_one_shape() -> None:
    parts = ramped().parts_of_rows(accumulation=4)
    assert [parts(rows) for rows in (2, 4, 8, 16)] == [1, 1, 2, 4]
    assert data().parts_of_rows(accumulation=4)(8) == 4


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"ramp_start_tokens": 32}, "ramp_steps of at least 1 .*got .*ramp_steps=0"),
        ({"ramp_steps": 5}, "ramp_start_tokens=0 and ramp_steps=5"),
        ({"ramp_start_tokens": 96, "ramp_steps": 9}, "must be ramp_start_tokens=96 times 2, 4"),
        ({"ramp_start_tokens": 32, "ramp_steps": 2}, "ramp_steps=2 must be at least 3"),
        ({"ramp_start_tokens": 32, "ramp_steps": 9, "packing": False}, "rows of one length"),
    ],
)
def test_a_ramp_that_cannot_be(fields: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Batching(**{"tokens_per_batch": 256, "packing": True, **fields})


def test_bad_settings() -> None:
    with pytest.raises(InputError, match="did you mean 'truncate'"):
        Batching(over_length="truncat")
    with pytest.raises(InputError, match="tokens_per_batch must be at least 1"):
        Batching(tokens_per_batch=0)
    with pytest.raises(InputError, match="reach the maximum length, 128"):
        Batching(buckets=(8, 64))
    with pytest.raises(InputError, match="tokens_per_batch=64 is too small"):
        data(rows_multiple_of=8)
    with pytest.raises(InputError, match="do not divide among 3 processes"):
        data(process_count=3)
    with pytest.raises(ValueError, match="process_index=2"):
        data(process_index=2, process_count=2)


@pytest.mark.parametrize("sort_by_length", [False, True])
def test_evaluation_takes_every_example_once(sort_by_length: bool) -> None:
    order = []
    for batch in evaluation_batches(
        EXAMPLES, COLLATE, BATCHING, rows_multiple_of=4, sort_by_length=sort_by_length
    ):
        rows, labels = batch.arrays["input_ids"], batch.arrays["labels"]
        assert rows.shape[0] == 4
        assert rows.shape[1] in BATCHING.lengths
        np.testing.assert_array_equal(rows[: batch.count, 0] - 1000, batch.indices)
        assert (labels[batch.count :] == -100).all()
        order += list(batch.indices)
    assert sorted(order) == list(range(101))
    assert (order == list(range(101))) != sort_by_length


def test_a_fingerprint_sees_ids_and_lengths():
    data = examples(5)
    ids, offsets = data.columns["input_ids"]
    assert data.fingerprint == examples(5).fingerprint != examples(6).fingerprint
    for changed in (
        (ids + 1, offsets),
        (ids, np.append(offsets[:-2], [offsets[-2] - 1, len(ids)])),
    ):
        other = EncodedExamples({**data.columns, "input_ids": changed})
        assert other.fingerprint != data.fingerprint
