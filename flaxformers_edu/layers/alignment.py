"""Attention of a recurrent decoder: which states of the source a step looks at.

The scores of Luong et al. 2015, eq. 8, of a decoder's state h and a state s of the source: h·s
(`dot`), h·(W s) (`general`) and v·tanh(W_h h + W_s s) (`concat`, the form of Bahdanau et al. 2014,
appendix A.1.2). What depends on the source alone is computed once for all steps.

Dims: B batch, T queries of each row, S source length, H size of a query, E size of a source state,
A size in which they are compared, R rows of queries: B · T, those of a row of the batch together.
"""

from typing import Any, Literal, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from flaxformers_edu.errors import InputError, unknown_name
from flaxformers_edu.layers.attention import attention_weights
from flaxformers_edu.layers.intermediates import sow
from flaxformers_edu.layers.linear import Linear, partitioned_param, xavier
from flaxformers_edu.layers.masks import Mask
from flaxformers_edu.layers.recurrence import Product, by_rows

Score = Literal["dot", "general", "concat"]


@struct.dataclass
class Source:
    """What is looked at, once for all steps and all hypotheses of a row."""

    keys_BSA: Float[Array, "B S A"]
    """What queries are compared with."""
    values_BSE: Float[Array, "B S E"]
    """The states themselves."""
    mask_BS: Any = None
    """True for real tokens; None: all are."""
    vector_BA: Any = None
    """v of `concat`, for each row: its gradient is summed by rows in a loop, and once after it."""


def attend(
    score: Score, product: Product, hidden_RH: Float[Array, "R H"], source: Source
) -> tuple[Float[Array, "R E"], Float[Array, "B T S"]]:
    """The context, a mean of the source's states, and the weights of the mean.

    Pure, for the inside of a scan: the one weight it needs, `query` of `concat`, is asked of
    `product` (see `recurrence.Cell`). A row without any real token has zeros.
    """
    B, _, E = source.values_BSE.shape
    query_RA = product("query", hidden_RH) if score == "concat" else hidden_RH
    query_BTA = query_RA.reshape(B, -1, query_RA.shape[-1])
    if score == "concat":
        both_BTSA = jnp.tanh(query_BTA[:, :, None] + source.keys_BSA[:, None])
        scores_BTS = jnp.einsum("BTSA,BA->BTS", both_BTSA, source.vector_BA)
    else:
        scores_BTS = jnp.einsum("BTA,BSA->BTS", query_BTA, source.keys_BSA)
    mask = Mask.padding(source.mask_BS)
    weights_BTS = attention_weights(scores_BTS.astype(jnp.float32)[:, None], mask)[:, 0]
    context_BTE = jnp.einsum(
        "BTS,BSE->BTE", weights_BTS.astype(source.values_BSE.dtype), source.values_BSE
    )
    return context_BTE.reshape(-1, E), weights_BTS


class Alignment(nn.Module):
    """The parameters of a score, for `attend`.

    `general` has `key/kernel` [E, H], `concat` besides `query` [H, H] and `vector` [H]; `dot` has
    none, and compares states of one size.

    Sown, for those who look: "weights", [1, B, 1, T, S], as a stack of one layer with one head has
    them.
    """

    score: Score
    query_size: int
    source_size: int
    dtype: Any = None

    def setup(self) -> None:
        if self.score not in get_args(Score):
            raise unknown_name("attention", self.score, get_args(Score))
        H = self.query_size
        if self.score == "dot":
            if self.source_size != H:
                raise InputError(
                    f"attention 'dot' compares states of one size, and the source's have "
                    f"{self.source_size}, the decoder's {H}; use 'general'"
                )
            return
        self.key = Linear((H,), ("embed",), ("mlp",), use_bias=False, dtype=self.dtype)
        if self.score == "concat":
            self.query = partitioned_param(self, "query", xavier, ("embed", "mlp"), (H, H))
            # As a row of W_h: within ±√(6 / 2H), so that scores begin well below 1.
            self.vector = partitioned_param(self, "vector", _vector, ("mlp",), (H,))

    def source(
        self,
        states_BSE: Float[Array, "B S E"],
        mask_BS: Bool[Array, "B S"] | Int[Array, "B S"] | None = None,
    ) -> Source:
        """The states of a source, made ready to be looked at; the mask is 1 for real tokens."""
        states_BSE = by_rows(states_BSE)
        keys_BSA = states_BSE if self.score == "dot" else by_rows(self.key(states_BSE))
        vector_BA = None
        if self.score == "concat":
            rows = (len(keys_BSA), self.query_size)
            vector_BA = by_rows(jnp.broadcast_to(self.vector.astype(keys_BSA.dtype), rows))
        return Source(keys_BSA, states_BSE, mask_BS, vector_BA)

    def weights(self) -> dict[str, Array]:
        """Matrices by the names that `attend` asks for."""
        return {"query": self.query} if self.score == "concat" else {}

    def show(self, weights_BTS: Float[Array, "B T S"]) -> None:
        """Sows the weights of a sequence."""
        sow(self, "weights", weights_BTS[None, :, None])


def _vector(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """The vector of `concat`, as it begins."""
    bound = (3 / shape[0]) ** 0.5
    return jax.random.uniform(key, shape, dtype, -bound, bound)
