"""Encoding a source: one row or several an example, maximum lengths, columns of ints and floats."""

import numpy as np
import pytest

from flaxformers_edu.errors import InputError
from train.encoding import encode_examples
from train.pipeline import Batching, TrainData

BATCHING = Batching(
    tokens_per_batch=64, max_source_length=16, max_target_length=16, bucket_multiple=4
)


def encode(example: dict) -> dict[str, list[int]]:
    return {"input_ids": [*example["source"], 1], "labels": [*example["target"], 1]}


def test_over_length() -> None:
    pairs = [{"source": [5], "target": [6]}, {"source": range(10, 40), "target": [6]}]
    with pytest.raises(InputError, match="example 1: 31 tokens in input_ids.*max_source_length=16"):
        encode_examples(pairs, encode, BATCHING)
    dropped = encode_examples(pairs, encode, Batching(over_length="drop", max_source_length=16))
    assert (len(dropped), dropped.num_dropped) == (1, 1)
    cut = encode_examples(pairs, encode, Batching(over_length="truncate", max_source_length=16))
    assert cut.num_dropped == 0
    np.testing.assert_array_equal(cut[1]["input_ids"], [*range(10, 25), 1])
    with pytest.raises(InputError, match="all 1 examples were dropped"):
        encode_examples(pairs[1:], encode, Batching(over_length="drop", max_source_length=16))


def test_split_texts_lose_nothing() -> None:
    texts = [{"input_ids": [5, 6]}, {"input_ids": range(35)}, {"input_ids": range(16)}]
    batching = Batching(max_source_length=16, over_length="split")
    windows = encode_examples(texts, dict, batching)
    found = [example["input_ids"].tolist() for example in windows]
    whole = list(range(35))
    assert found == [[5, 6], whole[:16], whole[16:32], whole[32:], whole[:16]]
    assert windows.lengths.max() <= batching.max_length == 16
    pair = {"source": range(10, 40), "target": [6]}
    with pytest.raises(
        InputError, match="example 0: 31 tokens in input_ids.*over_length='split' cannot cut it"
    ):
        encode_examples([pair], encode, batching)


def test_targets_are_as_long_as_sources_unless_told_otherwise() -> None:
    pair = {"source": [5], "target": range(20)}
    with pytest.raises(InputError, match="21 tokens in labels, more than max_target_length=16"):
        encode_examples([pair], encode, Batching(max_source_length=16))
    batching = Batching(max_source_length=16, max_target_length=21)
    assert len(encode_examples([pair], encode, batching)[0]["labels"]) == 21
    with pytest.raises(InputError, match="max_target_length must not be negative: -1"):
        Batching(max_target_length=-1)


def test_encoding_errors() -> None:
    with pytest.raises(InputError, match="there are no examples"):
        encode_examples([], encode, BATCHING)
    with pytest.raises(InputError, match="example 0: no tokens in labels"):
        encode_examples([{}], lambda _: {"input_ids": [1], "labels": []}, BATCHING)
    with pytest.raises(InputError, match=r"example 1: columns \['input_ids'\], but the first had"):
        encode_examples([True, False], different_columns, BATCHING)


def different_columns(labelled: bool) -> dict[str, list[int]]:
    return {"input_ids": [1]} | ({"labels": [2]} if labelled else {})


def test_what_an_objective_refuses_is_named_by_its_example() -> None:
    def refuse(example: dict) -> dict[str, list[int]]:
        if example["label"] == "neither":
            raise InputError("label 'neither' is unknown")
        return {"input_ids": [1]}

    with pytest.raises(InputError, match="^example 1: label 'neither' is unknown$"):
        encode_examples([{"label": "yes"}, {"label": "neither"}], refuse, BATCHING)


def windows(example: dict) -> list[dict[str, list]]:
    """As many rows as the example says: each with a float of its own."""
    return [
        {"input_ids": [5] * (row + 1), "weight": [row / 2]} for row in range(example["windows"])
    ]


def test_an_example_may_be_several_rows_and_columns_may_be_floats() -> None:
    encoded = encode_examples([{"windows": n} for n in (1, 3, 2)], windows, BATCHING)
    assert encoded.origins.tolist() == [0, 1, 1, 1, 2, 2]
    assert encoded.columns["weight"][0].dtype == np.float32
    assert encoded.columns["input_ids"][0].dtype == np.int32
    assert [row["weight"].tolist() for row in encoded] == [[0], [0], [0.5], [1], [0], [0.5]]
    two = encoded.of_first(2)
    assert two.origins.tolist() == [0, 1, 1, 1]
    assert [row["input_ids"].tolist() for row in two] == [[5], [5], [5, 5], [5, 5, 5]]


def test_dropped_examples_are_no_origins() -> None:
    texts = [{"input_ids": [5] * n} for n in (3, 17, 4)]
    dropping = Batching(max_source_length=16, over_length="drop")
    encoded = encode_examples(texts, dict, dropping)
    assert (encoded.origins.tolist(), encoded.num_dropped) == ([0, 2], 1)
    assert len(encoded.of_first(2)) == 1


def choices(example: dict) -> dict[str, list[int]]:
    """Sequences one after another; the longest decides the bucket."""
    longest = max(example["lengths"])
    return {"input_ids": [5] * sum(example["lengths"]), "length": [longest]}


def test_a_given_length_decides_in_place_of_the_ids() -> None:
    encoded = encode_examples([{"lengths": (9, 8, 10)}, {"lengths": (3, 16)}], choices, BATCHING)
    assert encoded.lengths.tolist() == [[10], [16]]

    def collate(rows: list, number: int, length: int) -> dict[str, np.ndarray]:
        return {"input_ids": np.zeros((number, 3, length))}

    data = TrainData(encoded, collate, BATCHING, seed=0)
    assert {length for _, length in data.shapes} <= {12, 16}
    with pytest.raises(InputError, match="example 0: 17 tokens in input_ids, more than max_source"):
        encode_examples([{"lengths": (17, 2)}], choices, BATCHING)
