"""Beam search, the same as Hugging Face `generate` to the token.

Letters: B batch, N beams a batch row, V vocabulary, P prompt length, M max new tokens,
K = max(2, 1 + number of end-of-sequence tokens) * N candidates a step.
"""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import lax
from jaxtyping import Array, Float, Int

from flaxformers_edu.decoding.logits import Processors, is_any_of
from flaxformers_edu.decoding.loop import Decoded
from flaxformers_edu.decoding.scoring import Scorer, huggingface
from flaxformers_edu.decoding.sequences import end_with
from flaxformers_edu.decoding.top_k import top_continuations
from flaxformers_edu.errors import InputError

DEAD = -1e9
"""Added to what must not be chosen: lower than any real score, yet finite and ordered."""


@struct.dataclass
class Beams:
    """N running hypotheses of each row, and the N best finished ones so far, best first."""

    context_BP: Any
    running_BNM: Any
    running_scores_BN: Any
    finished_BNM: Any
    finished_scores_BN: Any
    finished_lengths_BN: Any
    is_finished_BN: Any
    """Whether a place among the finished is taken yet."""
    can_improve_B: Any
    """Whether a running hypothesis may still beat the worst finished one; never true again."""
    all_ended: Any
    """Whether every candidate of the last step, in every row, was at its end."""


@struct.dataclass
class BeamSearch:
    """Keeps the N best unfinished hypotheses and, apart from them, the N best finished ones.

    The score of a sequence is the sum of its new tokens' log-probabilities (processed, not
    normalised again) over `scorer(length, length_penalty)`. Of the K candidates of a step only
    the first N may finish; the others are there so that N unfinished ones remain. At the last
    step all hypotheses end. The search of a row stops when

    - `early_stopping=True`: N hypotheses have finished;
    - `early_stopping=False`: the best running one, scored at its present length, is not better
      than the worst of N finished ones (a heuristic if longer ones can score higher);
    - `early_stopping="never"`: the same, scored at the maximum length if the penalty is positive.

    A stop sequence ends a hypothesis as an end-of-sequence token does, but adds no candidates.

    `early_stopping="never"` with `length_penalty=0` is the beam search of the textbooks. Places
    for which no hypothesis was found have scores of about -1e9.
    """

    processors: Processors = Processors()
    stop_SW: Any = None
    """int32, see `sequences.as_rows`: new tokens that end with one of these have ended."""
    length_penalty: Any = 1.0
    num_beams: int = struct.field(pytree_node=False, default=4)
    num_return_sequences: int = struct.field(pytree_node=False, default=1)
    early_stopping: bool | str = struct.field(pytree_node=False, default=False)
    eos_token_ids: tuple[int, ...] = struct.field(pytree_node=False, default=())
    pad_token_id: int | None = struct.field(pytree_node=False, default=None)
    scorer: Scorer = struct.field(pytree_node=False, default=huggingface)

    @property
    def num_hypotheses(self) -> int:
        """The beams of a batch row."""
        return self.num_beams

    @property
    def num_candidates(self) -> int:
        """K: enough for N that do not end, even if all N beams offer every way to end."""
        return max(2, 1 + len(self.eos_token_ids)) * self.num_beams

    @property
    def fill(self) -> int:
        """What follows the end: a padding id of 0 counts as none, as in Hugging Face's search."""
        if not self.eos_token_ids:
            return -1
        return self.pad_token_id or self.eos_token_ids[0]

    def init(self, context_BP: Int[Array, "B P"], max_new_tokens: int) -> Beams:
        """See `Strategy.init`."""
        B, N = context_BP.shape[0], self.num_beams
        empty_BNM = jnp.full((B, N, max_new_tokens), self.fill, jnp.int32)
        # At first all beams are alike, so only the first one may be continued.
        first_BN = lax.broadcasted_iota(jnp.int32, (B, N), 1) == 0
        return Beams(
            context_BP=context_BP,
            running_BNM=empty_BNM,
            running_scores_BN=jnp.where(first_BN, 0.0, DEAD).astype(jnp.float32),
            finished_BNM=empty_BNM,
            finished_scores_BN=jnp.full((B, N), DEAD, jnp.float32),
            finished_lengths_BN=jnp.zeros((B, N), jnp.int32),
            is_finished_BN=jnp.zeros((B, N), bool),
            can_improve_B=jnp.ones((B,), bool),
            all_ended=jnp.zeros((), bool),
        )

    def advance(
        self, state: Beams, logits_BNV: Float[Array, "B N V"], t: Any, key: Any
    ) -> tuple[Beams, Int[Array, "B N"], Int[Array, "B N"]]:
        """See `Strategy.advance`."""
        del key
        N, M = self.num_beams, state.running_BNM.shape[2]
        length = t + 1
        scores_BK, beam_BK, token_BK = self._candidates(state, logits_BNV, t)
        candidates_BKM = _gather(state.running_BNM, beam_BK).at[:, :, t].set(token_BK)
        ended_BK = is_any_of(token_BK, self.eos_token_ids) | (length >= M)
        if self.stop_SW is not None:
            ended_BK |= end_with(candidates_BKM, length, self.stop_SW)

        alive_BK = scores_BK + jnp.where(ended_BK, DEAD, 0.0)
        running_scores_BN, next_BN = lax.top_k(alive_BK, N)

        ended_in_front_BK = ended_BK & (lax.broadcasted_iota(jnp.int32, ended_BK.shape, 1) < N)
        full_B = jnp.all(state.is_finished_BN, axis=1) & (self.early_stopping is True)
        final_BK = scores_BK / self.scorer(length, self.length_penalty)
        final_BK = final_BK + jnp.where(full_B, DEAD, 0.0)[:, None]
        final_BK = final_BK + jnp.where(state.can_improve_B, 0.0, DEAD)[:, None]
        final_BK = final_BK + jnp.where(ended_in_front_BK, 0.0, DEAD)

        # The old ones first, so that a tie does not replace them.
        merged = jnp.concatenate([state.finished_scores_BN, final_BK], axis=1)
        finished_scores_BN, best_BN = lax.top_k(merged, N)
        lengths_BK = jnp.full(scores_BK.shape, length, jnp.int32)

        def merge(old: Any, new: Any) -> Any:
            return _gather(jnp.concatenate([old, new], axis=1), best_BN)

        is_finished_BN = merge(state.is_finished_BN, ended_in_front_BK)
        state = replace(
            state,
            running_BNM=_gather(candidates_BKM, next_BN),
            running_scores_BN=running_scores_BN,
            finished_BNM=merge(state.finished_BNM, candidates_BKM),
            finished_scores_BN=finished_scores_BN,
            finished_lengths_BN=merge(state.finished_lengths_BN, lengths_BK),
            is_finished_BN=is_finished_BN,
            can_improve_B=state.can_improve_B
            & self._may_improve(running_scores_BN, finished_scores_BN, is_finished_BN, length, M),
            all_ended=jnp.all(ended_BK),
        )
        return state, _gather(token_BK, next_BN), _gather(beam_BK, next_BN)

    def _candidates(self, state: Beams, logits_BNV: Any, t: Any) -> tuple[Any, Any, Any]:
        """The K best continuations of a row: summed log-probability, beam, token, each [B, K]."""
        K, V = self.num_candidates, logits_BNV.shape[-1]
        if self.num_beams * V < K:
            raise InputError(
                f"vocab_size {V} is too small for beam search with {len(self.eos_token_ids)} "
                f"end-of-sequence tokens; it needs at least {K // self.num_beams}"
            )
        past = (state.context_BP, state.running_BNM, t)
        if self.processors.only_remove:
            # What is removed has no share in the order of the rest: log-probabilities as such,
            # a second array of the logits' size, need not be written out.
            normaliser_BN = jax.nn.logsumexp(logits_BNV, axis=-1)
            scores_BNV = self.processors(logits_BNV, *past)
        else:
            normaliser_BN = jnp.zeros_like(state.running_scores_BN)
            scores_BNV = self.processors(jax.nn.log_softmax(logits_BNV, axis=-1), *past)
        return top_continuations(scores_BNV, normaliser_BN, state.running_scores_BN, K)

    def _may_improve(
        self,
        running_scores_BN: Any,
        finished_scores_BN: Any,
        is_finished_BN: Any,
        length: Any,
        M: int,
    ) -> Any:
        """Whether a row's best running hypothesis may beat its worst finished one: bool [B]."""
        if self.early_stopping == "never":
            length = jnp.where(jnp.asarray(self.length_penalty) > 0, M, length)
        hopeful_B1 = running_scores_BN[:, :1] / self.scorer(length, self.length_penalty)
        worst_B1 = finished_scores_BN.min(axis=1, keepdims=True)
        return jnp.any(hopeful_B1 > jnp.where(is_finished_BN, worst_B1, DEAD), axis=1)

    def running(self, state: Beams, t: Any) -> Any:
        """See `Strategy.running`."""
        del t
        all_full = jnp.all(state.is_finished_BN) & (self.early_stopping is True)
        return jnp.any(state.can_improve_B) & ~all_full & ~state.all_ended

    def finish(self, state: Beams) -> Decoded:
        """See `Strategy.finish`."""
        n = self.num_return_sequences
        return Decoded(
            state.finished_BNM[:, :n],
            state.finished_scores_BN[:, :n],
            state.finished_lengths_BN[:, :n],
        )


def _gather(x: Any, index_BK: Any) -> Any:
    """x[b, index[b, k], ...] as [B, K, ...]."""
    index = index_BK.reshape(index_BK.shape + (1,) * (x.ndim - 2))
    return jnp.take_along_axis(x, index, axis=1)
