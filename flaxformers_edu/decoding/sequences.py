"""What the tokens that a hypothesis has behind it say of its next one: seen, banned, ended.

Letters: B batch, N hypotheses a batch row, V vocabulary, P prompt length, M max new tokens,
L = P + M places of a hypothesis, S sequences of at most W tokens, -1 before shorter ones.

-1 stands for no token: the padding of a prompt, and places that are not written yet.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Int

Rows = Int[Array | np.ndarray, "S W"]
"""Sequences as `as_rows` lays them out."""


def written_tokens(
    context_BP: Int[Array, "B P"], tokens_BNM: Int[Array, "B N M"], t: Any
) -> Int[Array, "B N L"]:
    """The prompt and the first `t` new tokens of each hypothesis; -1 in the places behind."""
    B, N, M = tokens_BNM.shape
    prompt = jnp.broadcast_to(context_BP[:, None, :], (B, N, context_BP.shape[1]))
    written = lax.broadcasted_iota(jnp.int32, (B, N, M), 2) < t
    return jnp.concatenate([prompt, jnp.where(written, tokens_BNM, -1)], axis=2)


def marked(tokens_BNK: Int[Array, "B N K"], vocab_size: int) -> Bool[Array, "B N V"]:
    """Which tokens of the vocabulary are among those given; -1 is none of them."""
    # Index V is out of bounds and dropped; -1 would count from the end.
    tokens = jnp.where(tokens_BNK < 0, vocab_size, tokens_BNK)
    rows = lax.broadcasted_iota(jnp.int32, tokens.shape, 0)
    columns = lax.broadcasted_iota(jnp.int32, tokens.shape, 1)
    none = jnp.zeros((*tokens.shape[:2], vocab_size), bool)
    return none.at[rows, columns, tokens].set(True, mode="drop")


def last_tokens(tokens_BNL: Int[Array, "B N L"], length: Any, n: int) -> Int[Array, "B N n"]:
    """The last n of the first `length` tokens; -1 before the first."""
    padded = jnp.pad(tokens_BNL, ((0, 0), (0, 0), (n, 0)), constant_values=-1)
    return lax.dynamic_slice_in_dim(padded, length, n, axis=2)


def repeating(tokens_BNL: Int[Array, "B N L"], length: Any, n: int) -> Int[Array, "B N K"]:
    """The tokens that, written at place `length`, would repeat an n-gram; -1 among them is none.

    Paulus et al. 2018, section 2.5, for trigrams. Padding is part of no n-gram.
    """
    places = max(0, tokens_BNL.shape[2] - n + 1)
    begun_BNn = last_tokens(tokens_BNL, length, n - 1)
    ends_BNK = tokens_BNL[:, :, n - 1 :]
    same_BNK = ends_BNK >= 0
    for k in range(n - 1):
        token_BN1 = begun_BNn[:, :, k : k + 1]
        same_BNK &= (tokens_BNL[:, :, k : k + places] == token_BN1) & (token_BN1 >= 0)
    return jnp.where(same_BNK, ends_BNK, -1)


def completing(
    tokens_BNL: Int[Array, "B N L"], length: Any, sequences_SW: Rows
) -> Int[Array, "B N S"]:
    """The last token of each sequence whose other tokens stand before place `length`, else -1."""
    before_BNSw = last_tokens(tokens_BNL, length, sequences_SW.shape[1] - 1)[:, :, None]
    begun_BNS = _same(before_BNSw, sequences_SW[None, None, :, :-1])
    return jnp.where(begun_BNS, sequences_SW[None, None, :, -1], -1)


def end_with(
    tokens_BNM: Int[Array, "B N M"], length: Any, sequences_SW: Rows
) -> Bool[Array, "B N"]:
    """Whether the first `length` tokens end with one of the sequences."""
    last_BN1W = last_tokens(tokens_BNM, length, sequences_SW.shape[1])[:, :, None]
    return _same(last_BN1W, sequences_SW[None, None]).any(axis=-1)


def _same(tokens: Array, sequences: Array | np.ndarray) -> Array:
    """Equal in the places where the sequence has a token."""
    return ((sequences < 0) | (tokens == sequences)).all(axis=-1)


def as_rows(sequences: Sequence[Sequence[int]]) -> np.ndarray | None:
    """Sequences as int32 [S, W], the shorter ones with -1 before them; None where there are none.

    Both sizes are rounded up to powers of two, for few shapes: the first sequence fills up.
    """
    if not sequences:
        return None
    width = _round_up(max(map(len, sequences)))
    filled = [*sequences, *[sequences[0]] * (_round_up(len(sequences)) - len(sequences))]
    rows = [[*[-1] * (width - len(sequence)), *sequence] for sequence in filled]
    return np.array(rows, np.int32)


def _round_up(number: int) -> int:
    return 1 << (number - 1).bit_length()
