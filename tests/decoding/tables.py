"""Models that are tables: logits that depend on the position and on the last two tokens.

Letters: C positions told apart, B batch, N hypotheses, S source or prompt length, V vocabulary.
"""

import functools
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import lax

from flaxformers_edu.decoding import decode

# The position takes part so that no two sequences are made of the same transitions: ties are rare.


@struct.dataclass
class TableCache:
    """What a table needs to know of the tokens before the newest one."""

    position_BN: Any
    previous_BN: Any


def start_cache(input_ids_BS, attention_mask_BS, num_beams):
    """The cache before the last prompt token; padding on the left is not looked at."""
    B, S = input_ids_BS.shape
    position_B = attention_mask_BS.sum(axis=1) - 1
    if S > 1:
        previous_B = jnp.where(attention_mask_BS[:, -2] == 1, input_ids_BS[:, -2], 0)
    else:
        previous_B = jnp.zeros(B, jnp.int32)

    def spread(x_B):
        return jnp.broadcast_to(x_B.astype(jnp.int32)[:, None], (B, num_beams))

    return TableCache(spread(position_B), spread(previous_B))


def table_step(table_CVV_V):
    """The step of a table [C, V, V, V]: position, token before, newest token -> logits."""
    table_CVV_V = jnp.asarray(table_CVV_V)

    def step(tokens_BN, cache):
        position_BN = cache.position_BN % table_CVV_V.shape[0]
        logits_BNV = table_CVV_V[position_BN, cache.previous_BN, tokens_BN]
        return logits_BNV, TableCache(cache.position_BN + 1, tokens_BN)

    return step


def random_table(seed, positions, vocab_size, scale=2.0):
    """A float32 table of normal logits."""
    generator = np.random.default_rng(seed)
    shape = (positions, vocab_size, vocab_size, vocab_size)
    return (scale * generator.standard_normal(shape)).astype(np.float32)


@functools.partial(jax.jit, static_argnames="max_new_tokens")
def search(table, strategy, prompt, mask, max_new_tokens, rng=None):
    """Decodes a table model with a strategy; compiled once for a shape and the static settings."""
    cache = start_cache(prompt, mask, strategy.num_hypotheses)
    return decode(
        table_step(table),
        strategy,
        cache,
        prompt,
        max_new_tokens=max_new_tokens,
        prompt_mask_BP=mask,
        rng=rng,
    )


def bigrams(probabilities):
    """A table that looks at the newest token only, from rows of probabilities."""
    logits_VV = np.log(np.asarray(probabilities, np.float32))
    V = len(logits_VV)
    return jnp.asarray(np.broadcast_to(logits_VV[None, None], (1, V, V, V)))


def rows(found, b=0):
    """[(tokens, score)] of batch row b, without prompt (one token) and padding."""
    return [
        (np.asarray(found.sequences[b, i, 1 : 1 + found.lengths[b, i]]).tolist(), float(score))
        for i, score in enumerate(found.scores[b])
    ]


@dataclass(frozen=True)
class TableConfig:
    vocab_size: int = 13
    positions: int = 7
    eos_token_id: Any = 1
    pad_token_id: Any = 0
    decoder_start_token_id: int = 2
    max_length: int = 48


class DecoderOnlyTable(nn.Module):
    config: TableConfig
    is_encoder_decoder = False

    def setup(self):
        V = self.config.vocab_size
        shape = (self.config.positions, V, V, V)
        self.table = self.param("table", nn.initializers.normal(2.0), shape)

    def start_cache(self, input_ids_BS, attention_mask_BS, *, num_beams, max_new_tokens):
        del max_new_tokens
        return start_cache(input_ids_BS, attention_mask_BS, num_beams)

    def decode_step(self, tokens_BN, cache):
        return table_step(self.table)(tokens_BN, cache)


@struct.dataclass
class SourceCache:
    """A table's cache beside what was read of the source, which all hypotheses share."""

    decoder: TableCache
    source_BV: Any

    def reorder(self, parents_BN):
        def gather(x_BN):
            return jnp.take_along_axis(x_BN, parents_BN, axis=1)

        decoder = TableCache(gather(self.decoder.position_BN), gather(self.decoder.previous_BN))
        return self.replace(decoder=decoder)


class EncoderDecoderTable(nn.Module):
    config: TableConfig
    is_encoder_decoder = True

    def setup(self):
        V = self.config.vocab_size
        shape = (self.config.positions, V, V, V)
        self.table = self.param("table", nn.initializers.normal(2.0), shape)
        self.encoder = self.param("encoder", nn.initializers.normal(2.0), (V, V))

    def start_cache(self, input_ids_BS, attention_mask_BS, *, num_beams, max_new_tokens):
        del max_new_tokens
        weight_BS1 = attention_mask_BS[..., None].astype(jnp.float32)
        source_BV = (self.encoder[input_ids_BS] * weight_BS1).sum(axis=1)
        nothing_BN = jnp.zeros((input_ids_BS.shape[0], num_beams), jnp.int32)
        return SourceCache(TableCache(nothing_BN, nothing_BN), source_BV)

    def decode_step(self, tokens_BN, cache):
        logits_BNV, decoder = table_step(self.table)(tokens_BN, cache.decoder)
        source_BNV = lax.broadcast_in_dim(cache.source_BV, logits_BNV.shape, (0, 2))
        return logits_BNV + source_BNV, cache.replace(decoder=decoder)
