"""What `generate` checks before anything compiles: every setting, the token ids, the inputs."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from flaxformers_edu.decoding.scoring import SCORERS
from flaxformers_edu.errors import InputError, unknown_name


def check_settings(
    *,
    max_new_tokens: int,
    min_new_tokens: int,
    num_beams: int,
    num_return_sequences: int,
    early_stopping: bool | str,
    length_penalty: float,
    do_sample: bool,
    temperature: float,
    top_k: int,
    top_p: float,
    min_p: float,
    repetition_penalty: float,
    rng: Any,
    scorer: str,
) -> None:
    """Raises InputError for the first setting that is out of range."""

    def need(condition: bool, name: str, value: object, allowed: str) -> None:
        if not condition:
            raise InputError(f"{name} is {value!r}; it must be {allowed}")

    def whole(value: Any) -> bool:
        return isinstance(value, int | np.integer) and not isinstance(value, bool)

    def number(value: Any) -> bool:
        real = isinstance(value, int | float | np.integer | np.floating)
        return real and not isinstance(value, bool) and math.isfinite(value)

    def count(name: str, value: Any, lowest: int) -> None:
        need(whole(value) and value >= lowest, name, value, f"a whole number >= {lowest}")

    count("max_new_tokens", max_new_tokens, 1)
    count("min_new_tokens", min_new_tokens, 0)
    need(
        min_new_tokens <= max_new_tokens,
        "min_new_tokens",
        min_new_tokens,
        f"at most max_new_tokens, {max_new_tokens}",
    )
    count("num_beams", num_beams, 1)
    count("num_return_sequences", num_return_sequences, 1)
    count("top_k", top_k, 0)
    need(
        early_stopping is True or early_stopping is False or early_stopping == "never",
        "early_stopping",
        early_stopping,
        'True, False or "never"',
    )
    need(number(length_penalty), "length_penalty", length_penalty, "a finite number")
    need(
        number(temperature) and temperature > 0,
        "temperature",
        temperature,
        "a finite number > 0 (for the limit at 0, leave out do_sample)",
    )
    need(number(top_p) and 0 <= top_p <= 1, "top_p", top_p, "in [0, 1]")
    need(number(min_p) and 0 <= min_p <= 1, "min_p", min_p, "in [0, 1]")
    need(
        number(repetition_penalty) and repetition_penalty > 0,
        "repetition_penalty",
        repetition_penalty,
        "a finite number > 0",
    )
    if scorer not in SCORERS:
        raise unknown_name("scorer", scorer, SCORERS)
    if do_sample:
        need(num_beams == 1, "num_beams", num_beams, "1 when do_sample is set")
        need(rng is not None, "rng", rng, "a key, such as jax.random.key(0), to sample with")
    elif num_beams > 1:
        need(
            num_return_sequences <= num_beams,
            "num_return_sequences",
            num_return_sequences,
            f"at most num_beams, {num_beams}",
        )
    else:
        need(
            num_return_sequences == 1,
            "num_return_sequences",
            num_return_sequences,
            "1 in greedy search (set num_beams or do_sample for more)",
        )


def token_ids(name: str, given: Any, default: Any, vocab_size: int) -> tuple[int, ...]:
    """Token ids as a tuple: what was given (checked against the vocabulary) or the config's."""
    value = default if given is None else given
    if value is None:
        return ()
    array = np.asarray(value if not isinstance(value, tuple | list) else list(value))
    if array.size == 0:
        return ()
    if array.dtype.kind not in "iu" or array.ndim > 1:
        raise InputError(f"{name} is {value!r}; it must be a token id or a sequence of them")
    ids = tuple(int(token_id) for token_id in array.reshape(-1))
    if given is not None and not all(0 <= token_id < vocab_size for token_id in ids):
        raise InputError(
            f"{name} is {value!r}; token ids lie in [0, vocab_size) = [0, {vocab_size})"
        )
    return ids


def check_inputs(
    model: nn.Module, input_ids: Any, attention_mask: Any, vocab_size: int
) -> tuple[Any, Any]:
    """Ids and mask as int32 [B, S]. Values are looked at only when they are concrete."""
    if not hasattr(input_ids, "dtype"):
        input_ids = np.asarray(input_ids)
    if input_ids.ndim != 2 or input_ids.size == 0 or input_ids.dtype.kind not in "iu":
        raise InputError(
            f"input_ids has shape {tuple(input_ids.shape)} and type {input_ids.dtype}; "
            "it must be a matrix of integers, [batch, length], with at least one token a row"
        )
    shape = tuple(input_ids.shape)
    if not isinstance(input_ids, jax.core.Tracer):
        lowest, highest = int(np.min(input_ids)), int(np.max(input_ids))
        if lowest < 0 or highest >= vocab_size:
            wrong = lowest if lowest < 0 else highest
            raise InputError(
                f"input_ids holds {wrong}; token ids lie in [0, vocab_size) = [0, {vocab_size})"
            )
    if attention_mask is None:
        return jnp.asarray(input_ids, jnp.int32), jnp.ones(shape, jnp.int32)

    if not hasattr(attention_mask, "dtype"):
        attention_mask = np.asarray(attention_mask)
    if tuple(attention_mask.shape) != shape:
        raise InputError(
            f"attention_mask has shape {tuple(attention_mask.shape)}; "
            f"it must be that of input_ids, {shape}"
        )
    if not isinstance(attention_mask, jax.core.Tracer):
        # Methods of the array, not of its copy here: other processes may hold parts of it.
        if bool(((attention_mask != 0) & (attention_mask != 1)).any()):
            raise InputError(
                "attention_mask must hold 1 for tokens and 0 for padding, nothing else"
            )
        if not model.is_encoder_decoder and bool((attention_mask[:, -1] == 0).any()):
            row = int(attention_mask[:, -1].argmin())
            raise InputError(
                f"attention_mask ends with 0 in row {row}; "
                "prompts of a decoder-only model must be padded on the left"
            )
    return jnp.asarray(input_ids, jnp.int32), jnp.asarray(attention_mask, jnp.int32)
