"""Texts as the prompts of a decoder-only model: tokens, checked, in left-padded batches.

Letters: B prompts of a batch, P prompt length.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from flaxformers_edu.errors import InputError
from flaxformers_edu.text.batching import bucket_boundaries
from flaxformers_edu.text.tokenizer import Tokenizer

SHORTEST = 16
"""Length of the shortest batch: every length is a program to compile."""


def prompt_tokens(tokenizer: Tokenizer, text: str) -> list[int]:
    """A text in the tokeniser's template, but without the end that the template may put behind it.

    An empty text is the token that texts begin with, or, where they begin with none, the one that
    ends the text before (Radford et al. 2019).

    Raises:
        InputError: it is no text, or an empty one, and there is no such token.
    """
    if not isinstance(text, str):
        raise InputError(f"prompt {text!r} is not a text")
    around, _ = tokenizer.join([])
    tokens, _ = tokenizer.join(tokenizer.encode(text, add_eos=False))
    if around and around[-1] == tokenizer.eos_token_id:
        tokens = tokens[:-1]
    if tokens:
        return tokens
    first = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if first is None:
        raise InputError("a prompt is empty, and the tokeniser has no token that texts begin with")
    return [first]


def check_room(model: Any, rows: Sequence[Sequence[int]], max_new_tokens: int) -> None:
    """Raises InputError for a prompt that, with what is to follow, is longer than the context."""
    longest = model.config.max_length
    for number, row in enumerate(rows, start=1):
        # The very last token that is generated is never read.
        if len(row) + max_new_tokens - 1 > longest:
            raise InputError(
                f"prompt {number} has {len(row)} tokens; with max_new_tokens={max_new_tokens} that "
                f"is more than the model's {longest} positions: shorten the prompt, or ask for "
                "fewer tokens"
            )


def left_padded(
    model: Any, rows: Sequence[Sequence[int]], max_new_tokens: int
) -> tuple[np.ndarray, np.ndarray]:
    """Ids and mask, int32 [B, P]; P is one of a few lengths."""
    room = model.config.max_length - max_new_tokens + 1
    longest = max(map(len, rows))
    buckets = bucket_boundaries(model.config.max_length, SHORTEST)
    length = min(room, buckets[int(np.searchsorted(buckets, longest))])
    pad = getattr(model.config, "pad_token_id", None) or 0
    ids_BP: np.ndarray = np.full((len(rows), length), pad, np.int32)
    for index, row in enumerate(rows):
        ids_BP[index, length - len(row) :] = row
    lengths = np.array([[len(row)] for row in rows])
    return ids_BP, (np.arange(length)[None] >= length - lengths).astype(np.int32)
