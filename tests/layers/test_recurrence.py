"""`scan_cell` against jax.lax.scan, which differentiates the same cell as it stands.

Dims: T steps, B batch, V words, H units.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.layers.recurrence import scan_cell
from tests.trees import assert_close

T, B, V, H = 5, 3, 7, 4


def cell(product, shared, state, x):
    """All that a cell may do: words, noise, a state that is no number, a source that all see."""
    word = product("words", x["word"])
    hidden = jnp.tanh(word + product("hidden", state["hidden"]) * x["gain"] + shared["bias"])
    hidden = jnp.where(x["keep"], hidden, state["hidden"])
    out = product("out", jnp.concatenate([hidden, word], axis=1))
    out = out + jax.random.normal(x["key"], out.shape)
    state = {"hidden": hidden, "steps": state["steps"] + 1, "argmax": out.argmax(axis=1)}
    return state, {"out": out, "argmax": state["argmax"], "scaled": hidden * shared["scale"]}


def case():
    rng = np.random.default_rng(0)

    def numbers(*shape):
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    weights = {"words": numbers(V, H), "hidden": numbers(H, H), "out": numbers(2 * H, V)}
    weights["hidden"] = (weights["hidden"], numbers(H))
    weights["unread"] = (numbers(2, 2), numbers(2))
    shared = {"bias": numbers(1, H), "scale": numbers(B, H), "count": jnp.arange(2)}
    state = {
        "hidden": numbers(B, H),
        "steps": jnp.zeros((), jnp.int32),
        "argmax": jnp.zeros(B, jnp.int32),
    }
    xs = {
        "word": jnp.asarray(rng.integers(0, V, (T, B))),
        "gain": numbers(T, B, H),
        "keep": jnp.asarray(rng.random((T, B, 1)) < 0.7),
        "key": jax.random.split(jax.random.key(1), T),
    }
    return weights, shared, state, xs


def naive(cell, reverse, unroll, weights, shared, state, xs):
    def product(name, v):
        if name == "hidden":
            return v @ weights[name][0] + weights[name][1][None]
        return weights[name][v] if v.dtype == jnp.int32 else v @ weights[name]

    return jax.lax.scan(lambda s, x: cell(product, shared, s, x), state, xs, reverse=reverse)


def differentiated(scan, reverse, unroll):
    """(results, gradients) of a sum in which every floating result has its own weight."""

    def total(moving):
        weights, bias, scale, hidden, gain = moving
        _, shared, state, xs = case()
        shared = {**shared, "bias": bias, "scale": scale}
        results = scan(
            cell,
            reverse,
            unroll,
            weights,
            shared,
            {**state, "hidden": hidden},
            {**xs, "gain": gain},
        )
        floating = [x for x in jax.tree.leaves(results) if jnp.issubdtype(x.dtype, jnp.floating)]
        ways = [jnp.cos(jnp.arange(x.size)).reshape(x.shape) for x in floating]
        return sum((x * way).sum() for x, way in zip(floating, ways, strict=True)), results

    weights, shared, state, xs = case()
    moving = (weights, shared["bias"], shared["scale"], state["hidden"], xs["gain"])
    gradients, results = jax.jit(jax.grad(total, has_aux=True))(moving)
    return results, gradients


@pytest.mark.parametrize(("reverse", "unroll"), [(False, 1), (True, 2)])
def test_results_and_gradients_are_those_of_the_scan_itself(reverse, unroll):
    found, gradients = differentiated(scan_cell, reverse, unroll)
    expected, wanted = differentiated(naive, reverse, unroll)
    assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert_close(gradients, wanted, rtol=1e-4, atol=1e-5)
    assert not any(gradient.any() for gradient in gradients[0]["unread"])


def test_without_gradients_it_is_the_scan():
    weights, shared, state, xs = case()
    found = jax.jit(partial(scan_cell, cell, False, 1))(weights, shared, state, xs)
    assert_close(found, naive(cell, False, 1, weights, shared, state, xs), rtol=1e-5, atol=1e-5)


def test_gradients_of_weights_are_products_after_the_loop():
    """No array of a weight's size is in the loops: they would be added up step by step."""
    weights, shared, state, xs = case()
    weights["out"] = jnp.zeros((2 * H, 61))  # a size that nothing else has

    def total(weights):
        return scan_cell(cell, False, 1, weights, shared, state, xs)[1]["out"].sum()

    carried = [
        variable.aval.shape
        for equation in jax.make_jaxpr(jax.grad(total))(weights).eqns
        if equation.primitive.name == "scan"
        for variable in equation.params["jaxpr"].jaxpr.outvars
    ]
    assert carried, "there is no loop"
    assert (2 * H, 61) not in carried


def test_a_weight_is_asked_for_once_a_step():
    def twice(product, shared, state, x):
        return product("hidden", product("hidden", state)), x

    weights, _, state, xs = case()
    with pytest.raises(ValueError, match="'hidden' twice"):
        jax.grad(
            lambda w: scan_cell(twice, False, 1, w, None, state["hidden"], xs["gain"])[0].sum()
        )(weights)
