"""Exhaustive search: every sequence there is, scored. The oracle that other searches are held to.

Letters: B batch, N = V ** M hypotheses a batch row, V vocabulary, M max new tokens.
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
from flaxformers_edu.errors import InputError

MAX_SEQUENCES = 2**17
"""More than this many sequences a batch row are refused."""


@struct.dataclass
class Enumeration:
    """State of the search: hypothesis n spells the number n in base V, its first token highest."""

    context_BP: Any
    tokens_BNM: Any
    scores_BN: Any
    lengths_BN: Any
    finished_BN: Any


@struct.dataclass
class Exhaustive:
    """Feeds every one of the V ** M token strings to the model and returns the best n.

    A string that goes on after an end-of-sequence token stands for the sequence up to there;
    of all the strings that stand for the same sequence only the one that goes on with zeros
    counts. Scored as `BeamSearch` scores: processed log-probabilities, summed, over
    `scorer(length, length_penalty)`; the lowest string first among equals. Places beyond the
    number of sequences there are have the score -inf.

    Raises:
      InputError: if there are more than `MAX_SEQUENCES` strings.
    """

    vocab_size: int = struct.field(pytree_node=False)
    max_new_tokens: int = struct.field(pytree_node=False)
    processors: Processors = Processors()
    length_penalty: Any = 1.0
    num_return_sequences: int = struct.field(pytree_node=False, default=1)
    eos_token_ids: tuple[int, ...] = struct.field(pytree_node=False, default=())
    pad_token_id: int | None = struct.field(pytree_node=False, default=None)
    scorer: Scorer = struct.field(pytree_node=False, default=huggingface)

    def __post_init__(self) -> None:
        """Refuses what would not fit."""
        if self.num_hypotheses > MAX_SEQUENCES:
            raise InputError(
                f"exhaustive search over vocab_size {self.vocab_size} and max_new_tokens "
                f"{self.max_new_tokens} means {self.num_hypotheses} sequences; "
                f"at most {MAX_SEQUENCES} are allowed: use BeamSearch"
            )
        if not 1 <= self.num_return_sequences <= self.num_hypotheses:
            raise InputError(
                f"num_return_sequences {self.num_return_sequences} must be between 1 and "
                f"{self.num_hypotheses}, the number of strings"
            )

    @property
    def num_hypotheses(self) -> int:
        """V ** M."""
        return self.vocab_size**self.max_new_tokens

    def init(self, context_BP: Int[Array, "B P"], max_new_tokens: int) -> Enumeration:
        """See `Strategy.init`."""
        if max_new_tokens != self.max_new_tokens:
            raise InputError(
                f"max_new_tokens {max_new_tokens} must be the {self.max_new_tokens} that "
                "the exhaustive search was made for"
            )
        V, M, N = self.vocab_size, self.max_new_tokens, self.num_hypotheses
        BN = (context_BP.shape[0], N)
        number_NM = lax.broadcasted_iota(jnp.int32, (N, M), 0)
        place_M = jnp.array([V ** (M - 1 - t) for t in range(M)], jnp.int32)
        return Enumeration(
            context_BP=context_BP,
            tokens_BNM=jnp.broadcast_to(((number_NM // place_M[None]) % V)[None], (*BN, M)),
            scores_BN=jnp.zeros(BN, jnp.float32),
            lengths_BN=jnp.zeros(BN, jnp.int32),
            finished_BN=jnp.zeros(BN, bool),
        )

    def advance(
        self, state: Enumeration, logits_BNV: Float[Array, "B N V"], t: Any, key: Any
    ) -> tuple[Enumeration, Int[Array, "B N"], None]:
        """See `Strategy.advance`."""
        del key
        if logits_BNV.shape[-1] != self.vocab_size:
            raise InputError(
                f"vocab_size {self.vocab_size} of the exhaustive search must be the "
                f"{logits_BNV.shape[-1]} of the model's logits"
            )
        token_BN = state.tokens_BNM[:, :, t]
        log_probs_BNV = self.processors(
            jax.nn.log_softmax(logits_BNV, axis=-1), state.context_BP, state.tokens_BNM, t
        )
        log_prob_BN = jnp.take_along_axis(log_probs_BNV, token_BN[..., None], axis=-1)[..., 0]
        after_the_end_BN = jnp.where(token_BN == 0, 0.0, -jnp.inf)
        going_BN = ~state.finished_BN
        state = replace(
            state,
            scores_BN=state.scores_BN + jnp.where(going_BN, log_prob_BN, after_the_end_BN),
            lengths_BN=state.lengths_BN + going_BN,
            finished_BN=state.finished_BN | is_any_of(token_BN, self.eos_token_ids),
        )
        return state, token_BN, None

    def running(self, state: Enumeration, t: Any) -> Any:
        """See `Strategy.running`."""
        del state
        return t < self.max_new_tokens

    def finish(self, state: Enumeration) -> Decoded:
        """See `Strategy.finish`."""
        final_BN = state.scores_BN / self.scorer(state.lengths_BN, self.length_penalty)
        scores_Bn, best_Bn = lax.top_k(final_BN, self.num_return_sequences)
        lengths_Bn = jnp.take_along_axis(state.lengths_BN, best_Bn, axis=1)
        tokens_BnM = jnp.take_along_axis(state.tokens_BNM, best_Bn[..., None], axis=1)
        after_BnM = lax.broadcasted_iota(jnp.int32, tokens_BnM.shape, 2) >= lengths_Bn[..., None]
        fill = self.pad_token_id
        if fill is None:
            fill = self.eos_token_ids[0] if self.eos_token_ids else 0
        return Decoded(jnp.where(after_BnM, fill, tokens_BnM), scores_Bn, lengths_Bn)
