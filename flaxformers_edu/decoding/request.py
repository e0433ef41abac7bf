"""From what a caller asks for to what is compiled: the strategy, and the inputs, all checked.

Letters: B batch, S source length, P prompt length, N hypotheses a batch row, M max new tokens.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from flaxformers_edu.decoding.beam import BeamSearch
from flaxformers_edu.decoding.checks import check_inputs
from flaxformers_edu.decoding.greedy import Greedy
from flaxformers_edu.decoding.logits import Filters, Processors
from flaxformers_edu.decoding.loop import Step, Strategy
from flaxformers_edu.decoding.sampling import Sampling
from flaxformers_edu.decoding.scoring import SCORERS
from flaxformers_edu.decoding.sequences import as_rows
from flaxformers_edu.decoding.settings import Settings, token_ids
from flaxformers_edu.errors import InputError


@dataclasses.dataclass(frozen=True)
class Request:
    """A search that can be compiled."""

    max_new_tokens: int
    start_token_id: int | None
    """Of an encoder-decoder, whose prompt it is."""
    strategy: Strategy
    input_ids: Any
    """int32 [B, S]."""
    attention_mask: Any
    """int32 [B, S]."""
    rng: Any
    """A key, None where nothing is drawn."""

    @classmethod
    def of(
        cls, model: nn.Module, input_ids: Any, attention_mask: Any, settings: Settings, rng: Any
    ) -> "Request":
        """What `generate` was asked for.

        Raises:
            InputError: a setting out of range, or inputs that do not fit.
        """
        config = model.config
        settings.check(config.vocab_size, rng)
        strategy = strategy_of(settings, config)
        start = _start_token(settings, config) if model.is_encoder_decoder else None
        longest = settings.max_new_tokens
        input_ids, attention_mask = check_inputs(model, input_ids, attention_mask, longest)
        try:
            hash(model)
        except TypeError as error:
            raise InputError(f"model {type(model).__name__} must be hashable: {error}") from error
        rng = rng if settings.do_sample else None
        return cls(longest, start, strategy, input_ids, attention_mask, rng)


def strategy_of(settings: Settings, config: Any) -> Strategy:
    """How the next tokens are chosen. Values are traced scalars, or None where they do nothing."""
    eos = _tokens("eos_token_id", settings, config)
    pad = _tokens("pad_token_id", settings, config)
    least = settings.min_new_tokens
    suppressed = [[token] for token in settings.suppress_tokens]
    bad_words = [s for s in settings.bad_words_ids if not (len(s) == 1 and s[0] in eos)]
    processors = Processors(
        repetition_penalty=_scalar(settings.repetition_penalty, off=1.0),
        no_repeat_ngram_size=settings.no_repeat_ngram_size,
        banned_SW=as_rows([*suppressed, *bad_words]),
        min_new_tokens=np.int32(least) if least and eos else None,
        eos_token_ids=eos,
        forced_bos_token_ids=_tokens("forced_bos_token_id", settings, config),
        forced_eos_token_ids=_tokens("forced_eos_token_id", settings, config),
    )
    common: dict[str, Any] = {
        "processors": processors,
        "stop_SW": as_rows(settings.stop_sequences),
        "eos_token_ids": eos,
    }
    if settings.num_beams > 1:
        needed = max(2, 1 + len(eos))
        if config.vocab_size < needed:
            raise InputError(
                f"vocab_size {config.vocab_size} is too small for beam search with {len(eos)} "
                f"end-of-sequence tokens; it needs at least {needed}"
            )
        return BeamSearch(
            length_penalty=np.float32(settings.length_penalty),
            num_beams=settings.num_beams,
            num_return_sequences=settings.num_return_sequences,
            early_stopping=settings.early_stopping,
            pad_token_id=pad[0] if pad else None,
            scorer=SCORERS[settings.scorer],
            **common,
        )
    common["pad_token_id"] = (pad or eos or (0,))[0]
    if not settings.do_sample:
        return Greedy(**common)
    filters = Filters(
        temperature=_scalar(settings.temperature, off=1.0),
        top_k=settings.top_k or None,
        top_p=_scalar(settings.top_p, off=1.0),
        min_p=_scalar(settings.min_p, off=0.0),
    )
    return Sampling(filters=filters, num_samples=settings.num_return_sequences, **common)


def step_of(model: nn.Module, params: Any) -> Step:
    """The model's step, in the form to decode with."""

    def step(tokens_BN: Any, cache: Any) -> tuple[Any, Any]:
        return model.apply({"params": params}, tokens_BN, cache, method="decode_step")

    return step


def prompt_of(
    start_token_id: int | None, input_ids: Any, attention_mask: Any
) -> tuple[Any, Any | None]:
    """What the new tokens go on from, and its mask: the inputs, or a decoder's start."""
    if start_token_id is None:
        return input_ids, attention_mask
    return jnp.full((input_ids.shape[0], 1), start_token_id, jnp.int32), None


def start_cache(
    model: nn.Module,
    params: Any,
    strategy: Strategy,
    input_ids: Any,
    attention_mask: Any,
    max_new_tokens: int,
) -> Any:
    """The cache before the first step: inputs are read once for all hypotheses of a row."""
    return model.apply(
        {"params": params},
        input_ids,
        attention_mask,
        num_beams=strategy.num_hypotheses,
        max_new_tokens=max_new_tokens,
        method="start_cache",
    )


def _tokens(name: str, settings: Settings, config: Any) -> tuple[int, ...]:
    given, default = getattr(settings, name), getattr(config, name, None)
    return token_ids(name, given, default, config.vocab_size)


def _start_token(settings: Settings, config: Any) -> int:
    start = _tokens("decoder_start_token_id", settings, config)
    if len(start) != 1:
        raise InputError(
            "decoder_start_token_id: an encoder-decoder needs one token to start from; "
            f"neither the call nor the config names one (got {start})"
        )
    return start[0]


def _scalar(value: float, *, off: float) -> np.float32 | None:
    """The value as a traced scalar, or None where it has no effect."""
    return None if value == off else np.float32(value)
