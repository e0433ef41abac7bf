"""Recurrent layers on top of each other, and in both directions (Schuster & Paliwal 1997).

Dims: B batch, T length, D input size, P size of a layer's output.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from flaxformers_edu.layers.dropout import Dropout
from flaxformers_edu.layers.intermediates import sow
from flaxformers_edu.layers.recurrence import scan_cell, side_by_side, stack, unstack
from flaxformers_edu.layers.recurrent import Recurrent


class Bidirectional(nn.Module):
    """Two layers of one kind that read the same, in one loop: outputs [forward, backward].

    Both begin anew with each call; the state is that of each after its own last token.
    """

    make_layer: Callable[..., Recurrent]

    @nn.compact
    def __call__(
        self,
        x_BTD: Float[Array, "B T D"],
        state: tuple[Any, Any] | None = None,
        mask_BT: Any = None,
        *,
        deterministic: bool = True,
    ) -> tuple[Float[Array, "B T _"], tuple[Any, Any]]:
        """Arguments and results as of `Recurrent`; the state is one of each direction."""
        forward, backward = self.make_layer(name="forward"), self.make_layer(name="backward")
        # What the backward one reads is turned around, while it is small: then both go one way.
        turned_BTD, turned_BT = x_BTD[:, ::-1], None if mask_BT is None else mask_BT[:, ::-1]
        first, second = (None, None) if state is None else state
        loops = (
            forward.prepare(x_BTD, first, mask_BT, deterministic=deterministic),
            backward.prepare(turned_BTD, second, turned_BT, deterministic=deterministic),
        )
        after, (forward_TBP, backward_TBP) = scan_cell(
            partial(side_by_side, loops[0].cell),
            reverse=False,
            unroll=forward.unroll,
            weights=stack([loop.weights for loop in loops]),
            shared=None,
            state=stack([loop.state for loop in loops]),
            xs=tuple(loop.xs for loop in loops),
            row_axis=1,
            columns=loops[0].columns,
        )
        y_TBP = jnp.concatenate([forward_TBP, backward_TBP[::-1]], axis=-1)
        return y_TBP.swapaxes(0, 1), unstack(after, 2)


class RecurrentStack(nn.Module):
    """Layers `0`, `1`, ..., each of which reads the outputs of the one below.

    Args:
        make_layers: what makes each, a `Recurrent` or a `Bidirectional`, from its name.
        dropout: on the outputs of all layers but the last.
        locked: whether that is the same at all steps (Merity et al. 2017, section 4.1).
        residual: whether each layer but the lowest adds its input to its output (Wu et al. 2016).
        reverse: whether all of them read from the last step to the first.

    Sown, for those who look: "hidden_states", the outputs of each layer before dropout.
    """

    make_layers: Sequence[Callable[..., nn.Module]]
    dropout: float = 0.0
    locked: bool = False
    residual: bool = False
    reverse: bool = False

    @nn.compact
    def __call__(
        self,
        x_BTD: Float[Array, "B T D"],
        states: Sequence[Any] | None = None,
        mask_BT: Any = None,
        *,
        deterministic: bool = True,
    ) -> tuple[list[Float[Array, "B T _"]], tuple[Any, ...]]:
        """The outputs of each layer, and its last state; arguments as of `Recurrent`."""
        outputs: list[Array] = []
        last = []
        direction = {"reverse": True} if self.reverse else {}  # a `Bidirectional` has none
        for number, make in enumerate(self.make_layers):
            state = None if states is None else states[number]
            layer = make(name=str(number))
            y_BTP, after = layer(x_BTD, state, mask_BT, deterministic=deterministic, **direction)
            if self.residual and number:
                y_BTP = y_BTP + x_BTD
            outputs.append(y_BTP)
            last.append(after)
            drop = Dropout(self.dropout, (1,) if self.locked else (), name=f"dropout_{number}")
            x_BTD = drop(y_BTP, deterministic=deterministic)
        sow(self, "hidden_states", tuple(outputs))
        return outputs, tuple(last)
