"""What a decoder remembers: keys and values in fixed shapes, and who may see which slot.

Hypotheses of one row (beams, samples) share one set of slots. A step appends one slot for every
hypothesis, and a small table says which slots each of them may see: its own past and the prompt.
Reordering beams therefore permutes that table and never moves a key or a value; the N hypotheses
are simply N queries on the same keys.

Dims: B batch, N hypotheses a row, T new positions, S slots, G key/value heads, K, W head_dim.
"""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from flaxformers_edu.layers.masks import Mask


@struct.dataclass
class KeysValues:
    """Keys and values of one attention layer."""

    key_BSGK: Float[Array, "*layers B S G K"]
    value_BSGW: Float[Array, "*layers B S G W"]

    def write(self, new: "KeysValues", slot: Int[Array, ""] | int) -> "KeysValues":
        """A copy with `new` at `slot` and after (in place when the caller donates the buffer)."""
        start = (0, slot, 0, 0)
        return KeysValues(
            jax.lax.dynamic_update_slice(
                self.key_BSGK, new.key_BSGK.astype(self.key_BSGK.dtype), start
            ),
            jax.lax.dynamic_update_slice(
                self.value_BSGW, new.value_BSGW.astype(self.value_BSGW.dtype), start
            ),
        )


@struct.dataclass
class LayerCache:
    """The cache of one decoder block: its own slots, and the source's (computed once)."""

    attention: KeysValues
    cross_attention: KeysValues | None = None


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
        return self.replace(
            visible_BNS=self.visible_BNS | own_NS[None],
            slot_positions_BS=jnp.where(
                fresh_S[None], self.next_position_B[:, None], self.slot_positions_BS
            ),
        )

    def advance(self, layers: tuple[LayerCache, ...] | LayerCache) -> "DecodeCache":
        """After the layers have written the open slots: step past them."""
        return self.replace(
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
        return self.replace(visible_BNS=visible_BNS)


def num_slots(prompt_length: int, num_beams: int, max_new_tokens: int) -> int:
    """Slots that a cache needs for a prompt and `max_new_tokens` of each hypothesis."""
    return prompt_length + num_beams * max_new_tokens


def prompt_positions(prompt_mask_BP: Bool[Array, "B P"]) -> Int[Array, "B P"]:
    """Positions that count real tokens only (padding on the left gets 0), as Hugging Face does."""
    return jnp.maximum(jnp.cumsum(prompt_mask_BP, axis=1, dtype=jnp.int32) - 1, 0)
