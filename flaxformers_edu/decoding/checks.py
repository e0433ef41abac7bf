"""What is checked of the inputs of a search before anything compiles."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from flaxformers_edu.errors import InputError


def check_inputs(
    model: nn.Module, input_ids: Any, attention_mask: Any, max_new_tokens: int
) -> tuple[Any, Any]:
    """Ids and mask as int32 [B, S]. Values are looked at only when they are concrete.

    Raises:
        InputError: they do not fit each other, or the model.
    """
    vocab_size = model.config.vocab_size
    if not hasattr(input_ids, "dtype"):
        input_ids = np.asarray(input_ids)
    if input_ids.ndim != 2 or input_ids.size == 0 or input_ids.dtype.kind not in "iu":
        raise InputError(
            f"input_ids has shape {tuple(input_ids.shape)} and type {input_ids.dtype}; "
            "it must be a matrix of integers, [batch, length], with at least one token a row"
        )
    shape = tuple(input_ids.shape)
    longest = getattr(model.config, "max_length", None)
    # The very last token that is generated is never read.
    if not model.is_encoder_decoder and longest and shape[1] + max_new_tokens - 1 > longest:
        raise InputError(
            f"a prompt of {shape[1]} tokens and max_new_tokens={max_new_tokens} are more than the "
            f"{longest} positions of the model: shorten the prompt, or ask for fewer tokens"
        )
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
