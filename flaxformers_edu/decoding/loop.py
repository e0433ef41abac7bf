"""The one decoding loop, and what a strategy must offer to plug into it.

Letters: B batch, N hypotheses a batch row, V vocabulary, P prompt length, M max new tokens.

The model is a pure function `step(tokens_BN, cache) -> (logits_BNV, cache)`: `tokens_BN` is the
newest token of each hypothesis and the cache holds everything before it. So the loop begins from
the last token of the prompt, and the cache it is given holds the prompt but that token.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from flax import struct
from jax import lax
from jaxtyping import Array, Int

Cache = Any
State = Any
Step = Callable[[Any, Cache], tuple[Any, Cache]]


@struct.dataclass
class Decoded:
    """What a search found. n is the number of sequences returned for each batch row."""

    sequences: Any
    """int32 [B, n, P + M] from `decode` (the prompt first), [B, n, M] from `Strategy.finish`;
    what follows a sequence's end is padding."""
    scores: Any
    """float32 [B, n]; the strategy says what they are."""
    lengths: Any
    """int32 [B, n]: new tokens, the end-of-sequence token included."""


@runtime_checkable
class Strategy(Protocol):
    """How to go from logits to the next tokens: a frozen pytree of settings, pure methods.

    `State` is a pytree of fixed shapes. A strategy runs N hypotheses for each of B batch rows.
    """

    @property
    def num_hypotheses(self) -> int:
        """N, how many hypotheses of a batch row the model sees at each step."""

    def init(self, context_BP: Any, max_new_tokens: int) -> State:
        """The state before the first new token; `context_BP` is the prompt, -1 where padded."""

    def advance(
        self, state: State, logits_BNV: Any, t: Any, key: Any
    ) -> tuple[State, Any, Any | None]:
        """Chooses new token number `t` from float32 logits.

        Returns the state, `tokens_BN` to feed next, and `parents_BN`: which of the N hypotheses
        each of the new ones continues, or None when all continue themselves.
        """

    def running(self, state: State, t: Any) -> Any:
        """Whether (bool scalar) there is reason to choose new token number `t`."""

    def finish(self, state: State) -> Decoded:
        """The result, best first, without the prompt."""


def reorder_cache(cache: Cache, parents_BN: Int[Array, "B N"]) -> Cache:
    """The cache after hypothesis n of a row has become a child of hypothesis parents[b, n].

    A cache that has a method `reorder(parents_BN)` does it itself. Otherwise every leaf of shape
    [B, N, ...] is gathered along axis 1, and the others, which know no hypotheses, stay. (So a
    cache with leaves [B, S, ...] shared by the hypotheses needs a method: S may happen to be N.)
    """
    if hasattr(cache, "reorder"):
        return cache.reorder(parents_BN)

    def gather(leaf: Any) -> Any:
        if jnp.ndim(leaf) < 2 or leaf.shape[:2] != parents_BN.shape:
            return leaf
        index = parents_BN.reshape(parents_BN.shape + (1,) * (leaf.ndim - 2))
        return jnp.take_along_axis(leaf, index, axis=1)

    return jax.tree.map(gather, cache)


@struct.dataclass
class Search:
    """Where a search stands: all that its next step needs."""

    t: Any
    """int32 scalar: new tokens of each hypothesis so far."""
    tokens_BN: Any
    """The newest token of each hypothesis."""
    cache: Any
    """What the model remembers of the tokens before it."""
    state: Any
    """The strategy's own."""


def begin(
    strategy: Strategy,
    cache: Cache,
    prompt_BP: Int[Array, "B P"],
    *,
    max_new_tokens: int,
    prompt_mask_BP: Any = None,
) -> Search:
    """The search before its first step; the arguments are those of `decode`."""
    prompt_BP = prompt_BP.astype(jnp.int32)
    context_BP = prompt_BP
    if prompt_mask_BP is not None:
        # Padding is what comes before the first token; a hole in the middle is not padding.
        begun = jnp.cumsum(prompt_mask_BP != 0, axis=1) > 0
        context_BP = jnp.where(begun, prompt_BP, -1)
    newest_BN = jnp.broadcast_to(prompt_BP[:, -1:], (len(prompt_BP), strategy.num_hypotheses))
    return Search(jnp.int32(0), newest_BN, cache, strategy.init(context_BP, max_new_tokens))


def advance(
    step: Step,
    strategy: Strategy,
    search: Search,
    until: Any,
    *,
    reorder: Callable[[Cache, Any], Cache] = reorder_cache,
    rng: Any = None,
) -> Search:
    """Goes on while there is reason to and fewer than `until` (int scalar) new tokens are there.

    In how many such stretches a search is run makes no difference to what it finds.
    """

    def keep_going(search: Search) -> Any:
        return (search.t < until) & strategy.running(search.state, search.t)

    def body(search: Search) -> Search:
        t = search.t
        logits_BNV, cache = step(search.tokens_BN, search.cache)
        key = None if rng is None else jax.random.fold_in(rng, t)
        state, tokens_BN, parents_BN = strategy.advance(
            search.state, logits_BNV.astype(jnp.float32), t, key
        )
        if parents_BN is not None:
            cache = reorder(cache, parents_BN)
        return Search(t + 1, tokens_BN, cache, state)

    return lax.while_loop(keep_going, body, search)


def decode(
    step: Step,
    strategy: Strategy,
    cache: Cache,
    prompt_BP: Int[Array, "B P"],
    *,
    max_new_tokens: int,
    prompt_mask_BP: Any = None,
    reorder: Callable[[Cache, Any], Cache] = reorder_cache,
    rng: Any = None,
) -> Decoded:
    """Runs a strategy until it has nothing left to do, at most `max_new_tokens` steps.

    Args:
      step: `(tokens_BN, cache) -> (logits_BNV, cache)`, pure; logits of any floating type. The
        cache it returns must have the shapes and types of the one it got.
      strategy: see `Strategy`.
      cache: what `step` needs to know of `prompt_BP[:, :-1]`, for N hypotheses a row.
      prompt_BP: at least one token; padding, if any, on the left.
      max_new_tokens: M; static, as it is the size of the result.
      prompt_mask_BP: 1 for tokens, 0 for padding; None says that there is no padding. Padding is
        not among the tokens that a rule on repetition looks at, and it is returned as it came.
      reorder: `(cache, parents_BN) -> cache`.
      rng: a key for strategies that draw; step t gets `fold_in(rng, t)`.

    Returns:
      `Decoded`, with the prompt in front of the new tokens.
    """
    search = begin(
        strategy, cache, prompt_BP, max_new_tokens=max_new_tokens, prompt_mask_BP=prompt_mask_BP
    )
    search = advance(step, strategy, search, max_new_tokens, reorder=reorder, rng=rng)
    found = strategy.finish(search.state)
    (B, P), n = prompt_BP.shape, found.sequences.shape[1]
    prompt_BnP = jnp.broadcast_to(prompt_BP.astype(jnp.int32)[:, None, :], (B, n, P))
    sequences = jnp.concatenate([prompt_BnP, found.sequences], axis=2)
    return replace(found, sequences=sequences)
