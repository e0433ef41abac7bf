"""Buckets and packing: every example once, fixed shapes, nothing mixed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flaxformers_edu.errors import InputError
from flaxformers_edu.text.batching import (
    IGNORED_LABEL,
    bucket_boundaries,
    collate_causal,
    collate_causal_packed,
    collate_sequences,
    collate_translation,
    collate_translation_packed,
    pack,
    pad_sequences,
    plan_epoch,
    rows_of_bucket,
)

BUCKETS = (4, 8, 16)
lengths_of_pairs = st.lists(st.tuples(st.integers(1, 16), st.integers(1, 16)), max_size=80)


def test_pad_sequences() -> None:
    padded = pad_sequences([[5, 6], [], [7, 8, 9]], 3, 0)
    np.testing.assert_array_equal(padded, [[5, 6, 0], [0, 0, 0], [7, 8, 9]])
    assert padded.dtype == np.int32
    with pytest.raises(ValueError, match="sequence 1 has 4 tokens, more than length=3"):
        pad_sequences([[1], [1, 2, 3, 4]], 3, 0)


@given(st.integers(1, 700), st.integers(1, 32))
def test_bucket_boundaries_reach_the_maximum_in_few_steps(max_length: int, multiple: int) -> None:
    boundaries = bucket_boundaries(max_length, multiple)
    assert boundaries[-1] == max_length
    assert list(boundaries) == sorted(set(boundaries))
    assert all(length % multiple == 0 for length in boundaries[:-1])
    assert len(bucket_boundaries(512)) <= 18


@settings(max_examples=60, deadline=None)
@given(lengths_of_pairs, st.integers(0, 3), st.integers(0, 3), st.sampled_from([1, 2, 4]))
def test_every_example_once_in_fixed_shapes(lengths, seed, epoch, multiple) -> None:
    lengths = np.array(lengths, np.int64).reshape(-1, 2)
    plan = plan_epoch(
        lengths, buckets=BUCKETS, tokens_per_batch=70, seed=seed, epoch=epoch,
        rows_multiple_of=multiple,
    )  # fmt: skip
    seen = [i for batch in plan for i in batch.indices if i >= 0]
    assert sorted(seen) == list(range(len(lengths)))
    for batch in plan:
        assert batch.indices.size == rows_of_bucket(batch.bucket, 70, multiple)
        assert batch.indices.size % multiple == 0
        real = batch.indices[batch.indices >= 0]
        assert (lengths[real] <= batch.bucket).all()
        assert (batch.indices[: real.size] >= 0).all()
    assert sum((batch.indices < 0).any() for batch in plan) <= 1


def test_plan_is_a_function_of_seed_and_epoch() -> None:
    lengths = np.random.default_rng(0).integers(1, 17, 300)

    def flat(seed: int, epoch: int) -> list[int]:
        plan = plan_epoch(lengths, buckets=BUCKETS, batch_size=8, seed=seed, epoch=epoch)
        return [int(i) for batch in plan for i in batch.indices]

    assert flat(1, 2) == flat(1, 2)
    assert flat(1, 2) != flat(1, 3)
    assert flat(1, 2) != flat(2, 2)


def test_number_of_batches_of_each_shape_does_not_depend_on_the_epoch() -> None:
    lengths = np.random.default_rng(0).integers(1, 17, 333)
    counts = {
        tuple(sorted(b.bucket for b in plan_epoch(
            lengths, buckets=BUCKETS, tokens_per_batch=64, seed=seed, epoch=epoch
        )))
        for seed in range(3)
        for epoch in range(3)
    }  # fmt: skip
    assert len(counts) == 1


def test_plan_errors() -> None:
    with pytest.raises(InputError, match="example 1 has 17 tokens, more than the longest bucket"):
        plan_epoch([3, 17], buckets=BUCKETS, batch_size=2, seed=0, epoch=0)
    with pytest.raises(InputError, match="tokens_per_batch=20 is too small.*at least 64"):
        plan_epoch([3], buckets=BUCKETS, tokens_per_batch=20, seed=0, epoch=0, rows_multiple_of=4)
    with pytest.raises(InputError, match="either tokens_per_batch or batch_size"):
        plan_epoch([3], buckets=BUCKETS, seed=0, epoch=0)


@settings(max_examples=60, deadline=None)
@given(lengths_of_pairs, st.sampled_from([1, 3, 256]))
def test_packing_keeps_every_example_and_the_room(lengths, max_open) -> None:
    lengths = np.array(lengths, np.int64).reshape(-1, 2)
    rows = pack(lengths, 16, max_open=max_open)
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
    assert all((lengths[row].sum(axis=0) <= 16).all() for row in rows)


def test_packing_is_first_fit() -> None:
    assert [list(row) for row in pack([6, 5, 4, 3, 2], 10)] == [[0, 2], [1, 3, 4]]
    with pytest.raises(InputError, match="example 1 has 11 tokens"):
        pack([3, 11], 10)


def test_collate_translation() -> None:
    examples = [
        {"input_ids": [5, 6, 1], "labels": [7, 1]},
        {"input_ids": [5, 1], "labels": [7, 8, 9, 1]},
    ]
    batch = collate_translation(examples, 3, 4, pad_token_id=0, decoder_start_token_id=2)
    expected = {
        "input_ids": [[5, 6, 1, 0], [5, 1, 0, 0], [0, 0, 0, 0]],
        "attention_mask": [[1, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]],
        "decoder_input_ids": [[2, 7, 0, 0], [2, 7, 8, 9], [0, 0, 0, 0]],
        "decoder_attention_mask": [[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]],
        "labels": [[7, 1, -100, -100], [7, 8, 9, 1], [-100] * 4],
    }
    assert batch.keys() == expected.keys()
    for name, array in batch.items():
        assert array.dtype == np.int32
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def test_packed_rows_hold_the_unpacked_examples() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 9, (40, 2))
    examples = [
        {"input_ids": rng.integers(10, 99, s), "labels": rng.integers(10, 99, t)}
        for s, t in lengths
    ]
    groups = [[examples[i] for i in row] for row in pack(lengths, 16)]
    batch = collate_translation_packed(
        groups, len(groups) + 1, 16, pad_token_id=0, decoder_start_token_id=2
    )
    for row, group in enumerate(groups):
        for segment, example in enumerate(group, start=1):
            source = batch["segment_ids"][row] == segment
            target = batch["decoder_segment_ids"][row] == segment
            np.testing.assert_array_equal(batch["input_ids"][row][source], example["input_ids"])
            np.testing.assert_array_equal(batch["labels"][row][target], example["labels"])
            shifted = [2, *example["labels"][:-1]]
            np.testing.assert_array_equal(batch["decoder_input_ids"][row][target], shifted)
            np.testing.assert_array_equal(batch["positions"][row][source], range(source.sum()))
            np.testing.assert_array_equal(
                batch["decoder_positions"][row][target], range(target.sum())
            )
    outside = batch["decoder_segment_ids"] == 0
    assert (batch["labels"][outside] == IGNORED_LABEL).all()
    assert (batch["labels"][~outside] != IGNORED_LABEL).all()
    assert outside[-1].all()


def test_collate_sequences() -> None:
    groups = [[{"input_ids": [5, 6]}, {"input_ids": [7]}]]
    batch = collate_sequences(groups, 1, 4, pad_token_id=0)
    np.testing.assert_array_equal(batch["input_ids"], [[5, 6, 7, 0]])
    np.testing.assert_array_equal(batch["segment_ids"], [[1, 1, 2, 0]])
    np.testing.assert_array_equal(batch["positions"], [[0, 1, 0, 0]])
    np.testing.assert_array_equal(batch["attention_mask"], [[1, 1, 1, 0]])


def test_collate_causal() -> None:
    """The label of a place is the next token of its own text, whoever is next in the row."""
    texts = [{"input_ids": [5, 6, 1]}, {"input_ids": [7, 1]}]
    packed = collate_causal_packed([texts], 2, 6, pad_token_id=1)
    np.testing.assert_array_equal(packed["input_ids"], [[5, 6, 1, 7, 1, 1], [1] * 6])
    np.testing.assert_array_equal(packed["labels"], [[6, 1, -100, 1, -100, -100], [-100] * 6])
    rows = collate_causal(texts, 3, 4, pad_token_id=1)
    np.testing.assert_array_equal(rows["attention_mask"], [[1, 1, 1, 0], [1, 1, 0, 0], [0] * 4])
    np.testing.assert_array_equal(
        rows["labels"], [[6, 1, -100, -100], [1, -100, -100, -100], [-100] * 4]
    )
    assert rows.keys() == {"input_ids", "attention_mask", "labels"}
    assert all(array.dtype == np.int32 for array in packed.values())
