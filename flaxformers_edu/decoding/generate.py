"""`generate`: from a model and a batch of prompts to sequences, as Hugging Face's `generate` does.

Letters: B batch, S source length, P prompt length, N hypotheses a batch row, V vocabulary,
M max new tokens, n sequences returned for each batch row.
"""

import functools
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from flax import struct

from flaxformers_edu.decoding.loop import Decoded, Strategy, decode
from flaxformers_edu.decoding.request import Request, prompt_of, start_cache, step_of
from flaxformers_edu.decoding.settings import Settings


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
    no_repeat_ngram_size: int = 0,
    suppress_tokens: Sequence[int] = (),
    bad_words_ids: Sequence[Sequence[int]] = (),
    stop_sequences: Sequence[Sequence[int]] = (),
    forced_bos_token_id: Any = None,
    forced_eos_token_id: Any = None,
    decoder_start_token_id: int | None = None,
    scorer: str = "huggingface",
) -> Generated:
    """Generates by greedy search, by sampling (`do_sample`) or by beam search (`num_beams` > 1).

    Compiled once for a model, a shape and the kind of search. Another value of `length_penalty`,
    `temperature`, `top_p`, `min_p`, `repetition_penalty`, `min_new_tokens` or `rng`, or as many
    other tokens in `suppress_tokens`, `bad_words_ids` and `stop_sequences`, does not compile again;
    switching one of these rules on or off does.

    Args:
      model: a module that decodes. It has `is_encoder_decoder`, `config`, and the methods
        `start_cache(input_ids, attention_mask, *, num_beams, max_new_tokens) -> cache` and
        `decode_step(tokens_BN, cache) -> (logits_BNV, cache)`. If it has
        `for_decoding(params) -> (model, params)`, the model that this returns is used instead.
      params: its parameters.
      input_ids: int [B, S], numpy or jax: the source of an encoder-decoder, else the prompt.
      attention_mask: [B, S], 1 for tokens and 0 for padding; None means that nothing is padding.
        Prompts of a decoder-only model are padded on the left.
      rng: a key, for `do_sample`. Row b draws the same whatever the other rows are, see `Sampling`.

    The other arguments are the fields of `Settings`, which says what each of them means.

    Returns:
      `Generated`. Its sequences stand in the order of the batch, a row's best first, cut after
      the longest one; inside `jit`, `vmap` and the like they keep their full length. Its scores
      are: with beams, the normalised scores that they are ranked by; else the sum of the
      log-probabilities of the new tokens, end of sequence included, under the distribution they
      were taken from.

    Raises:
      InputError: for a setting out of range or inputs that do not fit, before anything compiles.
    """
    settings = Settings(
        max_new_tokens=max_new_tokens,
        num_beams=num_beams,
        length_penalty=length_penalty,
        early_stopping=early_stopping,
        num_return_sequences=num_return_sequences,
        do_sample=do_sample,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_new_tokens=min_new_tokens,
        eos_token_id=eos_token_id,
        pad_token_id=pad_token_id,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        no_repeat_ngram_size=no_repeat_ngram_size,
        suppress_tokens=suppress_tokens,
        bad_words_ids=bad_words_ids,
        stop_sequences=stop_sequences,
        forced_bos_token_id=forced_bos_token_id,
        forced_eos_token_id=forced_eos_token_id,
        decoder_start_token_id=decoder_start_token_id,
        scorer=scorer,
    )
    asked = Request.of(model, input_ids, attention_mask, settings, rng)
    found = _generate(
        model,
        asked.max_new_tokens,
        asked.start_token_id,
        asked.strategy,
        params,
        asked.input_ids,
        asked.attention_mask,
        asked.rng,
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
    start_token_id: int | None,
    strategy: Strategy,
    params: Any,
    input_ids: Any,
    attention_mask: Any,
    rng: Any,
) -> Decoded:
    """The compiled part. The strategy's static fields, the shapes and the model are its key."""
    if hasattr(model, "for_decoding"):
        model, params = model.for_decoding(params)
    prompt_BP, prompt_mask_BP = prompt_of(start_token_id, input_ids, attention_mask)
    return decode(
        step_of(model, params),
        strategy,
        start_cache(model, params, strategy, input_ids, attention_mask, max_new_tokens),
        prompt_BP,
        max_new_tokens=max_new_tokens,
        prompt_mask_BP=prompt_mask_BP,
        rng=rng,
    )
