"""Prefix language modelling: a text is continued from a beginning that is read in both directions.

Dims: B rows, T length.
"""

import dataclasses
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from flaxformers_edu.errors import InputError
from flaxformers_edu.objectives.causal_lm import CausalLM
from flaxformers_edu.objectives.rows import Row, text_of
from flaxformers_edu.text.batching import (
    IGNORED_LABEL,
    PACKING_NAMES,
    collate_causal_packed,
    lay_out,
)
from flaxformers_edu.text.template import longest_first
from flaxformers_edu.text.tokenizer import Tokenizer

PREFIX_LENGTH = "prefix_length"


@dataclasses.dataclass(frozen=True)
class PrefixLM(CausalLM):
    """Cross-entropy of the continuation; each token of the prefix sees the whole prefix.

    Liu et al. 2018 (section 4.2.3) and Raffel et al. 2020 (section 3.2.1). Examples are {"prefix",
    "text"}, or {"text"} alone, of which a beginning is drawn to be the prefix.
    """

    seed: int = 0
    """Where texts without a prefix are cut in two: the same text always in the same place."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.seed < 0:
            raise InputError(f"objective.seed is {self.seed}; it must be 0 or more")

    def texts(self, example: Mapping[str, Any]) -> list[str]:
        """What a tokeniser is trained on."""
        names = ("prefix", "text") if "prefix" in example else ("text",)
        return [text_of(example, name) for name in names]

    def encode(  # type: ignore[override]  # a text without a prefix may fill several rows
        self, example: Mapping[str, Any], tokenizer: Tokenizer, *, max_length: int
    ) -> list[dict[str, list[int]]]:
        """Rows of at most max_length ids, and the length of the prefix of each.

        A text by itself, with its end token, is cut into as many rows as it fills. Of a prefix and
        its continuation the longer one is cut: the prefix at its beginning, the other at its end.

        Raises:
            InputError: a field is no text, or max_length has no room for two tokens.
        """
        if max_length < 2:
            raise InputError(
                f"batching.max_source_length is {max_length}; a prefix and its continuation need 2"
            )
        *prefixes, text = self.texts(example)
        ids = tokenizer.encode(text)
        if not prefixes:
            windows = (ids[i : i + max_length] for i in range(0, len(ids), max_length))
            return [as_row(window, self._drawn(window)) for window in windows]
        prefix = tokenizer.encode(prefixes[0], add_eos=False)
        kept, kept_of_text = longest_first(len(prefix), len(ids), max_length)
        return [as_row(prefix[len(prefix) - kept :] + ids[:kept_of_text], kept)]

    def _drawn(self, ids: Sequence[int]) -> int:
        """Any length from 1 to that of the text without its last token, each as likely."""
        text = zlib.crc32(np.asarray(ids, np.int32).tobytes())
        return int(np.random.default_rng([self.seed, text]).integers(1, max(len(ids), 2)))

    def collate(self, config: Any, *, packed: bool = False) -> Callable[..., dict]:
        """The function from encoded rows to a batch: that of `CausalLM`, and `prefix_mask`."""
        return partial(
            collate_prefix_packed if packed else collate_prefix, pad_token_id=config.pad_token_id
        )


def as_row(ids: Sequence[int], prefix_length: int) -> dict[str, list[int]]:
    """A text, and how many of its ids are the prefix."""
    return {"input_ids": list(ids), PREFIX_LENGTH: [prefix_length]}


def collate_prefix(
    examples: Sequence[Row], rows: int, length: int, *, pad_token_id: int
) -> dict[str, np.ndarray]:
    """A text a row, int32 [rows, length]; rows beyond the examples are empty.

    Keys: input_ids, attention_mask, prefix_mask, labels.
    """
    groups = [[example] for example in examples]
    packed = collate_prefix_packed(groups, rows, length, pad_token_id=pad_token_id)
    return {name: array for name, array in packed.items() if not name.endswith(PACKING_NAMES)}


def collate_prefix_packed(
    groups: Sequence[Sequence[Row]], rows: int, length: int, *, pad_token_id: int
) -> dict[str, np.ndarray]:
    """Several texts a row: the keys of `collate_prefix` and segment_ids, positions.

    The last token of a prefix is the first that has a label: the beginning of the continuation.
    """
    batch = collate_causal_packed(groups, rows, length, pad_token_id=pad_token_id)
    flags = [
        [np.arange(len(row["input_ids"])) < row[PREFIX_LENGTH][0] for row in group]
        for group in groups
    ]
    prefix_BT, _, _ = lay_out(flags, rows, length, 0)
    batch["labels"][:, :-1][prefix_BT[:, 1:] == 1] = IGNORED_LABEL
    return {**batch, "prefix_mask": prefix_BT}
