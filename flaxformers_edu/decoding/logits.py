"""Rules on the scores of the next token, as pure functions of float32 [..., V].

Letters: B batch, N hypotheses a batch row, V vocabulary, P prompt length, M max new tokens.

The order and the meaning are those of Hugging Face `generate`: first the rules of every strategy
(`Processors`: repetition penalty, n-grams that must not be repeated, banned sequences, minimum of
new tokens, forced first and last token), then the filters of sampling (`Filters`: temperature,
top-k, top-p, min-p). A token that is ruled out gets -inf. Greedy search and sampling apply them to
logits, beam search to log-probabilities.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from flaxformers_edu.decoding.sequences import completing, marked, repeating, written_tokens

REMOVED = -jnp.inf


def is_any_of(tokens: Int[Array, "..."], ids: tuple[int, ...]) -> Bool[Array, "..."]:
    """True where a token is one of `ids`; false everywhere when `ids` is empty."""
    found = jnp.zeros(tokens.shape, bool)
    for token_id in ids:
        found = found | (tokens == token_id)
    return found


def scale_temperature(logits: Float[Array, "*s V"], temperature: Any) -> Float[Array, "*s V"]:
    """Logits over a temperature > 0: below 1 sharpens the distribution, above 1 flattens it."""
    return logits / temperature


def keep_top_k(logits: Float[Array, "*s V"], top_k: int) -> Float[Array, "*s V"]:
    """Removes what is lower than the k-th highest logit; all that tie with it stay."""
    vocab_size = logits.shape[-1]
    kth = lax.top_k(logits, min(top_k, vocab_size))[0][..., -1:]
    return jnp.where(logits < kth, REMOVED, logits)


def keep_top_p(logits: Float[Array, "*s V"], top_p: Any) -> Float[Array, "*s V"]:
    """Keeps the smallest set of most likely tokens whose probabilities sum to at least `top_p`.

    Nucleus sampling (Holtzman et al. 2020, section 3.1), counted from the unlikely end: sorted
    ascending, a token is removed while the running sum is <= 1 - top_p, but never the last one.
    Among equal logits the lower index is removed first.
    """
    order = jnp.argsort(logits, axis=-1, stable=True)
    ascending = jnp.take_along_axis(logits, order, axis=-1)
    removed = jnp.cumsum(jax.nn.softmax(ascending, axis=-1), axis=-1) <= 1.0 - top_p
    removed = removed.at[..., -1].set(False)
    rank = jnp.argsort(order, axis=-1)
    return jnp.where(jnp.take_along_axis(removed, rank, axis=-1), REMOVED, logits)


def keep_min_p(logits: Float[Array, "*s V"], min_p: Any) -> Float[Array, "*s V"]:
    """Removes tokens less likely than `min_p` times the most likely one (Nguyen et al. 2024)."""
    probabilities = jax.nn.softmax(logits, axis=-1)
    highest = probabilities.max(axis=-1, keepdims=True)
    return jnp.where(probabilities < min_p * highest, REMOVED, logits)


def penalise_repetition(
    scores: Float[Array, "*s V"], seen: Bool[Array, "*s V"], penalty: Any
) -> Float[Array, "*s V"]:
    """Makes seen tokens less likely: negative scores times `penalty`, others divided by it.

    Keskar et al. 2019 (CTRL), section 4.1, with Hugging Face's rule for negative scores.
    """
    penalised = jnp.where(scores < 0, scores * penalty, scores / penalty)
    return jnp.where(seen, penalised, scores)


def forbid(scores: Float[Array, "*s V"], ids: tuple[int, ...], when: Any) -> Float[Array, "*s V"]:
    """Removes the tokens `ids` where the scalar `when` is true."""
    removed = is_any_of(lax.broadcasted_iota(jnp.int32, scores.shape, scores.ndim - 1), ids)
    return jnp.where(removed & when, REMOVED, scores)


def force(scores: Float[Array, "*s V"], ids: tuple[int, ...], when: Any) -> Float[Array, "*s V"]:
    """Where the scalar `when` is true: score 0 for the tokens `ids`, all others removed."""
    kept = is_any_of(lax.broadcasted_iota(jnp.int32, scores.shape, scores.ndim - 1), ids)
    return jnp.where(when, jnp.where(kept, 0.0, REMOVED), scores)


@struct.dataclass
class Processors:
    """The rules that every strategy obeys. `None` or an empty tuple means: no such rule.

    The numbers are traced, so that another value does not compile again; the rest is static.
    """

    repetition_penalty: Any = None
    """Scalar > 0; above 1 discourages tokens already seen in the prompt or in the new tokens."""
    no_repeat_ngram_size: int = struct.field(pytree_node=False, default=0)
    """Above 0: no sequence of so many tokens stands twice in the prompt and the new tokens."""
    banned_SW: Any = None
    """int32, see `sequences.as_rows`: sequences whose last token must not complete them."""
    min_new_tokens: Any = None
    """Scalar: no end-of-sequence token among the first `min_new_tokens`."""
    eos_token_ids: tuple[int, ...] = struct.field(pytree_node=False, default=())
    """The tokens that `min_new_tokens` holds back."""
    forced_bos_token_ids: tuple[int, ...] = struct.field(pytree_node=False, default=())
    """Forced as the second token of all: only when the prompt is one token long."""
    forced_eos_token_ids: tuple[int, ...] = struct.field(pytree_node=False, default=())
    """Forced as the last token that `max_new_tokens` allows."""

    @property
    def only_remove(self) -> bool:
        """Whether the rules only remove tokens and leave other scores (known before tracing)."""
        forced = self.forced_bos_token_ids or self.forced_eos_token_ids
        return self.repetition_penalty is None and not forced

    def __call__(
        self,
        scores_BNV: Float[Array, "B N V"],
        context_BP: Int[Array, "B P"],
        tokens_BNM: Int[Array, "B N M"],
        t: Any,
    ) -> Float[Array, "B N V"]:
        """Scores of new token number `t` (from 0) with the rules applied, in their order."""
        P, M, V = context_BP.shape[1], tokens_BNM.shape[2], scores_BNV.shape[-1]
        tokens_BNL = written_tokens(context_BP, tokens_BNM, t)
        if self.repetition_penalty is not None:
            seen_BNV = marked(tokens_BNL, V)
            scores_BNV = penalise_repetition(scores_BNV, seen_BNV, self.repetition_penalty)
        if self.no_repeat_ngram_size:
            repeating_BNK = repeating(tokens_BNL, P + t, self.no_repeat_ngram_size)
            scores_BNV = jnp.where(marked(repeating_BNK, V), REMOVED, scores_BNV)
        if self.banned_SW is not None:
            completing_BNS = completing(tokens_BNL, P + t, self.banned_SW)
            scores_BNV = jnp.where(marked(completing_BNS, V), REMOVED, scores_BNV)
        if self.min_new_tokens is not None:
            scores_BNV = forbid(scores_BNV, self.eos_token_ids, t < self.min_new_tokens)
        if self.forced_bos_token_ids:
            scores_BNV = force(scores_BNV, self.forced_bos_token_ids, P + t == 1)
        if self.forced_eos_token_ids:
            scores_BNV = force(scores_BNV, self.forced_eos_token_ids, t == M - 1)
        return scores_BNV


@struct.dataclass
class Filters:
    """What narrows the distribution that sampling draws from. `None` means: no such filter."""

    temperature: Any = None
    """Scalar > 0."""
    top_k: int | None = struct.field(pytree_node=False, default=None)
    """Number of tokens kept, at least (ties stay); static."""
    top_p: Any = None
    """Scalar in [0, 1]."""
    min_p: Any = None
    """Scalar in [0, 1]."""

    def __call__(self, logits: Float[Array, "*s V"]) -> Float[Array, "*s V"]:
        """Filtered logits: temperature, top-k, top-p, min-p, in this order."""
        if self.temperature is not None:
            logits = scale_temperature(logits, self.temperature)
        if self.top_k is not None:
            logits = keep_top_k(logits, self.top_k)
        if self.top_p is not None:
            logits = keep_top_p(logits, self.top_p)
        if self.min_p is not None:
            logits = keep_min_p(logits, self.min_p)
        return logits


def filtered_log_probs(
    logits: Float[Array, "*s V"],
    *,
    temperature: Any = None,
    top_k: int | None = None,
    top_p: Any = None,
    min_p: Any = None,
) -> Float[Array, "*s V"]:
    """The log-probabilities that sampling draws from, -inf for what the filters remove."""
    filters = Filters(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    return jax.nn.log_softmax(filters(logits.astype(jnp.float32)), axis=-1)
