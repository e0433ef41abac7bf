"""What a folder says of generation, in the words of `ff.generate`, which are Hugging Face's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flaxformers_edu.interop.weights import read_json

GENERATION = "generation_config.json"
NAMES = (
    *("max_new_tokens", "min_new_tokens", "eos_token_id", "pad_token_id", "bad_words_ids"),
    *("num_beams", "length_penalty", "early_stopping", "num_return_sequences"),
    *("do_sample", "temperature", "top_k", "top_p", "min_p"),
    *("repetition_penalty", "no_repeat_ngram_size", "suppress_tokens"),
    *("forced_bos_token_id", "forced_eos_token_id", "decoder_start_token_id"),
)
TOP_K = 50
"""What Hugging Face draws among where a folder asks for samples and names no number."""


def read_generation(folder: Path) -> dict[str, Any]:
    """generation_config.json as it stands; nothing, where there is none.

    Raises:
        InputError: it is no JSON object.
    """
    return read_json(folder / GENERATION) if (folder / GENERATION).is_file() else {}


def generation_settings(said: Mapping[str, Any]) -> dict[str, Any]:
    """What `ff.generate` is to do by default, of all that a folder says.

    `max_length`, which counts the prompt, is left out, and so is what our searches do not have.
    """
    found = {name: said[name] for name in NAMES if said.get(name) is not None}
    if found.get("do_sample"):
        found.setdefault("top_k", TOP_K)
    return found
