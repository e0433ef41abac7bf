"""How one or two texts are laid out among special tokens, and how much of them fits.

B rows, T length.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import numpy as np
import tokenizers

from flaxformers_edu.errors import InputError
from flaxformers_edu.text.batching import pad_sequences

Padding = bool | Literal["max_length"]
Slot = tuple[int, int]
FIRST, SECOND = -1, -2  # in place of a special id: where the texts go


@dataclass(frozen=True)
class Template:
    """Special tokens around one text, and around two: [CLS] a [SEP] b [SEP], say."""

    single: tuple[Slot, ...]
    """(special id or FIRST, token type) in order."""
    pair: tuple[Slot, ...]
    """(special id, FIRST or SECOND, token type) in order."""

    def join(
        self, ids_a: Sequence[int], ids_b: Sequence[int] | None = None
    ) -> tuple[list[int], list[int]]:
        """Ids and token types of one text or two, special tokens included."""
        texts = {FIRST: ids_a, SECOND: () if ids_b is None else ids_b}
        input_ids: list[int] = []
        token_type_ids: list[int] = []
        for slot, token_type in self.single if ids_b is None else self.pair:
            new = texts[slot] if slot < 0 else (slot,)
            input_ids.extend(new)
            token_type_ids.extend([token_type] * len(new))
        return input_ids, token_type_ids

    def num_special(self, pair: bool) -> int:
        """Special tokens that it adds."""
        return sum(slot >= 0 for slot, _ in (self.pair if pair else self.single))

    @property
    def special_ids(self) -> frozenset[int]:
        """The special tokens that it adds."""
        return frozenset(slot for slot, _ in (*self.single, *self.pair) if slot >= 0)


def template_of(tokenizer: tokenizers.Tokenizer) -> Template:
    """The layout in a tokenizer.json: its own post-processor is asked, whichever kind it is.

    Raises:
        InputError: there is no text that it can spell.
    """
    size = max(tokenizer.get_vocab().values(), default=-1) + 1
    some = (tokenizer.decode([index]) for index in range(min(size, 1000)))
    plain = (tokenizer.encode(text, add_special_tokens=False) for text in chain(["a"], some))
    text = next((encoding for encoding in plain if encoding.ids), None)
    if text is None:
        raise InputError("the tokeniser spells nothing: its vocabulary is empty")
    return Template(
        single=_slots(tokenizer.post_process(text)),
        pair=_slots(tokenizer.post_process(text, text)),
    )


def _slots(encoding: tokenizers.Encoding) -> tuple[Slot, ...]:
    """The layout that a post-processor gave: special ids, and a slot for each text."""
    slots: list[Slot] = []
    columns = (encoding.ids, encoding.special_tokens_mask, encoding.sequence_ids, encoding.type_ids)
    for index, special, text, token_type in zip(*columns, strict=True):
        slot = (index if special else SECOND if text == 1 else FIRST, token_type)
        if special or slot not in slots:
            slots.append(slot)
    return tuple(slots)


def longest_first(length_a: int, length_b: int, room: int) -> tuple[int, int]:
    """How many tokens of each of two texts stay so that both fit `room`.

    The longer one is cut until both are equal, then both alike; of an odd room the second gets one
    more. The rule of Hugging Face's `tokenizers`, LongestFirst.

    >>> longest_first(10, 3, 8), longest_first(3, 10, 8), longest_first(9, 9, 7)
    ((5, 3), (3, 5), (3, 4))
    """
    if length_a + length_b <= room:
        return length_a, length_b
    shorter = min(length_a, length_b)
    longer = max(shorter, room - shorter)
    if shorter + longer > room:
        shorter, longer = room // 2, room - room // 2
    return (longer, shorter) if length_a > length_b else (shorter, longer)


def batch_of_texts(
    template: Template,
    texts_a: Sequence[list[int]],
    texts_b: Sequence[list[int]] | None,
    *,
    pad_token_id: int | None,
    padding: Padding,
    max_length: int | None,
    truncation: bool,
    token_types: bool,
) -> dict[str, np.ndarray]:
    """Texts (or pairs) of plain ids as a model's inputs, int32 [B, T].

    Raises InputError where a row is too long, or cannot be padded: see `batch_of_ids`.
    """
    if texts_b is not None and len(texts_a) != len(texts_b):
        raise InputError(f"there are {len(texts_a)} texts but {len(texts_b)} text_pairs")
    rows, types = [], []
    for index, ids_a in enumerate(texts_a):
        ids_b = None if texts_b is None else texts_b[index]
        if truncation and max_length is not None:
            room = max_length - template.num_special(ids_b is not None)
            if room < 0:
                raise InputError(f"max_length={max_length} has no room for the special tokens")
            keep_a, keep_b = longest_first(len(ids_a), len(ids_b or ()), room)
            ids_a, ids_b = ids_a[:keep_a], None if ids_b is None else ids_b[:keep_b]
        row, row_types = template.join(ids_a, ids_b)
        rows.append(row)
        types.append(row_types)
    batch = batch_of_ids(rows, pad_token_id=pad_token_id, padding=padding, max_length=max_length)
    if token_types:
        batch["token_type_ids"] = pad_sequences(types, batch["input_ids"].shape[1], 0)
    return batch


def batch_of_ids(
    rows: Sequence[list[Any]],
    *,
    pad_token_id: int | None,
    padding: Padding,
    max_length: int | None,
    width: int | None = None,
) -> dict[str, np.ndarray]:
    """Stack ragged rows of ids into int32 `input_ids` and `attention_mask` [B, T].

    With `width`, an id is so many numbers, and `input_ids` are [B, T, width].
    Raises InputError where a row is longer than `max_length`, or rows differ in length and
    may not or cannot be padded.
    """
    lengths = [len(row) for row in rows]
    longest = max(lengths, default=0)
    if max_length is not None and longest > max_length:
        index = lengths.index(longest)
        raise InputError(
            f"text {index} has {longest} tokens, more than max_length={max_length}; "
            "shorten it, raise max_length or pass truncation=True"
        )
    if padding == "max_length" and max_length is None:
        raise InputError('padding="max_length" needs max_length')
    length = max_length if padding == "max_length" and max_length is not None else longest
    if any(n != length for n in lengths):
        if not padding:
            raise InputError(
                f"texts have {min(lengths)} to {longest} tokens and padding=False; "
                "encode them one by one or pass padding=True"
            )
        if pad_token_id is None:
            raise InputError(
                f"texts have {min(lengths)} to {longest} tokens but the tokeniser has no padding "
                "token; name one in tokenizer_config.json (pad_token)"
            )
    ids_BT = pad_sequences(rows, length, 0 if pad_token_id is None else pad_token_id, width)
    mask_BT = np.arange(length)[None, :] < np.asarray(lengths, np.int64)[:, None]
    return {"input_ids": ids_BT, "attention_mask": mask_BT.astype(np.int32)}
