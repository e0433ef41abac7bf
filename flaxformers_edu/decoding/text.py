"""Texts in, texts out: prompts as left-padded batches, and samples that end at stop strings.

Letters: B prompts of a batch, P prompt length, n samples a prompt, K tokens of one stretch.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from flaxformers_edu.decoding.generate import generate
from flaxformers_edu.decoding.lines import Continuation, Ends, Line
from flaxformers_edu.decoding.prompts import check_room, left_padded, prompt_tokens
from flaxformers_edu.decoding.settings import token_ids
from flaxformers_edu.decoding.stream import Stream
from flaxformers_edu.errors import InputError
from flaxformers_edu.text.tokenizer import Tokenizer

CHUNK = 16
"""Steps between looks for a stop string: at most so many are made in vain at the end."""


def generate_text(
    model: nn.Module,
    params: Any,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    stop_strings: Sequence[str] = (),
    batch_size: int = 8,
    rng: Any = None,
    **settings: Any,
) -> list[list[Continuation]]:
    """Continues each prompt: a list of `num_return_sequences` continuations for each.

    Prompts go in batches, in their order, padded on the left to one of a few lengths. With
    `stop_strings` the search is looked at every few steps, and a sample ends when its text has one.

    Args:
      model: a decoder-only module, as `generate` takes it.
      params: its parameters.
      tokenizer: the model's own.
      prompts: texts; an empty one stands for the token that texts begin with.
      max_new_tokens: of each continuation, at most.
      stop_strings: a continuation ends before the first of them; not with beams.
      batch_size: prompts that are continued at once; a last batch is filled up.
      rng: a key, for `do_sample`; batch i draws with fold_in(rng, i).
      **settings: as `generate` takes them.

    Raises:
      InputError: a prompt that does not fit, or a setting out of range.
    """
    settings["max_new_tokens"] = max_new_tokens
    ends = _ends(model, stop_strings, settings)
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}; it must be at least 1")
    rows = [prompt_tokens(tokenizer, prompt) for prompt in prompts]
    check_room(model, rows, max_new_tokens)
    n, found = settings.get("num_return_sequences", 1), []
    for number, start in enumerate(range(0, len(rows), batch_size)):
        chosen = rows[start : start + batch_size]
        chosen += [chosen[-1]] * (min(batch_size, len(rows)) - len(chosen))
        settings["rng"] = None if rng is None else jax.random.fold_in(rng, number)
        lines = [Line(tokenizer, row, ends) for row in chosen for _ in range(n)]
        _write(lines, model, params, left_padded(model, chosen, max_new_tokens), settings)
        found += [[line.finished() for line in lines[i : i + n]] for i in range(0, len(lines), n)]
    return found[: len(rows)]


def _write(lines: list[Line], model: Any, params: Any, inputs: Any, settings: Any) -> None:
    """Gives each line of a batch its tokens."""
    if not lines[0].ends.strings:
        sequences = np.asarray(generate(model, params, *inputs, **settings).sequences)
        for line, tokens in zip(lines, sequences[:, inputs[0].shape[1] :].tolist(), strict=True):
            for token in tokens:
                line.add(token)
        return
    stream = Stream(model, params, *inputs, chunk=CHUNK, **settings)
    for tokens_BnK in stream:
        for line, tokens in zip(lines, tokens_BnK.tolist(), strict=True):
            for token in tokens:
                line.add(token)
        stream.end([line.has_ended for line in lines])


def stream_text(
    model: nn.Module,
    params: Any,
    tokenizer: Tokenizer,
    prompt: str,
    *,
    max_new_tokens: int,
    stop_strings: Sequence[str] = (),
    chunk: int = 1,
    rng: Any = None,
    **settings: Any,
) -> Iterator[str]:
    """The text behind one prompt as it comes, the same as `generate_text` gives at once.

    Greedy search, or one sample (`do_sample`). Arguments and errors are those of `generate_text`;
    `chunk` is that of `Stream`.
    """
    settings["max_new_tokens"] = max_new_tokens
    if settings.get("num_return_sequences", 1) != 1:
        raise InputError("num_return_sequences must be 1 to stream a text")
    row = prompt_tokens(tokenizer, prompt)
    check_room(model, [row], max_new_tokens)
    line = Line(tokenizer, row, _ends(model, stop_strings, settings))
    # As the first batch of generate_text draws.
    settings["rng"] = None if rng is None else jax.random.fold_in(rng, 0)
    inputs = left_padded(model, [row], max_new_tokens)
    return _pieces(Stream(model, params, *inputs, chunk=chunk, **settings), line)


def _pieces(stream: Stream, line: Line) -> Iterator[str]:
    for tokens_1K in stream:
        if piece := "".join(line.add(token) for token in tokens_1K[0].tolist()):
            yield piece
        if line.has_ended:
            break
    if rest := line.rest():
        yield rest


def _ends(model: Any, stop_strings: Sequence[str], settings: dict[str, Any]) -> Ends:
    """What ends a continuation.

    Raises:
      InputError: an encoder-decoder, an empty stop string, or stop strings for a beam search.
    """
    if model.is_encoder_decoder:
        raise InputError(f"a {type(model).__name__} continues no prompts; use generate")
    if isinstance(stop_strings, str) or not all(stop_strings):
        raise InputError(f"stop_strings is {stop_strings!r}; it must be texts, none empty")
    if stop_strings and settings.get("num_beams", 1) != 1:
        raise InputError(
            "stop_strings end greedy search and samples, for beams are not texts before their end: "
            "give stop_sequences, or leave num_beams at 1"
        )
    config = model.config
    given, default = settings.get("eos_token_id"), getattr(config, "eos_token_id", None)
    return Ends(
        token_ids("eos_token_id", given, default, config.vocab_size),
        tuple(tuple(sequence) for sequence in settings.get("stop_sequences", ())),
        tuple(stop_strings),
    )
