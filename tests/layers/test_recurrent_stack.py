"""Layers on top of each other and in both directions, against single ones.

Dims: B batch, T length, D input size, P size of a layer's output.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.layers.recurrent import Recurrent
from flaxformers_edu.layers.recurrent_stack import Bidirectional, RecurrentStack
from tests.layers.recurrent_definitions import layer
from tests.trees import assert_close, random_params

B, T, D, P = 2, 5, 4, 3
X = jnp.asarray(np.random.default_rng(0).normal(size=(B, T, D)), jnp.float32)
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
PADDED = jnp.asarray(MASK)
LSTM = partial(Recurrent, "lstm", P)
BOTH = partial(Bidirectional, LSTM)


def test_both_directions_side_by_side():
    """The backward one begins at the last real token, which is not the last place."""
    module = BOTH()
    params = random_params(module, X)
    y, states = jax.jit(lambda p: module.apply({"params": p}, X, None, PADDED))(params)
    for place, direction in enumerate(("forward", "backward")):
        expected, (hidden, cell) = layer(
            "lstm", params[direction], X, MASK, reverse=direction == "backward"
        )
        np.testing.assert_allclose(y[..., place * P : (place + 1) * P], expected, atol=2e-6)
        np.testing.assert_allclose(states[place].hidden_BP, hidden, atol=2e-6)
        np.testing.assert_allclose(states[place].cell_BH, cell, atol=2e-6)
    alone, _ = module.apply({"params": params}, X[1:, :3])
    np.testing.assert_allclose(alone[0], y[1, :3], atol=2e-6)


@pytest.mark.parametrize(
    "make",
    [
        partial(Recurrent, "lstm", 4, projection_size=P, cell_clip=0.5, projection_clip=0.3),
        partial(Recurrent, "gru", P),
    ],
    ids=["lstm", "gru"],
)
def test_both_directions_in_one_loop_are_two_layers_alone(make):
    """Outputs, states and all gradients, from states before, with padding."""
    module, alone = Bidirectional(make), make()
    params = random_params(module, X)
    before = jax.tree.map(lambda x: x + 0.1, (alone.start(B), alone.start(B)))

    def together(params, x, before):
        return module.apply({"params": params}, x, before, PADDED)

    def apart(params, x, before):
        outputs, states = zip(
            *(
                alone.apply({"params": params[name]}, x, state, PADDED, reverse=name == "backward")
                for name, state in zip(("forward", "backward"), before, strict=True)
            ),
            strict=True,
        )
        return jnp.concatenate(outputs, axis=-1), states

    def loss(run, *arguments):
        return sum((leaf**2).sum() for leaf in jax.tree.leaves(run(*arguments)))

    values, gradients = [], []
    for run in (together, apart):
        values.append(jax.jit(run)(params, X, before))
        gradients.append(jax.jit(jax.grad(partial(loss, run), (0, 1, 2)))(params, X, before))
    assert_close(values[0], values[1], atol=1e-6)
    assert_close(gradients[0], gradients[1], atol=1e-5)
    assert jax.jit(together).lower(params, X, before).as_text().count("stablehlo.while") == 1


@pytest.mark.parametrize("residual", [False, True])
def test_a_stack_is_its_layers_one_after_the_other(residual):
    module = RecurrentStack((LSTM, LSTM, LSTM), residual=residual)
    params = random_params(module, X)
    look = jax.jit(partial(module.apply, mutable=["intermediates"]))
    (outputs, last), seen = look({"params": params}, X, None, PADDED)
    x = np.asarray(X)
    for number in range(3):
        y, (hidden, cell) = layer("lstm", params[str(number)], x, MASK)
        x = y + x if residual and number else y
        np.testing.assert_allclose(outputs[number], x, atol=5e-6)
        np.testing.assert_allclose(last[number].hidden_BP, hidden, atol=5e-6)
        np.testing.assert_allclose(last[number].cell_BH, cell, atol=5e-6)
    assert_close(list(seen["intermediates"]["hidden_states"]), outputs)


def test_a_stack_goes_on_from_its_state():
    module = RecurrentStack((LSTM, partial(Recurrent, "gru", P)))
    params = random_params(module, X)
    apply = jax.jit(partial(module.apply, {"params": params}))
    whole, last = apply(X)
    first, state = apply(X[:, :2])
    second, after = apply(X[:, 2:], state)
    for a, b, c in zip(first, second, whole, strict=True):
        np.testing.assert_allclose(jnp.concatenate([a, b], axis=1), c, atol=1e-6)
    assert_close(after, last, atol=1e-6)


@pytest.mark.parametrize("locked", [False, True], ids=["each step", "locked"])
def test_dropout_between_layers(locked):
    """On the outputs of all layers but the last; locked: the same features at all steps."""
    module = RecurrentStack((partial(Recurrent, "lstm", 16), LSTM), dropout=0.5, locked=locked)
    x = jnp.ones((1, 20, D))
    params = random_params(module, x)

    def outputs(kernel):
        second = {**params["1"], "input": {**params["1"]["input"], "kernel": kernel}}
        found, _ = module.apply(
            {"params": {**params, "1": second}},
            x,
            deterministic=False,
            rngs={"dropout": jax.random.key(0)},
        )
        return found[1][0, :, 0], found[0]

    # A feature that is dropped has no part in what the second layer makes of it.
    jacobian, first = jax.jit(jax.jacrev(outputs, has_aux=True))(params["1"]["input"]["kernel"])
    never = (np.asarray(jacobian) == 0).all(axis=(0, 2, 3))
    assert (np.asarray(first) != 0).all(), "what is returned is not dropped"
    assert never.any() == locked
    assert not never.all()
