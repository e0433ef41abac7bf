"""`generate` for language models: texts go on from prompts."""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax

from flaxformers_edu.decoding import Continuation, generate_text, stream_text
from flaxformers_edu.decoding.prompts import prompt_tokens
from flaxformers_edu.errors import InputError
from flaxformers_edu.interop import Pretrained
from train.commands.language import language_model

MOST = 128
"""New tokens where the command line does not say, if the context has room for them."""
DRAWN = ("temperature", "top_k", "top_p", "min_p", "seed")
"""Options that ask for samples."""


def complete(folder: Path, prompts: Sequence[str], options: Any) -> int:
    """The command: one text as it comes; of several, or for a file, a JSON object each."""
    found = language_model(folder, options.checkpoint)
    if found.tokenizer is None:
        raise InputError(f"{folder} has no tokeniser")
    settings = settings_of(options)
    ends = found.generation.get("eos_token_id")  # a folder may have several
    settings |= {} if ends is None else {"eos_token_id": ends}
    most = options.max_new_tokens
    settings["max_new_tokens"] = _room(found, prompts) if most is None else most
    one = settings["num_return_sequences"] == settings["num_beams"] == len(prompts) == 1
    if one and options.output is None:
        _show(_pieces(found, prompts[0], settings), prompts[0])
        return 0
    answers = generate_text(found.model, found.params, found.tokenizer, prompts, **settings)
    lines = (
        json.dumps(_as_json(prompt, continuation), ensure_ascii=False) + "\n"
        for prompt, continuations in zip(prompts, answers, strict=True)
        for continuation in continuations
    )
    if options.output is None:
        sys.stdout.writelines(lines)
    else:
        options.output.write_text("".join(lines), encoding="utf-8")
    return 0


def settings_of(options: Any) -> dict[str, Any]:
    """What `generate_text` is asked for: samples if an option of drawing is there, else none."""
    given = {name: value for name in DRAWN if (value := getattr(options, name)) is not None}
    beams, number = options.num_beams or 1, options.num_samples
    seed = given.pop("seed", 0)
    draws = options.seed is not None or bool(given) or (number > 1 and beams == 1)
    return given | {
        "do_sample": draws,
        "rng": jax.random.key(seed) if draws else None,
        "num_return_sequences": number,
        "num_beams": beams,
        "length_penalty": 1.0 if options.length_penalty is None else options.length_penalty,
        "repetition_penalty": options.repetition_penalty,
        "no_repeat_ngram_size": options.no_repeat_ngram_size,
        "min_new_tokens": options.min_new_tokens,
        "stop_strings": [stop.replace("\\n", "\n").replace("\\t", "\t") for stop in options.stop],
    }


def _room(found: Pretrained, prompts: Sequence[str]) -> int:
    """As many new tokens as the context has room for behind the longest prompt, up to a limit."""
    assert found.tokenizer is not None
    longest = max(len(prompt_tokens(found.tokenizer, prompt)) for prompt in prompts)
    return max(1, min(MOST, found.config.max_length - longest + 1))


def _pieces(found: Pretrained, prompt: str, settings: dict[str, Any]) -> Iterator[str]:
    assert found.tokenizer is not None
    beside = {"num_return_sequences", "num_beams"}
    settings = {name: value for name, value in settings.items() if name not in beside}
    return stream_text(found.model, found.params, found.tokenizer, prompt, **settings)


def _show(pieces: Iterator[str], prompt: str) -> None:
    """The prompt and what follows, piece by piece."""
    sys.stdout.write(prompt)
    for piece in pieces:
        sys.stdout.write(piece)
        sys.stdout.flush()
    sys.stdout.write("\n")


def _as_json(prompt: str, continuation: Continuation) -> dict[str, Any]:
    return {"prompt": prompt, "text": continuation.text, "ended": continuation.ended}
