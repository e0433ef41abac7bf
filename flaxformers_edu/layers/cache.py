"""What a decoder remembers: keys and values in fixed shapes, and who may see which slot.

Hypotheses of one row (beams, samples) share one set of slots. A step appends one slot for every
hypothesis, and a small table says which slots each of them may see: its own past and the prompt.
Reordering beams therefore permutes that table and never moves a key or a value; the N hypotheses
are simply N queries on the same keys.

Dims: B batch, N hypotheses a row, T new positions, S slots, G key/value heads, K, W head_dim.
"""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from flaxformers_edu.layers.masks import Mask


@struct.dataclass
class KeysValues:
    """Keys and values of one attention layer, as they are projected."""

    key_BSGK: Float[Array, "B S G K"]
    value_BSGW: Float[Array, "B S G W"]


@struct.dataclass
class Slots:
    """Keys and values of one attention layer, in the order in which every decoding step reads them.

    Head by head, and keys with the slots last: both products of attention are then batched matrix
    products on what lies there. In any other order each step would first copy all slots into this
    one. (Views with the names of `KeysValues` cost nothing: the products undo the transposition.)
    """

    key_BGKS: Float[Array, "*layers B G K S"]
    value_BGSW: Float[Array, "*layers B G S W"]

    @classmethod
    def empty(
        cls, batch: int, num_kv_heads: int, num_slots: int, head_dim: int, dtype: Any
    ) -> "Slots":
        """Zeros."""
        return cls(
            jnp.zeros((batch, num_kv_heads, head_dim, num_slots), dtype),
            jnp.zeros((batch, num_kv_heads, num_slots, head_dim), dtype),
        )

    @classmethod
    def of(cls, seen: KeysValues) -> "Slots":
        """The same, reordered."""
        return cls(seen.key_BSGK.transpose(0, 2, 3, 1), seen.value_BSGW.transpose(0, 2, 1, 3))

    @property
    def key_BSGK(self) -> Float[Array, "B S G K"]:
        """The keys as they were projected."""
        return self.key_BGKS.transpose(0, 3, 1, 2)

    @property
    def value_BSGW(self) -> Float[Array, "B S G W"]:
        """The values as they were projected."""
        return self.value_BGSW.transpose(0, 2, 1, 3)

    def write(self, new: KeysValues, slot: Int[Array, ""] | int) -> "Slots":
        """A copy with `new` at `slot` and after (in place where nothing else needs the old one)."""
        new_slots = Slots.of(new)
        return Slots(
            jax.lax.dynamic_update_slice(
                self.key_BGKS, new_slots.key_BGKS.astype(self.key_BGKS.dtype), (0, 0, 0, slot)
            ),
            jax.lax.dynamic_update_slice(
                self.value_BGSW, new_slots.value_BGSW.astype(self.value_BGSW.dtype), (0, 0, slot, 0)
            ),
        )


@struct.dataclass
class LayerCache:
    """The cache of one decoder block: its own slots, and the source's (computed once)."""

    attention: Slots
    cross_attention: Slots | None = None


def empty_layers(
    empty: Slots, num_layers: int, *, stacked: bool, sources: Any = None
) -> "tuple[LayerCache, ...] | LayerCache":
    """The caches of `num_layers` blocks: one each, or stacked for a scan over the layers.

    `sources` are the source's slots in the same form, as `Stack.each_layer` gives them.
    """
    if stacked:
        repeated = jax.tree.map(lambda x: jnp.broadcast_to(x, (num_layers, *x.shape)), empty)
        return LayerCache(repeated, sources)
    sources = (None,) * num_layers if sources is None else sources
    return tuple(LayerCache(empty, source) for source in sources)


@struct.dataclass
class DecodeCache:
    """All that a decoder remembers between steps."""

    layers: tuple[LayerCache, ...] | LayerCache
    """One a layer; one with a leading layers axis where the stack is scanned."""
    visible_BNS: Bool[Array, "B N S"]
    slot_positions_BS: Int[Array, "B S"]
    next_position_B: Int[Array, " B"]
    next_slot: Int[Array, ""]
    source_mask_BS: Bool[Array, "B source"] | None = None

    @classmethod
    def create(
        cls,
        layers: tuple[LayerCache, ...] | LayerCache,
        *,
        prompt_mask_BP: Bool[Array, "B P"],
        num_beams: int,
        max_new_tokens: int,
        source_mask_BS: Bool[Array, "B source"] | None = None,
    ) -> "DecodeCache":
        """An empty cache of `num_slots(...)` slots, of which the prompt takes the first P.

        The prompt's slots are visible to every hypothesis, its padding to none, and positions
        count real tokens only, so that left padding changes nothing.
        """
        B, P = prompt_mask_BP.shape
        generated = num_beams * max_new_tokens
        visible_BS = jnp.pad(prompt_mask_BP, ((0, 0), (0, generated)))
        positions_BP = prompt_positions(prompt_mask_BP)
        return cls(
            layers=layers,
            visible_BNS=jnp.repeat(visible_BS[:, None], num_beams, axis=1),
            slot_positions_BS=jnp.pad(positions_BP, ((0, 0), (0, generated))),
            next_position_B=prompt_mask_BP.sum(axis=1, dtype=jnp.int32),
            next_slot=jnp.asarray(P, jnp.int32),
            source_mask_BS=source_mask_BS,
        )

    def extend(self) -> "DecodeCache":
        """Opens one more slot for each hypothesis: its own new token becomes visible to it."""
        B, N, S = self.visible_BNS.shape
        slots_S = jnp.arange(S)
        own_NS = slots_S[None] == self.next_slot + jnp.arange(N)[:, None]
        fresh_S = (slots_S >= self.next_slot) & (slots_S < self.next_slot + N)
        return replace(
            self,
            visible_BNS=self.visible_BNS | own_NS[None],
            slot_positions_BS=jnp.where(
                fresh_S[None], self.next_position_B[:, None], self.slot_positions_BS
            ),
        )

    def advance(self, layers: tuple[LayerCache, ...] | LayerCache) -> "DecodeCache":
        """After the layers have written the open slots: step past them."""
        return replace(
            self,
            layers=layers,
            next_slot=self.next_slot + self.visible_BNS.shape[1],
            next_position_B=self.next_position_B + 1,
        )

    def positions(self) -> Int[Array, "B N"]:
        """The position of each hypothesis' newest token."""
        B, N = self.visible_BNS.shape[:2]
        return jnp.broadcast_to(self.next_position_B[:, None], (B, N))

    def mask(self, window: int | None = None) -> Mask:
        """What each hypothesis may see now."""
        if window is None:
            return Mask(visible_BTS=self.visible_BNS)
        return Mask(
            window=window,
            visible_BTS=self.visible_BNS,
            query_positions_BT=self.positions(),
            key_positions_BS=self.slot_positions_BS,
        )

    def reorder(self, parents_BN: Int[Array, "B N"]) -> "DecodeCache":
        """Hypothesis n goes on from hypothesis parents[b, n]: inherits what that one may see."""
        visible_BNS = jnp.take_along_axis(self.visible_BNS, parents_BN[:, :, None], axis=1)
        return replace(self, visible_BNS=visible_BNS)


def num_slots(prompt_length: int, num_beams: int, max_new_tokens: int) -> int:
    """Slots that a cache needs for a prompt and `max_new_tokens` of each hypothesis."""
    return prompt_length + num_beams * max_new_tokens


def prompt_positions(prompt_mask_BP: Bool[Array, "B P"]) -> Int[Array, "B P"]:
    """Positions that count real tokens only (padding on the left gets 0), as Hugging Face does."""
    return jnp.maximum(jnp.cumsum(prompt_mask_BP, axis=1, dtype=jnp.int32) - 1, 0)
