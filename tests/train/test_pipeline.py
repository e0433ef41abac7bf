"""Data is a pure function of (seed, step), for any number of processes."""

import pickle
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flaxformers_edu.errors import InputError
from flaxformers_edu.text.batching import collate_translation, collate_translation_packed
from train.pipeline import (
    Batching,
    EncodedExamples,
    TrainData,
    encode_examples,
    evaluation_batches,
)

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


def test_over_length() -> None:
    pairs = [{"source": [5], "target": [6]}, {"source": range(10, 40), "target": [6]}]
    with pytest.raises(
        InputError, match="example 1 has 31 tokens in input_ids.*max_source_length=16"
    ):
        encode_examples(pairs, encode, BATCHING)
    dropped = encode_examples(pairs, encode, Batching(over_length="drop", max_source_length=16))
    assert (len(dropped), dropped.num_dropped) == (1, 1)
    cut = encode_examples(pairs, encode, Batching(over_length="truncate", max_source_length=16))
    assert cut.num_dropped == 0
    np.testing.assert_array_equal(cut[1]["input_ids"], [*range(10, 25), 1])
    with pytest.raises(InputError, match="all 1 examples were dropped"):
        encode_examples(pairs[1:], encode, Batching(over_length="drop", max_source_length=16))


def test_encoding_errors() -> None:
    with pytest.raises(InputError, match="there are no examples"):
        encode_examples([], encode, BATCHING)
    with pytest.raises(InputError, match="example 0 has no tokens in labels"):
        encode_examples([{}], lambda _: {"input_ids": [1], "labels": []}, BATCHING)


def test_examples_are_a_sequence() -> None:
    assert len(EXAMPLES) == 101
    assert EXAMPLES[-1]["input_ids"][0] == 1100
    assert EXAMPLES.lengths.shape == (101, 2)
    with pytest.raises(IndexError):
        EXAMPLES[101]


def test_bad_settings() -> None:
    with pytest.raises(InputError, match="did you mean 'truncate'"):
        Batching(over_length="truncat")
    with pytest.raises(InputError, match="tokens_per_batch must be at least 1"):
        Batching(tokens_per_batch=0)
    with pytest.raises(InputError, match="reach the maximum length, 128"):
        Batching(buckets=(8, 64))
    with pytest.raises(InputError, match="tokens_per_batch=64 is too small"):
        data(rows_multiple_of=8)
    with pytest.raises(ValueError, match="no multiple of"):
        data(process_count=3)
    with pytest.raises(ValueError, match="process_index=2"):
        data(process_index=2, process_count=2)


@pytest.mark.parametrize("sort_by_length", [False, True])
@pytest.mark.parametrize("count", [1, 2])
def test_evaluation_takes_every_example_once(sort_by_length: bool, count: int) -> None:
    per_process = [
        list(
            evaluation_batches(
                EXAMPLES, COLLATE, BATCHING, rows_multiple_of=4, process_index=i,
                process_count=count, sort_by_length=sort_by_length,
            )
        )
        for i in range(count)
    ]  # fmt: skip
    order = []
    for batches in zip(*per_process, strict=True):
        rows = np.concatenate([b.arrays["input_ids"] for b in batches])
        labels = np.concatenate([b.arrays["labels"] for b in batches])
        assert rows.shape[0] == 4
        assert rows.shape[1] in BATCHING.lengths
        number = batches[0].count
        np.testing.assert_array_equal(rows[:number, 0] - 1000, batches[0].indices)
        assert (labels[number:] == -100).all()
        order += list(batches[0].indices)
    assert sorted(order) == list(range(101))
    assert (order == list(range(101))) != sort_by_length
