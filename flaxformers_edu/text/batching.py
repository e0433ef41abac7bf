"""Ragged examples in arrays of few fixed shapes: buckets of length, or packing. Pure numpy.

A jitted step compiles once a shape, so an epoch may use only a handful: every bucket has ONE
shape, and what does not fill it is padded. Everything here is a pure function of its arguments.

B rows, T length of the source or target side, N examples, E sides of an example (1 or 2).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flaxformers_edu.errors import InputError

IGNORED_LABEL = -100  # the label that no loss counts, as in Hugging Face's models
Ids = Sequence[int] | np.ndarray
Example = Mapping[str, Ids]


def pad_sequences(
    sequences: Sequence[Sequence[Any] | np.ndarray],
    length: int,
    pad_id: int,
    width: int | None = None,
) -> np.ndarray:
    """Sequences as int32 [len(sequences), length], filled up on the right.

    With `width` they are sequences of so many numbers each: [len(sequences), length, width].
    Raises ValueError for a sequence that is longer.
    """
    shape = (len(sequences), length) if width is None else (len(sequences), length, width)
    padded_BT: np.ndarray = np.full(shape, pad_id, np.int32)
    for row, ids in enumerate(sequences):
        if len(ids) > length:
            raise ValueError(f"sequence {row} has {len(ids)} tokens, more than length={length}")
        if len(ids):
            padded_BT[row, : len(ids)] = ids
    return padded_BT


def bucket_boundaries(max_length: int, multiple: int = 8, growth: float = 1.25) -> tuple[int, ...]:
    """Ascending lengths of buckets, up to exactly max_length.

    Multiples of `multiple`, each at least `growth` times the one before: relative padding stays
    bounded while the number of shapes grows with the logarithm of max_length only.

    >>> bucket_boundaries(64)
    (8, 16, 24, 32, 40, 56, 64)
    """
    if max_length < 1 or multiple < 1 or growth < 1:
        raise InputError(
            f"buckets need max_length >= 1, multiple >= 1 and growth >= 1, got "
            f"max_length={max_length}, multiple={multiple}, growth={growth}"
        )
    boundaries: list[int] = []
    length = multiple
    while length < max_length:
        boundaries.append(length)
        grown = int(-(-(length * growth) // multiple)) * multiple
        length = max(length + multiple, grown)
    return (*boundaries, max_length)


def rows_of_bucket(length: int, tokens_per_batch: int, rows_multiple_of: int = 1) -> int:
    """Rows of a batch: the largest multiple of rows_multiple_of with rows x length in the budget.

    Raises InputError where not even rows_multiple_of rows fit.
    """
    rows = tokens_per_batch // length // rows_multiple_of * rows_multiple_of
    if rows < 1:
        raise InputError(
            f"tokens_per_batch={tokens_per_batch} is too small: {rows_multiple_of} rows of length "
            f"{length} need at least {rows_multiple_of * length}"
        )
    return rows


@dataclass(frozen=True)
class Batch:
    """One batch of a plan."""

    indices: np.ndarray
    """Which example each row holds, [rows]; -1 is an empty row."""
    bucket: int
    """Length of every row."""


def lengths_of_examples(lengths: np.ndarray | Sequence) -> np.ndarray:
    """The length that decides the bucket, [N]: of pairs [N, 2] the longer side."""
    array: np.ndarray = np.asarray(lengths, np.int64)
    return array.max(axis=1) if array.ndim == 2 else array


def plan_epoch(
    lengths: np.ndarray | Sequence,
    *,
    buckets: Sequence[int],
    tokens_per_batch: int | None = None,
    batch_size: int | None = None,
    seed: int,
    epoch: int,
    rows_multiple_of: int = 1,
) -> list[Batch]:
    """Batches of one epoch: every example exactly once, every bucket with one fixed shape.

    lengths: [N] or [N, 2]. Either `tokens_per_batch` (rows x length, one side, at most this) or
    `batch_size` (the same number of rows in every bucket) says how many rows a bucket has.
    The last batch of a bucket is filled with examples of shorter buckets; what is left at
    the very end is padded with empty rows (-1), so at most one batch of the epoch has any. How many
    batches of each shape there are depends on the lengths alone, not on seed or epoch.
    Raises InputError where an example exceeds the longest bucket or a batch cannot be formed.
    """
    buckets = tuple(sorted(buckets))
    if not buckets:
        raise InputError("buckets must hold at least one length")
    if (tokens_per_batch is None) == (batch_size is None):
        raise InputError("give either tokens_per_batch or batch_size")
    if seed < 0 or epoch < 0:
        raise InputError(f"seed and epoch must not be negative, got seed={seed}, epoch={epoch}")
    longest_N = lengths_of_examples(lengths)
    if longest_N.size and longest_N.max() > buckets[-1]:
        index = int(longest_N.argmax())
        raise InputError(
            f"example {index} has {longest_N[index]} tokens, more than the longest bucket, "
            f"{buckets[-1]}"
        )
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(longest_N.size)
    bucket_of = np.searchsorted(buckets, longest_N[order])
    waiting = [order[bucket_of == b] for b in range(len(buckets))]

    batches = []
    for b in reversed(range(len(buckets))):
        length = buckets[b]
        if batch_size is not None:
            rows = rows_of_bucket(length, batch_size * length, rows_multiple_of)
        else:
            rows = rows_of_bucket(length, tokens_per_batch or 0, rows_multiple_of)
        taken = waiting[b]
        missing = -taken.size % rows
        for lower in reversed(range(b)):
            taken = np.concatenate([taken, waiting[lower][:missing]])
            waiting[lower] = waiting[lower][missing:]
            missing = -taken.size % rows
            if not missing:
                break
        taken = np.concatenate([taken, np.full(missing, -1, taken.dtype)])
        batches += [Batch(indices, length) for indices in taken.reshape(-1, rows)]
    return [batches[i] for i in rng.permutation(len(batches))]


def pack(lengths: np.ndarray | Sequence, length: int, *, max_open: int = 256) -> list[np.ndarray]:
    """Greedy first-fit: which examples share a row, so that no side exceeds `length`.

    lengths: [N] or [N, E], one column a side. Examples are taken in order, each into the
    first row with room on every side. At most `max_open` rows stay open (the fullest are closed),
    which keeps the time linear in N. Returns one array of example indices a row.
    Raises InputError for an example longer than `length`.
    """
    lengths_NE = np.asarray(lengths, np.int64)
    if lengths_NE.ndim == 1:
        lengths_NE = lengths_NE[:, None]
    if lengths_NE.size and lengths_NE.max() > length:
        index = int(lengths_NE.max(axis=1).argmax())
        raise InputError(
            f"example {index} has {lengths_NE[index].max()} tokens, more than length={length}"
        )
    rows: list[list[int]] = []
    open_rows: list[int] = []
    room = np.zeros((0, lengths_NE.shape[1]), np.int64)
    for index, needed_E in enumerate(lengths_NE):
        fits = (room >= needed_E).all(axis=1)
        if fits.any():
            slot = int(fits.argmax())
        else:
            if len(open_rows) == max_open:
                fullest = int(room.min(axis=1).argmin())
                del open_rows[fullest]
                room = np.delete(room, fullest, axis=0)
            slot = len(open_rows)
            open_rows.append(len(rows))
            rows.append([])
            room = np.concatenate([room, np.full((1, room.shape[1]), length)])
        rows[open_rows[slot]].append(index)
        room[slot] -= needed_E
    return [np.asarray(row) for row in rows]


def lay_out(
    groups: Sequence[Sequence[Ids]], rows: int, length: int, pad_id: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sequences of each group one after another in a row: ids, segment ids, positions [B, T].

    Segments count from 1 in a row and 0 is padding; positions count from 0 in each segment.
    Raises ValueError where the groups do not fit.
    """
    if len(groups) > rows:
        raise ValueError(f"{len(groups)} groups do not fit {rows} rows")
    ids_BT: np.ndarray = np.full((rows, length), pad_id, np.int32)
    segment_ids_BT: np.ndarray = np.zeros((rows, length), np.int32)
    positions_BT: np.ndarray = np.zeros((rows, length), np.int32)
    for row, group in enumerate(groups):
        start = 0
        for segment, ids in enumerate(group, start=1):
            end = start + len(ids)
            if end > length:
                raise ValueError(f"group {row} has more than length={length} tokens")
            ids_BT[row, start:end] = ids
            segment_ids_BT[row, start:end] = segment
            positions_BT[row, start:end] = np.arange(end - start)
            start = end
    return ids_BT, segment_ids_BT, positions_BT


def shift_right(ids: Ids, start_id: int) -> np.ndarray:
    """What a decoder reads to predict `ids`: the start token, then all but the last, int32."""
    return np.asarray([start_id, *ids][: len(ids)], np.int32)


def collate_sequences(
    groups: Sequence[Sequence[Example]], rows: int, length: int, *, pad_token_id: int
) -> dict[str, np.ndarray]:
    """Packed single sequences (`input_ids` of each example), int32 [rows, length].

    Keys: input_ids, attention_mask, segment_ids, positions.
    """
    ids = [[example["input_ids"] for example in group] for group in groups]
    ids_BT, segment_ids_BT, positions_BT = lay_out(ids, rows, length, pad_token_id)
    return {
        "input_ids": ids_BT,
        "attention_mask": (segment_ids_BT > 0).astype(np.int32),
        "segment_ids": segment_ids_BT,
        "positions": positions_BT,
    }


def collate_causal(
    examples: Sequence[Example], rows: int, length: int, *, pad_token_id: int
) -> dict[str, np.ndarray]:
    """Texts to be continued, one a row: `input_ids`, `attention_mask`, `labels`, [rows, length].

    Rows beyond the examples are empty: padding, mask 0, labels -100.
    """
    packed = collate_causal_packed(
        [[example] for example in examples], rows, length, pad_token_id=pad_token_id
    )
    return {name: array for name, array in packed.items() if not name.endswith(PACKING_NAMES)}


def collate_causal_packed(
    groups: Sequence[Sequence[Example]], rows: int, length: int, *, pad_token_id: int
) -> dict[str, np.ndarray]:
    """Texts to be continued, several a row: the keys of `collate_sequences` and labels.

    The label of a place is the token after it in the same text; the last place has none (-100).
    """
    batch = collate_sequences(groups, rows, length, pad_token_id=pad_token_id)
    ids_BT, segment_ids_BT = batch["input_ids"], batch["segment_ids"]
    labels_BT: np.ndarray = np.full((rows, length), IGNORED_LABEL, np.int32)
    goes_on_BT = (segment_ids_BT[:, 1:] == segment_ids_BT[:, :-1]) & (segment_ids_BT[:, 1:] > 0)
    labels_BT[:, :-1] = np.where(goes_on_BT, ids_BT[:, 1:], IGNORED_LABEL)
    return {**batch, "labels": labels_BT}


def collate_translation(
    examples: Sequence[Example],
    rows: int,
    length: int,
    *,
    pad_token_id: int,
    decoder_start_token_id: int,
) -> dict[str, np.ndarray]:
    """Pairs {"input_ids", "labels"} as a batch of one pair a row, int32 [rows, length].

    Keys: input_ids, attention_mask, decoder_input_ids (labels shifted right behind the start
    token), decoder_attention_mask, labels (-100 where there is nothing to predict).
    Rows beyond the examples are empty: padding, mask 0, labels -100.
    """
    packed = collate_translation_packed(
        [[example] for example in examples],
        rows,
        length,
        pad_token_id=pad_token_id,
        decoder_start_token_id=decoder_start_token_id,
    )
    return {name: array for name, array in packed.items() if not name.endswith(PACKING_NAMES)}


PACKING_NAMES = ("segment_ids", "positions")


def collate_translation_packed(
    groups: Sequence[Sequence[Example]],
    rows: int,
    length: int,
    *,
    pad_token_id: int,
    decoder_start_token_id: int,
) -> dict[str, np.ndarray]:
    """Pairs packed several a row, int32 [rows, length]: the keys of `collate_translation` and
    segment_ids, positions, decoder_segment_ids, decoder_positions.

    Each segment of the decoder's input begins with the start token: nothing crosses a border.
    """
    sources = [[example["input_ids"] for example in group] for group in groups]
    targets = [[example["labels"] for example in group] for group in groups]
    shifted = [[shift_right(ids, decoder_start_token_id) for ids in group] for group in targets]
    input_ids_BT, segment_ids_BT, positions_BT = lay_out(sources, rows, length, pad_token_id)
    labels_BT, decoder_segment_ids_BT, decoder_positions_BT = lay_out(
        targets, rows, length, IGNORED_LABEL
    )
    decoder_input_ids_BT, _, _ = lay_out(shifted, rows, length, pad_token_id)
    return {
        "input_ids": input_ids_BT,
        "attention_mask": (segment_ids_BT > 0).astype(np.int32),
        "decoder_input_ids": decoder_input_ids_BT,
        "decoder_attention_mask": (decoder_segment_ids_BT > 0).astype(np.int32),
        "labels": labels_BT,
        "segment_ids": segment_ids_BT,
        "positions": positions_BT,
        "decoder_segment_ids": decoder_segment_ids_BT,
        "decoder_positions": decoder_positions_BT,
    }
