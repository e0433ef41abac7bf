"""One step of a recurrent decoder that may look at a source: Luong's wiring, and Bahdanau's.

Luong et al. 2015, section 3: attention comes after the recurrent layers. The attentional vector
h~ = tanh(W_c [c; h]) is what the output layer reads and, with input feeding (section 3.3), a part
of the next step's input. Bahdanau et al. 2014, appendix A.2.2: the state before the step chooses
the context, which enters the step beside the word; the output layer reads the maxout of a map of
state, word and context.

These are cells of `recurrence.scan_cell`: pure functions that ask for their weights by name.

Dims: B batch, T target length, S source length, R rows of a step (B, or B times the hypotheses of a
row), D size of an embedding, H units, E size of a source state, F size of what the output layer
reads, V vocabulary, G gates, N = G · H.
"""

import dataclasses
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int

from flaxformers_edu.layers.alignment import Score, Source, attend
from flaxformers_edu.layers.recurrence import Product
from flaxformers_edu.layers.recurrent import Kind, RecurrentState, gru_step, lstm_step

Wiring = Literal["luong", "bahdanau"]


@struct.dataclass
class DecoderState:
    """What a decoder remembers between steps."""

    layers: tuple[RecurrentState, ...]
    fed_RF: Any = None
    """The attentional vector of the step before; None without input feeding."""


@dataclasses.dataclass(frozen=True)
class Wires:
    """How a step is put together: the static part of its cell."""

    kind: Kind
    num_layers: int
    score: Score | None
    wiring: Wiring
    input_feeding: bool
    dropout: float
    """Between layers, as the masks of a step have it."""
    shows: bool = False
    """Whether a step gives the weights of its attention, too."""

    @property
    def looks_within(self) -> bool:
        """Whether a step looks at the source: the next one depends on what it saw."""
        return self.score is not None and (self.wiring == "bahdanau" or self.input_feeding)


@struct.dataclass
class Seen:
    """What comes of a step; None where there is no such thing, or not yet."""

    hidden_RH: Array
    context_RE: Any = None
    vector_RF: Any = None
    """Luong's attentional vector."""
    weights_BTS: Any = None


def decoder_step(
    wires: Wires,
    product: Product,
    source: Any,
    state: DecoderState,
    x: tuple[Array, tuple[Array, ...]],
) -> tuple[DecoderState, Seen]:
    """One step; x has the word's part of the lowest layer's gates, and the masks of dropout.

    The `Source` may be None where it is not looked at.
    """
    drive_RN, keep = x
    context_RE = vector_RF = weights_BTS = None
    score = wires.score if wires.looks_within else None
    if score is not None and wires.wiring == "bahdanau":
        before_RH = state.layers[-1].hidden_BP
        context_RE, weights_BTS = attend(score, product, before_RH, source)
        drive_RN = drive_RN + product("feed", context_RE)
    elif score is not None:
        drive_RN = drive_RN + product("feed", state.fed_RF)
    layers: list[RecurrentState] = []
    hidden_RH = drive_RN
    for number in range(wires.num_layers):
        if number:
            below_RH = _thinned(hidden_RH, keep[number - 1] if keep else None, wires.dropout)
            drive_RN = product(f"{number}/input", below_RH)
        own = partial(_of_layer, product, number)
        before, drive = state.layers[number], (drive_RN, None)
        if wires.kind == "lstm":
            after, hidden_RH = lstm_step(None, None, None, own, None, before, drive)
        else:
            after, hidden_RH = gru_step(own, None, before, drive)
        layers.append(after)
    if score is not None and wires.wiring == "luong":
        looked_at_RE, weights_BTS = attend(score, product, hidden_RH, source)
        vector_RF = attentional_vector(product, hidden_RH, looked_at_RE)
    seen = Seen(hidden_RH, context_RE, vector_RF, weights_BTS if wires.shows else None)
    return DecoderState(tuple(layers), vector_RF), seen


def speaking_step(
    wires: Wires,
    rate: float,
    product: Product,
    source: Source | None,
    state: tuple[DecoderState, Int[Array, " R"]],
    x: Any,
) -> tuple[tuple[DecoderState, Array], tuple[Array, Array, Array]]:
    """A step that may read the word it has drawn itself at the step before.

    x has the right word, whether to read the own one, a key, and the masks of dropout: on the word,
    on what the output layer reads, and between layers.

    Returns:
        The state, and (what the output layer read, its logits, the word that the step read).
    """
    before, drawn_R = state
    right_R, own_R, key, keep_RD, keep_RF, keep = x
    word_R = jnp.where(own_R, drawn_R, right_R)
    word_RD = _thinned(product("embedding", word_R), keep_RD, rate)
    drive_RN = product("0/input", word_RD)
    after, seen = decoder_step(wires, product, source, before, (drive_RN, keep))
    read_RF, _ = readout(wires, product, source, seen, word_RD)
    read_RF = _thinned(read_RF, keep_RF, rate)
    logits_RV = product("output", read_RF)
    drawn_R = jax.random.categorical(key, logits_RV.astype(jnp.float32)).astype(right_R.dtype)
    return (after, drawn_R), (read_RF, logits_RV, word_R)


def attentional_vector(product: Product, hidden_RH: Array, context_RE: Array) -> Array:
    """tanh(W_c [c; h]), equation 5."""
    return jnp.tanh(product("attentional", jnp.concatenate([context_RE, hidden_RH], axis=-1)))


def readout(
    wires: Wires, product: Product, source: Source | None, seen: Seen, word_RD: Array
) -> tuple[Float[Array, "R F"], Any]:
    """What the output layer reads, and the weights of attention if they are found only here."""
    if wires.score is None:
        return seen.hidden_RH, None
    if wires.wiring == "bahdanau":
        parts = (seen.hidden_RH, word_RD, seen.context_RE)
        pairs = product("readout", jnp.concatenate(parts, axis=-1))
        return pairs.reshape(len(pairs), -1, 2).max(axis=-1), None
    if wires.looks_within:
        return seen.vector_RF, None
    assert source is not None
    context_RE, weights_BTS = attend(wires.score, product, seen.hidden_RH, source)
    return attentional_vector(product, seen.hidden_RH, context_RE), weights_BTS


def _of_layer(product: Product, number: int, name: str, v: Array) -> Array:
    return product(f"{number}/{name}", v)


def _thinned(x_RH: Array, keep_RH: Array | None, rate: float) -> Array:
    """Dropout whose mask was drawn before the loop."""
    if keep_RH is None:
        return x_RH
    return jnp.where(keep_RH, x_RH / jnp.asarray(1 - rate, x_RH.dtype), 0)
