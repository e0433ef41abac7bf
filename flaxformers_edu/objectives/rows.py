"""What the objectives of fine-tuning share: texts as rows, labels as numbers, rows as a batch.

An example is a mapping as a source gives it; a row is what `encode` makes of it, lists of numbers.

Dims: B rows, T length.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import flax.linen as nn
import numpy as np
from jaxtyping import Array

from flaxformers_edu.errors import InputError, unknown_name
from flaxformers_edu.text.batching import IGNORED_LABEL, pad_sequences
from flaxformers_edu.text.template import longest_first
from flaxformers_edu.text.tokenizer import Tokenizer

Row = Mapping[str, Any]
NO_ID = -1
MODEL_INPUTS = ("input_ids", "attention_mask", "token_type_ids", "predict_positions")


@runtime_checkable
class EncodedRows(Protocol):
    """Rows in the order in which they were made; `origins` says from which example each came."""

    origins: np.ndarray

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Mapping[str, np.ndarray]: ...


def named(example: Mapping[str, Any]) -> str:
    """The example's id as the beginning of an error's text; nothing where it has none."""
    return f"id {example['id']!r}: " if "id" in example else ""


def field_of(example: Mapping[str, Any], name: str) -> Any:
    """A field of an example.

    Raises:
        InputError: there is none of this name.
    """
    if name not in example:
        raise InputError(
            f"{named(example)}there is no field {name!r}; fields: {', '.join(example)}"
        )
    return example[name]


def text_of(example: Mapping[str, Any], name: str) -> str:
    """A field that must be a text.

    Raises:
        InputError: it is absent, or of another kind.
    """
    text = field_of(example, name)
    if not isinstance(text, str):
        raise InputError(f"{named(example)}{name} is {text!r}; it must be a text")
    return text


def encode_texts(
    tokenizer: Tokenizer, text: str, text_pair: str | None = None, *, max_length: int
) -> dict[str, list[Any]]:
    """A text, or a pair of them, in the model's own template, cut to `max_length` ids.

    Raises:
        InputError: `max_length` has no room beside the special ids.
    """
    room = room_for_text(tokenizer, max_length, pair=text_pair is not None)
    ids_a = list(tokenizer.pieces(text).ids)
    if text_pair is None:
        return as_row(tokenizer, ids_a[:room])
    ids_b = list(tokenizer.pieces(text_pair).ids)
    kept_a, kept_b = longest_first(len(ids_a), len(ids_b), room)
    return as_row(tokenizer, ids_a[:kept_a], ids_b[:kept_b])


def room_for_text(tokenizer: Tokenizer, max_length: int, *, pair: bool) -> int:
    """Ids of `max_length` that are left for text.

    Raises:
        InputError: there are none.
    """
    special = tokenizer.num_special(pair)
    if max_length <= special:
        raise InputError(
            f"a length of {max_length} has no room for text beside {special} special tokens: "
            "raise batching.max_source_length"
        )
    return max_length - special


def as_row(
    tokenizer: Tokenizer, ids_a: list[Any], ids_b: list[Any] | None = None
) -> dict[str, list[Any]]:
    """Ids in the model's template, as the columns `input_ids` and `token_type_ids`."""
    input_ids, token_type_ids = tokenizer.join(ids_a, ids_b)
    return {"input_ids": list(input_ids), "token_type_ids": list(token_type_ids)}


def text_begins_at(tokenizer: Tokenizer, length_a: int | None = None) -> int:
    """Where in a row the text begins; with the length of a first text, where the second one does.

    A text that no tokeniser makes is laid out to see where the model's template puts it.
    """
    if length_a is None:
        return tokenizer.join([NO_ID])[0].index(NO_ID)
    return tokenizer.join([0] * length_a, [NO_ID])[0].index(NO_ID)


def label_index(example: Mapping[str, Any], label: Any, labels: Sequence[str]) -> int:
    """The index of a label among `labels`: it is one of these names, or a number from 0.

    Numbers are understood where no name is itself a number.

    Raises:
        InputError: it is not in the set.
    """
    name = str(label)
    if name in labels:
        return list(labels).index(name)
    number = str(int(label)) if isinstance(label, bool | np.bool_) else name
    numbered = not any(known.isdecimal() for known in labels)
    if numbered and number.isdecimal() and int(number) < len(labels):
        return int(number)
    raise InputError(
        f"{named(example)}label {label!r} is none of objective.labels: {', '.join(labels)}"
    )


def label_of(example: Mapping[str, Any], labels: Sequence[str]) -> int:
    """The index of the example's "label"; -100 where it is not known.

    That is where there is none, or -1, as published test sets write the labels they hide.

    Raises:
        InputError: it is not in the set.
    """
    label = example.get("label")
    if label is None or (not isinstance(label, str) and label == -1):
        return IGNORED_LABEL
    return label_index(example, label, labels)


def check_labels(labels: Sequence[str], *, at_least: int = 2) -> None:
    """Refuses a set of labels that is too small or has one of them twice.

    Raises:
        InputError: saying which.
    """
    if len(labels) < at_least:
        raise InputError(f"objective.labels has {len(labels)} names; give at least {at_least}")
    for label in labels:
        if list(labels).count(label) > 1:
            raise InputError(f"objective.labels has {label!r} more than once")


def check_metrics(metrics: Sequence[str], known: Collection[str]) -> None:
    """Refuses metrics that there are not.

    Raises:
        InputError: there is none, or one that is unknown.
    """
    if not metrics:
        raise InputError(f"objective.metrics is empty; name some of {', '.join(sorted(known))}")
    for metric in metrics:
        if metric not in known:
            raise unknown_name("objective.metrics", metric, known)


def check_unpacked(packed: bool) -> None:
    """Refuses to pack: the model says one thing of a row.

    Raises:
        InputError: naming the field to change.
    """
    if packed:
        raise InputError("batching.packing is set, but a row holds one example here: unset it")


def check_fits(config: Any, num_labels: int, packed: bool) -> None:
    """Refuses a model with another number of outputs, and packing.

    Raises:
        InputError: naming the field to change.
    """
    check_unpacked(packed)
    if config.num_labels != num_labels:
        raise InputError(
            f"model.num_labels is {config.num_labels}, but the objective predicts {num_labels}: "
            f"set model.num_labels to {num_labels}"
        )


def collate_rows(
    examples: Sequence[Row], rows: int, length: int, *, config: Any
) -> dict[str, np.ndarray]:
    """What the model reads, int32 [rows, length]: padded on the right; rows beyond are empty.

    Keys: input_ids, attention_mask, and token_type_ids where the model has more than one type. A
    model that reads the characters of words has input_ids [rows, length, characters].
    """
    ids = [example["input_ids"] for example in examples]
    missing: list[list[int]] = [[] for _ in range(rows - len(ids))]
    lengths_B = np.array([len(row) for row in ids] + [0] * len(missing))
    batch = {
        "input_ids": pad_sequences(
            [*ids, *missing], length, config.pad_token_id, getattr(config, "max_characters", None)
        ),
        "attention_mask": (np.arange(length) < lengths_B[:, None]).astype(np.int32),
    }
    if getattr(config, "num_token_types", 1) > 1:
        types = [example["token_type_ids"] for example in examples]
        batch["token_type_ids"] = pad_sequences([*types, *missing], length, 0)
    return batch


def numbers(examples: Sequence[Row], name: str, rows: int, fill: float) -> np.ndarray:
    """The one number of each row under a name, [rows]; empty rows have `fill`, and its type."""
    kind = np.float32 if isinstance(fill, float) else np.int32
    values_B: np.ndarray = np.full(rows, fill, kind)
    values_B[: len(examples)] = [example[name][0] for example in examples]
    return values_B


def forward(
    model: nn.Module,
    params: Any,
    batch: Mapping[str, Array],
    dropout_key: Array | None,
    *,
    method: str | None = None,
) -> Any:
    """The model's output for what it reads of a batch; no key means no dropout."""
    inputs: dict[str, Any] = {name: batch[name] for name in MODEL_INPUTS if name in batch}
    return model.apply(
        {"params": params},
        method=method,
        **inputs,
        deterministic=dropout_key is None,
        rngs={"dropout": dropout_key} if dropout_key is not None else {},
    )
