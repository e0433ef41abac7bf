"""A recurrent decoder: its parameters, and its steps over a target (`recurrent_decoder_cell`).

One scan goes over a target. Inside of it is only what depends on the step before: the product with
the embeddings comes before it, and attention without input feeding after it, for all steps at once.

Dims: B batch, T target length, N hypotheses a row, R rows of a step (B, or B · N), S source length,
D size of an embedding, H units, E size of a source state, F size of what the output layer reads,
V vocabulary, G gates.
"""

import dataclasses
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from flaxformers_edu.layers.alignment import Alignment, Score, Source
from flaxformers_edu.layers.dropout import dropout
from flaxformers_edu.layers.intermediates import wanted
from flaxformers_edu.layers.linear import partitioned_param, xavier
from flaxformers_edu.layers.recurrence import Weight, by_rows, multiply, scan_cell, whole
from flaxformers_edu.layers.recurrent import GATES, GateWeights, Kind, RecurrentState, uniform
from flaxformers_edu.layers.recurrent_decoder_cell import (
    DecoderState,
    Wires,
    Wiring,
    decoder_step,
    readout,
    speaking_step,
)


class RecurrentDecoder(nn.Module):
    """Recurrent layers over a target, and what the output layer reads of them.

    Parameters: `layers_0/input/kernel` [D + fed, G, H] and so on as `Recurrent` has them, where fed
    is what enters beside the word: E in Bahdanau's wiring, F with input feeding; `cross_attention`,
    see `Alignment`; `attentional` [E + H, F], Luong's W_c, or `readout` [H + D + E, 2F],
    Bahdanau's.

    `score` None looks at no source, and the output layer reads the highest layer itself.
    """

    kind: Kind
    num_layers: int
    embedding_size: int
    hidden_size: int
    source_size: int
    readout_size: int
    score: Score | None = None
    wiring: Wiring = "luong"
    input_feeding: bool = False
    dropout: float = 0.0
    unroll: int = 1
    dtype: Any = None

    def setup(self) -> None:
        D, H, E, F = self.embedding_size, self.hidden_size, self.source_size, self.readout_size
        self.layers = [_Layer(self.kind, H) for _ in range(self.num_layers)]
        if self.score is None:
            return
        self.cross_attention = Alignment(self.score, H, E, self.dtype)
        axes = ("embed", "mlp")
        if self.wiring == "luong":
            self.attentional = partitioned_param(self, "attentional", xavier, axes, (E + H, F))
        else:
            shape = (H + D + E, 2 * F)
            self.readout = partitioned_param(self, "readout", xavier, axes, shape)

    def source(self, states_BSE: Float[Array, "B S E"], mask_BS: Any = None) -> Source | None:
        """A source, made ready; None where none is looked at."""
        return None if self.score is None else self.cross_attention.source(states_BSE, mask_BS)

    def start(self, layers: tuple[RecurrentState, ...]) -> DecoderState:
        """The state before the first word, from those of the layers."""
        if not (self._wires().looks_within and self.wiring == "luong"):
            return DecoderState(layers)
        hidden = layers[-1].hidden_BP
        return DecoderState(layers, jnp.zeros((len(hidden), self.readout_size), hidden.dtype))

    def __call__(
        self,
        x_BTD: Float[Array, "B T D"],
        state: DecoderState,
        source: Source | None,
        *,
        deterministic: bool = True,
    ) -> Float[Array, "B T F"]:
        """Reads the embedded words of a target: what the output layer is to read at each place."""
        (B, T, D), wires = x_BTD.shape, self._wires()
        product = partial(multiply, weights := self._weights(x_BTD.dtype))
        drive_TBN = product("0/input", by_rows(x_BTD.swapaxes(0, 1), axis=1))
        keep = self._keep((T, B), deterministic)
        _, seen = scan_cell(
            partial(decoder_step, wires),
            False,
            self.unroll,
            weights,
            source,
            state,
            (drive_TBN, keep),
        )
        rows = jax.tree.map(lambda y: y.swapaxes(0, 1), dataclasses.replace(seen, weights_BTS=None))
        rows = jax.tree.map(lambda y: y.reshape(B * T, *y.shape[2:]), rows)
        read_RF, weights_BTS = readout(wires, product, source, rows, x_BTD.reshape(B * T, D))
        if weights_BTS is None and seen.weights_BTS is not None:  # [T, B, 1, S]
            weights_BTS = seen.weights_BTS[:, :, 0].swapaxes(0, 1)
        if weights_BTS is not None:
            self.cross_attention.show(weights_BTS)
        return read_RF.reshape(B, T, -1)

    def step(
        self, x_BND: Float[Array, "B N D"], state: DecoderState, source: Source | None
    ) -> tuple[Float[Array, "B N F"], DecoderState]:
        """One word of each hypothesis; the state's rows are those of B · N, the source's B."""
        B, N, D = x_BND.shape
        product, x_RD = partial(multiply, self._weights(x_BND.dtype)), x_BND.reshape(B * N, D)
        drive = (product("0/input", x_RD), ())
        state, seen = decoder_step(self._wires(), product, source, state, drive)
        read_RF, _ = readout(self._wires(), product, source, seen, x_RD)
        return read_RF.reshape(B, N, -1), state

    def speak(
        self,
        ids_BT: Int[Array, "B T"],
        own_BT: Array,
        state: DecoderState,
        source: Source | None,
        *,
        embedding_VD: Float[Array, "V D"],
        output_FV: Float[Array, "F V"],
        dropout_rate: float,
    ) -> tuple[Float[Array, "B T F"], Float[Array, "B T V"], Int[Array, "B T"]]:
        """As `__call__`, but where `own_BT` is true the word is drawn from the step before.

        Embeddings, output layer and the dropout on both are therefore within the scan.

        Returns:
            What the output layer read, its logits, and the words that were read.
        """
        (B, T), D = ids_BT.shape, embedding_VD.shape[1]
        dtype = self.dtype or embedding_VD.dtype
        weights = self._weights(dtype)
        weights |= {"embedding": embedding_VD.astype(dtype), "output": output_FV.astype(dtype)}
        keys_T = jax.random.split(self.make_rng("dropout"), T)
        masks = [self._mask((T, B, width), dropout_rate) for width in (D, self.readout_size)]
        steps = (ids_BT.T, own_BT.T, keys_T, *masks, self._keep((T, B), deterministic=False))
        _, found = scan_cell(
            partial(speaking_step, self._wires(shows=False), dropout_rate),
            False,
            self.unroll,
            weights,
            source,
            (state, ids_BT[:, 0]),
            steps,
        )
        read_BTF, logits_BTV, words_BT = jax.tree.map(lambda y: y.swapaxes(0, 1), found)
        return read_BTF, logits_BTV, words_BT

    @nn.nowrap
    def _wires(self, *, shows: bool | None = None) -> Wires:
        shows = wanted(self) if shows is None else shows
        settings = (self.kind, self.num_layers, self.score, self.wiring, self.input_feeding)
        return Wires(*settings, self.dropout, shows)

    def _weights(self, dtype: Any) -> dict[str, Weight]:
        """All weights by the names that a step asks for."""
        fed = 0
        if self._wires(shows=False).looks_within:
            fed = self.source_size if self.wiring == "bahdanau" else self.readout_size
        D = self.embedding_size
        weights: dict[str, Weight] = {}
        for number, layer in enumerate(self.layers):
            kernel_IN, bias_N, recurrent_HN, recurrent_bias_N = layer(
                self.hidden_size if number else D + fed
            )
            if fed and not number:
                kernel_IN, weights["feed"] = kernel_IN[:D], kernel_IN[D:]
            is_lstm = self.kind == "lstm"  # whose two biases are always added
            bias_N = bias_N + recurrent_bias_N if is_lstm else bias_N
            recurrent = recurrent_HN if is_lstm else (recurrent_HN, recurrent_bias_N)
            weights |= {f"{number}/input": (kernel_IN, bias_N), f"{number}/recurrent": recurrent}
        if self.score is not None:
            weights |= self.cross_attention.weights()
            name = "attentional" if self.wiring == "luong" else "readout"
            weights[name] = getattr(self, name)
        return jax.tree.map(lambda weight: whole(weight.astype(dtype)), weights)

    @nn.nowrap
    def _keep(self, leading: tuple[int, int], deterministic: bool) -> tuple[Array, ...]:
        """The masks of dropout between layers, for all steps."""
        if deterministic or not self.dropout or self.num_layers == 1:
            return ()
        shape = (*leading, self.hidden_size)
        return tuple(self._mask(shape, self.dropout) for _ in range(self.num_layers - 1))

    @nn.nowrap
    def _mask(self, shape: tuple[int, ...], rate: float) -> Any:
        """Which elements stay; None where all do."""
        if not rate:
            return None
        return dropout(jnp.ones(shape), rate, self.make_rng("dropout")) != 0


class _Layer(nn.Module):
    """The parameters of one layer, as `Recurrent` has them."""

    kind: Kind
    hidden_size: int

    @nn.compact
    def __call__(self, inputs: int) -> tuple[Array, Array, Array, Array]:
        """Kernel and bias of the inputs, and of the recurrence; gates and units side by side."""
        features, begin = (len(GATES[self.kind]), self.hidden_size), uniform(self.hidden_size)
        make = partial(GateWeights, features, ("gates", "mlp"), begin, bias_init=begin)
        kernel_IGH, bias_GH = make(name="input")(inputs)
        recurrent_HGH, recurrent_bias_GH = make(name="recurrent")(self.hidden_size)
        flat = (kernel_IGH.reshape(inputs, -1), bias_GH.reshape(-1))
        return *flat, recurrent_HGH.reshape(self.hidden_size, -1), recurrent_bias_GH.reshape(-1)
