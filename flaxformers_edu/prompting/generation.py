"""Texts that a model writes after prompts, up to a stop string."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flaxformers_edu.decoding import generate
from flaxformers_edu.decoding.prompts import check_room, left_padded
from flaxformers_edu.interop import Pretrained
from flaxformers_edu.prompting.tokens import Ids, Reader


@dataclass(frozen=True)
class Writing:
    """How a text is written."""

    max_new_tokens: int
    """Longest text."""
    stop: tuple[str, ...] = ()
    """What ends it, besides the model's own end of a text."""
    num_beams: int = 1
    """Beam width; 1 is greedy search."""
    length_penalty: float = 1.0
    """Exponent on the length, in beam search."""


def cut_at(text: str, stop: Sequence[str]) -> str:
    """The text before the first of these.

    >>> cut_at("yes. Question: no", (".", "Question:"))
    'yes'
    """
    ends = (text.find(one) for one in stop)
    return text[: min((end for end in ends if end >= 0), default=len(text))]


def write_after(
    pretrained: Pretrained,
    contexts: Sequence[Ids],
    writing: Writing,
    *,
    batch_size: int = 8,
) -> list[str]:
    """What follows each context, without the stop string.

    Contexts go in batches of one size and few lengths, shortest first.

    Raises:
        InputError: a context that leaves no room for `max_new_tokens`, or settings out of range.
    """
    reader, model = Reader.of(pretrained), pretrained.model
    check_room(model, contexts, writing.max_new_tokens)
    # The search ends early at these tokens; the same text in others is found afterwards.
    stops = [ids for ids in map(reader.encode, writing.stop) if ids]
    texts = [""] * len(contexts)
    order = sorted(range(len(contexts)), key=lambda index: len(contexts[index]))
    for start in range(0, len(order), batch_size):
        some = order[start : start + batch_size]
        rows = [contexts[index] for index in some]
        rows += rows[-1:] * (batch_size - len(rows))
        ids_BP, mask_BP = left_padded(model, rows, writing.max_new_tokens)
        found = generate(
            model,
            pretrained.params,
            ids_BP,
            mask_BP,
            max_new_tokens=writing.max_new_tokens,
            num_beams=writing.num_beams,
            length_penalty=writing.length_penalty,
            stop_sequences=stops,
        )
        new = np.asarray(found.sequences)[:, ids_BP.shape[1] :].tolist()
        for index, ids in zip(some, new, strict=False):
            written = _before(ids, pretrained.config.eos_token_id)
            texts[index] = cut_at(reader.tokenizer.decode(written), writing.stop)
    return texts


def _before(ids: list[int], end: int | None) -> list[int]:
    """The tokens before the end of a text: what follows is padding, whatever token that is."""
    return ids[: ids.index(end)] if end in ids else ids
