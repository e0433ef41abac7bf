"""One recurrent layer: LSTM (Hochreiter & Schmidhuber 1997; Gers et al. 2000) or GRU (Cho et al.
2014).

The products with the inputs are one matrix product over all steps; the scan has only what depends
on the step before (see `recurrence`). Padding passes the state on unchanged, so that a sequence's
last state is that of its last real token, and a backward direction begins there.

Dims: B batch, T length, D input size, G gates, H units (the size of the cell), P size of the
output: that of a projection, or H.
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from flaxformers_edu.errors import InputError, unknown_name
from flaxformers_edu.layers.dropout import dropout
from flaxformers_edu.layers.linear import Initializer, on_one_cpu, partitioned_param
from flaxformers_edu.layers.recurrence import (
    Cell,
    Product,
    Weight,
    by_rows,
    multiply,
    scan_cell,
    whole,
)

Kind = Literal["lstm", "gru"]

GATES: dict[str, tuple[str, ...]] = {
    "lstm": ("input", "forget", "cell", "output"),
    "gru": ("reset", "update", "new"),
}
"""The order in which the gates of a kind lie here, which is torch's."""
TENSORFLOW_LSTM_GATES = ("input", "cell", "forget", "output")
"""TensorFlow's LSTMCell has the candidate second, and adds 1 to the forget gate as it runs."""


def reorder_gates(
    array: Array | np.ndarray, axis: int, have: Sequence[str], want: Sequence[str]
) -> Array | np.ndarray:
    """An array whose axis of gates is in another order."""
    return array.take(np.array([tuple(have).index(gate) for gate in want]), axis=axis)


@struct.dataclass
class RecurrentState:
    """What a layer remembers between steps."""

    hidden_BP: Float[Array, "B P"]
    """The output of the step before."""
    cell_BH: Any = None
    """An LSTM's cell, [B, H] in float32; a GRU has none."""


@struct.dataclass
class Loop:
    """What `scan_cell` takes for a layer."""

    cell: Cell = struct.field(pytree_node=False)
    weights: Mapping[str, Weight]
    state: RecurrentState
    xs: tuple[Array, Array | None]
    """The inputs' part of the gates, [T, B, N], and the mask, [T, B, 1]."""
    columns: bool = struct.field(pytree_node=False)
    """Whether the cell is for columns, see `scan_cell`."""


class Recurrent(nn.Module):
    """One recurrent layer in one direction.

    LSTM: c' = σ(f) c + σ(i) tanh(g), h' = σ(o) tanh(c'). With `projection_size`, h' is multiplied
    by a matrix without bias (Sak et al. 2014), and `cell_clip` and `projection_clip` bound c'
    (before anything reads it) and the projected h', as ELMo has it.
    GRU: h' = (1 - z) tanh(n + r · (h W_n + b_n)) + z h, with the reset gate after the product, as
    torch and cuDNN have it.

    Parameters: `input/kernel` [D, G, H] and `input/bias`, `recurrent/kernel` [P, G, H] and, with
    `recurrent_bias`, `recurrent/bias`, `projection/kernel` [H, P]. All begin uniformly within
    ±1/√H, as torch's do; with a `kernel_init`, kernels begin with that, gate by gate, and biases
    with zeros. `forget_bias` is added to an LSTM's first forget biases; `forget_offset` to its
    forget biases whenever they are used, as TensorFlow's LSTMCell does, and is in no parameter.

    `weight_drop` drops entries of the recurrent kernel, the same at all steps (DropConnect; Merity
    et al. 2017, section 2). `unroll` writes out so many steps in each round of the loop.
    """

    kind: Kind
    hidden_size: int
    projection_size: int | None = None
    recurrent_bias: bool = True
    cell_clip: float | None = None
    projection_clip: float | None = None
    forget_bias: float = 0.0
    forget_offset: float = 0.0
    weight_drop: float = 0.0
    unroll: int = 1
    kernel_init: Initializer | None = None
    dtype: Any = None

    def setup(self) -> None:
        if self.kind not in GATES:
            raise unknown_name("kind of recurrent layer", self.kind, GATES)
        special = (self.projection_size, self.cell_clip, self.projection_clip)
        if self.kind == "gru" and any(value is not None for value in special):
            raise InputError("a gru has no cell: projection and clipping are for kind='lstm'")
        if self.kind == "gru" and not self.recurrent_bias:
            raise InputError("a gru's reset gate scales its recurrent bias: it cannot be left out")

    @property
    def output_size(self) -> int:
        """P."""
        return self.projection_size or self.hidden_size

    def start(self, batch_size: int, dtype: Any = jnp.float32) -> RecurrentState:
        """The state before the first step: zeros."""
        hidden_BP = jnp.zeros((batch_size, self.output_size), self.dtype or dtype)
        if self.kind == "gru":
            return RecurrentState(hidden_BP)
        return RecurrentState(hidden_BP, jnp.zeros((batch_size, self.hidden_size), jnp.float32))

    def __call__(
        self,
        x_BTD: Float[Array, "B T D"],
        state: RecurrentState | None = None,
        mask_BT: Bool[Array, "B T"] | Int[Array, "B T"] | None = None,
        *,
        reverse: bool = False,
        deterministic: bool = True,
    ) -> tuple[Float[Array, "B T P"], RecurrentState]:
        """The outputs, zero at padding, and the state after the last step.

        Args:
            x_BTD: the inputs.
            state: to go on from; None: zeros.
            mask_BT: 1 for real tokens, wherever they are; None: all are.
            reverse: from the last step to the first; the last real token is then read first.
            deterministic: without `weight_drop`.
        """
        loop = self.prepare(x_BTD, state, mask_BT, deterministic=deterministic)
        if x_BTD.shape[1] == 1:  # a step of decoding: no loop within the loop
            once = jax.tree.map(lambda x: x[0], loop.xs)
            state, y_BP = loop.cell(partial(multiply, loop.weights), None, loop.state, once)
            return y_BP[:, None], state
        parts = (loop.weights, None, loop.state, loop.xs)
        state, y_TBP = scan_cell(loop.cell, reverse, self.unroll, *parts, columns=loop.columns)
        return y_TBP.swapaxes(0, 1), state

    @nn.compact
    def prepare(
        self,
        x_BTD: Float[Array, "B T D"],
        state: RecurrentState | None = None,
        mask_BT: Bool[Array, "B T"] | Int[Array, "B T"] | None = None,
        *,
        deterministic: bool = True,
    ) -> Loop:
        """All that does not depend on the step before; arguments as of a call."""
        (B, T, D), G = x_BTD.shape, len(GATES[self.kind])
        dtype = self.dtype or x_BTD.dtype
        to_gates = partial(GateWeights, (G, self.hidden_size), ("gates", "mlp"), self._init)
        kernel_DGH, bias_GH = to_gates(bias_init=self._first_bias, name="input")(D)
        recurrent_bias_init = self._bias_init if self.recurrent_bias else None
        recurrent = to_gates(bias_init=recurrent_bias_init, name="recurrent")
        recurrent_PGH, recurrent_bias_GH = recurrent(self.output_size)
        if not deterministic and self.weight_drop:
            recurrent_PGH = dropout(recurrent_PGH, self.weight_drop, self.make_rng("dropout"))
        recurrent_PN = recurrent_PGH.reshape(self.output_size, -1).astype(dtype)
        weights: dict[str, Weight] = {"recurrent": recurrent_PN}
        if self.projection_size is not None:
            features, axes = (self.projection_size,), ("embed",)
            projection = GateWeights(features, axes, self._init, "mlp", name="projection")
            weights["projection"] = projection(self.hidden_size)[0].astype(dtype)

        columns = T > 1 and on_one_cpu()
        axis = -2 if columns else -1
        cell: Cell = partial(gru_step, axis=axis)
        if self.kind == "lstm":  # whose two biases are always added: once, outside of the loop
            limits = (self.cell_clip, self.projection_clip, self.projection_size)
            cell = partial(lstm_step, *limits, axis=axis)
            bias_GH = bias_GH if recurrent_bias_GH is None else bias_GH + recurrent_bias_GH
            if self.forget_offset:
                bias_GH = bias_GH.at[GATES["lstm"].index("forget")].add(self.forget_offset)
        else:
            weights["recurrent"] = (recurrent_PN, recurrent_bias_GH.reshape(-1).astype(dtype))
        # Steps first, before the product: it is the smaller of its two sides.
        x_TBD = by_rows(x_BTD.swapaxes(0, 1).astype(dtype), axis=1)
        to_gates_DN = (kernel_DGH.reshape(D, -1).astype(dtype), bias_GH.reshape(-1).astype(dtype))
        drive_TBN = multiply({"input": jax.tree.map(whole, to_gates_DN)}, "input", x_TBD)
        mask_TB1 = None if mask_BT is None else (jnp.asarray(mask_BT) != 0).T[..., None]
        state = self.start(B, dtype) if state is None else state
        return Loop(cell, weights, state, (drive_TBN, mask_TB1), columns)

    @property
    def _init(self) -> Initializer:
        return self.kernel_init or uniform(self.hidden_size)

    @property
    def _bias_init(self) -> Initializer:
        return nn.initializers.zeros if self.kernel_init else uniform(self.hidden_size)

    def _first_bias(self, key: Array, shape: Sequence[int], dtype: Any = jnp.float32) -> Array:
        """The inputs' biases as they begin, that of the forget gate raised."""
        bias_GH = self._bias_init(key, shape, dtype)
        if not self.forget_bias:
            return bias_GH
        return bias_GH.at[GATES["lstm"].index("forget")].add(self.forget_bias)


class GateWeights(nn.Module):
    """A kernel [inputs, *features], and a bias [*features] or None."""

    features: tuple[int, ...]
    axes: tuple[str, ...]
    init: Initializer
    input_axis: str = "embed"
    bias_init: Initializer | None = None

    @nn.compact
    def __call__(self, inputs: int) -> tuple[Array, Any]:
        """Kernel and bias, None without `bias_init`."""

        def init_kernel(key: Array, shape: Sequence[int], dtype: Any = jnp.float32) -> Array:
            # Fans are those of one gate's matrix.
            parts = [
                self.init(part, (inputs, self.features[-1]), dtype)
                for part in jax.random.split(key, math.prod(self.features[:-1]))
            ]
            return jnp.stack(parts, axis=1).reshape(shape)

        axes, shape = (self.input_axis, *self.axes), (inputs, *self.features)
        kernel = partitioned_param(self, "kernel", init_kernel, axes, shape)
        if self.bias_init is None:
            return kernel, None
        return kernel, partitioned_param(self, "bias", self.bias_init, self.axes, self.features)


def uniform(hidden_size: int) -> Initializer:
    """Uniform within ±1/√H."""
    bound = hidden_size**-0.5

    def init(key: Array, shape: Sequence[int], dtype: Any = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def sigmoid(x: Array) -> Array:
    """σ(x) = (1 + tanh(x/2)) / 2: less work on an Intel Xeon than XLA's by the exponential."""
    return 0.5 * jnp.tanh(0.5 * x) + 0.5


def _kept(mask_B1: Array | None, new: Any, old: Any) -> Any:
    """The new state, and the old one where a step is padding."""
    if mask_B1 is None:
        return new
    return jax.tree.map(lambda a, b: jnp.where(mask_B1, a, b), new, old)


def lstm_step(
    cell_clip: float | None,
    projection_clip: float | None,
    projection_size: int | None,
    product: Product,
    _: None,
    state: RecurrentState,
    x: tuple[Array, Array | None],
    axis: int = -1,
) -> tuple[RecurrentState, Array]:
    """A step of an LSTM; x has the inputs' part of the gates with the biases, and the mask.

    Gates lie along `axis`: -2 for columns.
    """
    drive_BN, mask_B1 = x
    gates_BN = (drive_BN + product("recurrent", state.hidden_BP)).astype(jnp.float32)
    input_BH, forget_BH, new_BH, output_BH = jnp.split(gates_BN, 4, axis=axis)
    cell_BH = sigmoid(forget_BH) * state.cell_BH + sigmoid(input_BH) * jnp.tanh(new_BH)
    cell_BH = cell_BH if cell_clip is None else jnp.clip(cell_BH, -cell_clip, cell_clip)
    hidden = (sigmoid(output_BH) * jnp.tanh(cell_BH)).astype(drive_BN.dtype)
    if projection_size is not None:
        hidden = product("projection", hidden)
    if projection_clip is not None:
        hidden = jnp.clip(hidden, -projection_clip, projection_clip)
    after = _kept(mask_B1, RecurrentState(hidden, cell_BH), state)
    return after, hidden if mask_B1 is None else jnp.where(mask_B1, hidden, 0)


def gru_step(
    product: Product,
    _: None,
    state: RecurrentState,
    x: tuple[Array, Array | None],
    axis: int = -1,
) -> tuple[RecurrentState, Array]:
    """A step of a GRU; x has the inputs' part of the gates with their biases, and the mask."""
    drive_BN, mask_B1 = x
    inputs = jnp.split(drive_BN, 3, axis=axis)
    before = jnp.split(product("recurrent", state.hidden_BP), 3, axis=axis)
    reset_BH, update_BH = (sigmoid(a + b) for a, b in zip(inputs[:2], before[:2], strict=True))
    new_BH = jnp.tanh(inputs[2] + reset_BH * before[2])
    hidden_BH = (1 - update_BH) * new_BH + update_BH * state.hidden_BP
    after = _kept(mask_B1, RecurrentState(hidden_BH), state)
    return after, hidden_BH if mask_B1 is None else jnp.where(mask_B1, hidden_BH, 0)
