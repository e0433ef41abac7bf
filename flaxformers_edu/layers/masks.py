"""What a query may attend to, as a small specification that every attention implementation reads.

Dims: B batch, T queries, S keys.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Int


@struct.dataclass
class Mask:
    """Which keys each query may see; the fields combine by "and", an absent field allows all.

    A specification rather than a dense [B, T, S] array, so that fused kernels (cuDNN, splash)
    receive what they understand natively; `dense` spells it out for everyone else.
    """

    causal: bool = struct.field(pytree_node=False, default=False)
    """A query sees keys at its own position and before."""
    window: int | None = struct.field(pytree_node=False, default=None)
    """Local attention: |query position - key position| < window (GPT-3 sec. 2.1; GPT-Neo)."""
    key_lengths_B: Int[Array, " B"] | None = None
    """Keys at index >= length are padding (right padding)."""
    key_mask_BS: Bool[Array, "B S"] | None = None
    """True for real keys: padding on any side. What tokenisers call `attention_mask`."""
    query_segments_BT: Int[Array, "B T"] | None = None
    """Packed sequences: a query sees only keys of its own segment; segment 0 is padding."""
    key_segments_BS: Int[Array, "B S"] | None = None
    query_positions_BT: Int[Array, "#B T"] | None = None
    """Positions for `causal` and `window` where they are not simply the index."""
    key_positions_BS: Int[Array, "#B S"] | None = None
    visible_BTS: Bool[Array, "#B T S"] | None = None
    """Anything else, spelled out: cached decoding says here which slots a hypothesis may see."""

    @classmethod
    def padding(cls, attention_mask_BS: Array | np.ndarray | None, **fields) -> "Mask":
        """A mask from a tokeniser's 1/0 `attention_mask` (None: every key is real)."""
        key_mask = None if attention_mask_BS is None else jnp.asarray(attention_mask_BS) != 0
        return cls(key_mask_BS=key_mask, **fields)

    @classmethod
    def packed(
        cls,
        query_segments_BT: Array | np.ndarray,
        key_segments_BS: Array | np.ndarray,
        **fields,
    ) -> "Mask":
        """A mask for packed rows: queries see the keys of their own segment, 0 is padding."""
        return cls(
            query_segments_BT=jnp.asarray(query_segments_BT),
            key_segments_BS=jnp.asarray(key_segments_BS),
            **fields,
        )

    def with_prefix(self, prefix_mask_BT: Array | np.ndarray) -> "Mask":
        """The same, but causal only behind the prefix (1), which every token sees (prefix LM).

        By index, for queries and keys that are the same tokens; window, padding and segments hold.
        """
        prefix_BT = jnp.asarray(prefix_mask_BT) != 0
        T = prefix_BT.shape[1]
        before_TT = jnp.tril(jnp.ones((T, T), bool))
        return replace(self, causal=False, visible_BTS=before_TT[None] | prefix_BT[:, None, :])

    def dense(self, num_queries: int, num_keys: int) -> Bool[Array, "#B #T S"] | None:
        """The same as a boolean array, True where attention is allowed; None if all of it is."""
        allowed = []
        if self.causal or self.window is not None:
            query, key = self.query_positions_BT, self.key_positions_BS
            query = jnp.arange(num_queries)[None] if query is None else query
            key = jnp.arange(num_keys)[None] if key is None else key
            distance_BTS = query[:, :, None] - key[:, None, :]
            if self.causal:
                allowed.append(distance_BTS >= 0)
            if self.window is not None:
                allowed.append(jnp.abs(distance_BTS) < self.window)
        if self.key_lengths_B is not None:
            key_index_S = jnp.arange(num_keys)
            allowed.append(key_index_S[None, None, :] < self.key_lengths_B[:, None, None])
        if self.key_mask_BS is not None:
            allowed.append(self.key_mask_BS[:, None, :])
        if self.query_segments_BT is not None and self.key_segments_BS is not None:
            query, key = self.query_segments_BT[:, :, None], self.key_segments_BS[:, None, :]
            allowed.append((query == key) & (key != 0))
        if self.visible_BTS is not None:
            allowed.append(self.visible_BTS)
        if not allowed:
            return None
        result = allowed[0]
        for other in allowed[1:]:
            result = result & other
        return result

    @property
    def places_keys(self) -> bool:
        """Whether it gives positions or visible keys, which only dense implementations take."""
        fields = (self.visible_BTS, self.query_positions_BT, self.key_positions_BS)
        return any(field is not None for field in fields)

    def segments(
        self, batch: int, num_queries: int, num_keys: int
    ) -> tuple[Int[Array, "B T"], Int[Array, "B S"]] | None:
        """Padding and packing as one pair of segment ids, the form the splash kernel takes."""
        query, key = self.query_segments_BT, self.key_segments_BS
        if query is None or key is None:
            if self.key_mask_BS is None and self.key_lengths_B is None:
                return None
            query = jnp.ones((batch, num_queries), jnp.int32)
            key = jnp.ones((batch, num_keys), jnp.int32)
        if self.key_mask_BS is not None:
            key = jnp.where(self.key_mask_BS, key, 0)
        if self.key_lengths_B is not None:
            key = jnp.where(jnp.arange(num_keys)[None] < self.key_lengths_B[:, None], key, 0)
        # Padded queries keep a segment that no key has: they attend to nothing.
        return jnp.where(query == 0, -1, query), key


def rows_with_keys(mask: Mask, num_queries: int, num_keys: int) -> Bool[jax.Array, "#B #T"] | None:
    """True for queries that may attend to at least one key; None when all of them may."""
    dense = mask.dense(num_queries, num_keys)
    return None if dense is None else dense.any(axis=-1)
