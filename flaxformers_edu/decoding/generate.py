"""`generate`: from a model and a batch of prompts to sequences, as Hugging Face's `generate` does.

Letters: B batch, S source length, P prompt length, N hypotheses a batch row, V vocabulary,
M max new tokens, n sequences returned for each batch row.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from flaxformers_edu.decoding.beam import BeamSearch
from flaxformers_edu.decoding.checks import check_inputs, check_settings, token_ids
from flaxformers_edu.decoding.greedy import Greedy
from flaxformers_edu.decoding.logits import Filters, Processors
from flaxformers_edu.decoding.loop import Decoded, Strategy, decode
from flaxformers_edu.decoding.sampling import Sampling
from flaxformers_edu.decoding.scoring import SCORERS
from flaxformers_edu.errors import InputError


@struct.dataclass
class Generated:
    """What `generate` returns; the rows of a batch row's n sequences follow each other."""

    sequences: Any
    """int32 [B * n, length]: the prompt (or the decoder's start token), then the new tokens."""
    scores: Any
    """float32 [B * n]; see `generate`."""


def generate(
    model: nn.Module,
    params: Any,
    input_ids: Any,
    attention_mask: Any = None,
    *,
    max_new_tokens: int,
    num_beams: int = 1,
    length_penalty: float = 1.0,
    early_stopping: bool | str = False,
    num_return_sequences: int = 1,
    do_sample: bool = False,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    min_new_tokens: int = 0,
    eos_token_id: Any = None,
    pad_token_id: int | None = None,
    rng: Any = None,
    min_p: float = 0.0,
    repetition_penalty: float = 1.0,
    forced_bos_token_id: Any = None,
    forced_eos_token_id: Any = None,
    decoder_start_token_id: int | None = None,
    scorer: str = "huggingface",
) -> Generated:
    """Generates by greedy search, by sampling (`do_sample`) or by beam search (`num_beams` > 1).

    Compiled once for a model, a shape and the kind of search. Another value of `length_penalty`,
    `temperature`, `top_p`, `min_p`, `repetition_penalty`, `min_new_tokens` or `rng` does not
    compile again; switching one of these rules on or off does.

    Args:
      model: a module that decodes. It has `is_encoder_decoder`, `config`, and the methods
        `start_cache(input_ids, attention_mask, *, num_beams, max_new_tokens) -> cache` and
        `decode_step(tokens_BN, cache) -> (logits_BNV, cache)`. If it has
        `for_decoding(params) -> (model, params)`, the model that this returns is used instead.
      params: its parameters.
      input_ids: int [B, S], numpy or jax: the source of an encoder-decoder, else the prompt.
      attention_mask: [B, S], 1 for tokens and 0 for padding; None means that nothing is padding.
        Prompts of a decoder-only model are padded on the left.
      max_new_tokens: M.
      num_beams: N; 1 means no beam search.
      length_penalty, early_stopping: of beam search, see `BeamSearch`.
      num_return_sequences: at most `num_beams` with beam search, any number with sampling.
      do_sample: draw the tokens; needs `rng`, excludes beam search.
      temperature, top_k, top_p, min_p: what sampling draws from, see `Filters`; 1.0, 0, 1.0 and
        0.0 switch them off. Without `do_sample` they have no effect.
      min_new_tokens: no end of sequence before that many.
      eos_token_id: int or sequence of ints; None takes the config's, `()` means that there is none.
      pad_token_id: None takes the config's; if it has none, the first end-of-sequence token.
      rng: a key. Row b draws the same whatever the other rows are, see `Sampling`.
      repetition_penalty: above 1 discourages tokens seen before; 1.0 switches it off.
      forced_bos_token_id: the token after a prompt, or a decoder's start, of one token.
      forced_eos_token_id: the token that the last place gets. Both may be sequences;
        None takes the config's if it has one, `()` means that there is none.
      decoder_start_token_id: of an encoder-decoder; None takes the config's.
      scorer: "huggingface" divides a beam's score by length ** length_penalty, "gnmt" by
        ((5 + length) / 6) ** length_penalty.

    Returns:
      `Generated`. Its sequences stand in the order of the batch, a row's best first, cut after
      the longest one; inside `jit`, `vmap` and the like they keep their full length. Its scores
      are: with beams, the normalised scores that they are ranked by; else the sum of the
      log-probabilities of the new tokens, end of sequence included, under the distribution they
      were taken from.

    Raises:
      InputError: for a setting out of range or inputs that do not fit, before anything compiles.
    """
    config = model.config
    vocab_size = config.vocab_size
    check_settings(
        max_new_tokens=max_new_tokens,
        min_new_tokens=min_new_tokens,
        num_beams=num_beams,
        num_return_sequences=num_return_sequences,
        early_stopping=early_stopping,
        length_penalty=length_penalty,
        do_sample=do_sample,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        rng=rng,
        scorer=scorer,
    )

    def tokens(name: str, given: Any) -> tuple[int, ...]:
        return token_ids(name, given, getattr(config, name, None), vocab_size)

    eos = tokens("eos_token_id", eos_token_id)
    pad = tokens("pad_token_id", pad_token_id)
    processors = Processors(
        repetition_penalty=_scalar(repetition_penalty, off=1.0),
        min_new_tokens=np.int32(min_new_tokens) if min_new_tokens and eos else None,
        eos_token_ids=eos,
        forced_bos_token_ids=tokens("forced_bos_token_id", forced_bos_token_id),
        forced_eos_token_ids=tokens("forced_eos_token_id", forced_eos_token_id),
    )
    strategy: Strategy
    if num_beams > 1:
        needed = max(2, 1 + len(eos))
        if vocab_size < needed:
            raise InputError(
                f"vocab_size {vocab_size} is too small for beam search with {len(eos)} "
                f"end-of-sequence tokens; it needs at least {needed}"
            )
        strategy = BeamSearch(
            processors=processors,
            length_penalty=np.float32(length_penalty),
            num_beams=num_beams,
            num_return_sequences=num_return_sequences,
            early_stopping=early_stopping,
            eos_token_ids=eos,
            pad_token_id=pad[0] if pad else None,
            scorer=SCORERS[scorer],
        )
    else:
        common: dict[str, Any] = {
            "processors": processors,
            "eos_token_ids": eos,
            "pad_token_id": (pad or eos or (0,))[0],
        }
        if do_sample:
            filters = Filters(
                temperature=_scalar(temperature, off=1.0),
                top_k=top_k or None,
                top_p=_scalar(top_p, off=1.0),
                min_p=_scalar(min_p, off=0.0),
            )
            strategy = Sampling(filters=filters, num_samples=num_return_sequences, **common)
        else:
            strategy = Greedy(**common)

    start = None
    if model.is_encoder_decoder:
        start = tokens("decoder_start_token_id", decoder_start_token_id)
        if len(start) != 1:
            raise InputError(
                "decoder_start_token_id: an encoder-decoder needs one token to start from; "
                f"neither the call nor the config names one (got {start})"
            )
    input_ids, attention_mask = check_inputs(model, input_ids, attention_mask, vocab_size)
    try:
        hash(model)
    except TypeError as error:
        raise InputError(f"model {type(model).__name__} must be hashable: {error}") from error

    found = _generate(
        model,
        max_new_tokens,
        start[0] if start else None,
        strategy,
        params,
        input_ids,
        attention_mask,
        rng if do_sample else None,
    )
    B, n, length = found.sequences.shape
    sequences = found.sequences.reshape(B * n, length)
    if not isinstance(found.lengths, jax.core.Tracer):
        prompt_length = length - max_new_tokens
        sequences = sequences[:, : prompt_length + int(np.max(found.lengths))]
    return Generated(sequences, found.scores.reshape(B * n))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _generate(
    model: nn.Module,
    max_new_tokens: int,
    decoder_start_token_id: int | None,
    strategy: Strategy,
    params: Any,
    input_ids: Any,
    attention_mask: Any,
    rng: Any,
) -> Decoded:
    """The compiled part. The strategy's static fields, the shapes and the model are its key."""
    if hasattr(model, "for_decoding"):
        model, params = model.for_decoding(params)
    variables = {"params": params}
    cache = model.apply(
        variables,
        input_ids,
        attention_mask,
        num_beams=strategy.num_hypotheses,
        max_new_tokens=max_new_tokens,
        method="start_cache",
    )
    if decoder_start_token_id is None:
        prompt_BP, prompt_mask_BP = input_ids, attention_mask
    else:
        prompt_BP = jnp.full((input_ids.shape[0], 1), decoder_start_token_id, jnp.int32)
        prompt_mask_BP = None

    def step(tokens_BN: Any, cache: Any) -> tuple[Any, Any]:
        return model.apply(variables, tokens_BN, cache, method="decode_step")

    return decode(
        step,
        strategy,
        cache,
        prompt_BP,
        max_new_tokens=max_new_tokens,
        prompt_mask_BP=prompt_mask_BP,
        rng=rng,
    )


def _scalar(value: float, *, off: float) -> np.float32 | None:
    """The value as a traced scalar, or None where it has no effect."""
    return None if value == off else np.float32(value)
