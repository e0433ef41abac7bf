"""Greedy search: the most likely token at every step.

Letters: B batch, N hypotheses a batch row (1 here), V vocabulary, P prompt length,
M max new tokens.
"""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int

from flaxformers_edu.decoding.logits import Processors, is_any_of
from flaxformers_edu.decoding.loop import Decoded
from flaxformers_edu.decoding.sequences import end_with
from flaxformers_edu.decoding.top_k import highest_token


@struct.dataclass
class Lines:
    """State of N hypotheses that go on independently of each other."""

    context_BP: Any
    tokens_BNM: Any
    scores_BN: Any
    lengths_BN: Any
    finished_BN: Any


@struct.dataclass
class Greedy:
    """Takes the highest processed logit, the lowest index among equals, until end of sequence.

    It has ended with one of `eos_token_ids`, or when its new tokens end with a stop sequence.

    The score of a sequence is the sum of the log-probabilities of its new tokens under the
    processed logits, end-of-sequence token included. A finished row emits `pad_token_id`.
    """

    processors: Processors = Processors()
    stop_SW: Any = None
    """int32, see `sequences.as_rows`: the stop sequences."""
    eos_token_ids: tuple[int, ...] = struct.field(pytree_node=False, default=())
    pad_token_id: int = struct.field(pytree_node=False, default=0)

    @property
    def num_hypotheses(self) -> int:
        """One hypothesis a batch row."""
        return 1

    def filter(self, logits_BNV: Float[Array, "B N V"]) -> Float[Array, "B N V"]:
        """What narrows the processed logits before the choice: nothing."""
        return logits_BNV

    def choose(self, logits_BNV: Float[Array, "B N V"], key: Any) -> Int[Array, "B N"]:
        """The next token of each hypothesis."""
        del key
        return highest_token(logits_BNV)

    def init(self, context_BP: Int[Array, "B P"], max_new_tokens: int) -> Lines:
        """See `Strategy.init`."""
        BN = (context_BP.shape[0], self.num_hypotheses)
        return Lines(
            context_BP=context_BP,
            tokens_BNM=jnp.full((*BN, max_new_tokens), self.pad_token_id, jnp.int32),
            scores_BN=jnp.zeros(BN, jnp.float32),
            lengths_BN=jnp.zeros(BN, jnp.int32),
            finished_BN=jnp.zeros(BN, bool),
        )

    def advance(
        self, state: Lines, logits_BNV: Float[Array, "B N V"], t: Any, key: Any
    ) -> tuple[Lines, Int[Array, "B N"], None]:
        """See `Strategy.advance`."""
        logits_BNV = self.processors(logits_BNV, state.context_BP, state.tokens_BNM, t)
        logits_BNV = self.filter(logits_BNV)
        chosen_BN = self.choose(logits_BNV, key)
        chosen_logit_BN = jnp.take_along_axis(logits_BNV, chosen_BN[..., None], axis=-1)[..., 0]
        log_prob_BN = chosen_logit_BN - jax.nn.logsumexp(logits_BNV, axis=-1)
        # Where the rules leave no token, the difference of the two has no value.
        log_prob_BN = jnp.where(jnp.isneginf(chosen_logit_BN), -jnp.inf, log_prob_BN)

        going_BN = ~state.finished_BN
        chosen_BN = jnp.where(going_BN, chosen_BN, self.pad_token_id)
        tokens_BNM = state.tokens_BNM.at[:, :, t].set(chosen_BN)
        ended_BN = is_any_of(chosen_BN, self.eos_token_ids)
        if self.stop_SW is not None:
            ended_BN |= end_with(tokens_BNM, t + 1, self.stop_SW)
        state = replace(
            state,
            tokens_BNM=tokens_BNM,
            scores_BN=state.scores_BN + jnp.where(going_BN, log_prob_BN, 0.0),
            lengths_BN=state.lengths_BN + going_BN,
            finished_BN=state.finished_BN | ended_BN,
        )
        return state, chosen_BN, None

    def running(self, state: Lines, t: Any) -> Any:
        """See `Strategy.running`."""
        del t
        return ~jnp.all(state.finished_BN)

    def finish(self, state: Lines) -> Decoded:
        """See `Strategy.finish`."""
        return Decoded(state.tokens_BNM, state.scores_BN, state.lengths_BN)
