"""One recurrent layer against its definition in loops and float64.

Dims: B batch, T length, D input size, G gates, H units, P size of the output.
"""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.layers import recurrent as module_under_test
from flaxformers_edu.layers.recurrent import (
    GATES,
    TENSORFLOW_LSTM_GATES,
    Recurrent,
    RecurrentState,
    reorder_gates,
)
from tests.layers.recurrent_definitions import layer
from tests.trees import assert_close, random_params

B, T, D, H, P = 3, 6, 5, 4, 3
RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(size=(B, T, D)), jnp.float32)
# A row without padding, one padded on the right, one on both sides and in the middle.
MASK = np.array([[1] * 6, [1, 1, 1, 0, 0, 0], [0, 0, 1, 0, 1, 0]])
PADDED = jnp.asarray(MASK)
KINDS = {
    "lstm": Recurrent("lstm", H),
    "one bias": Recurrent("lstm", H, recurrent_bias=False),
    "projected": Recurrent("lstm", H, P, cell_clip=0.4, projection_clip=0.25),
    "gru": Recurrent("gru", H),
}


def start_of(module, seed=3):
    rng = np.random.default_rng(seed)
    hidden = jnp.asarray(rng.normal(size=(B, module.output_size)) / 5, jnp.float32)
    cell = jnp.asarray(rng.normal(size=(B, H)) / 5, jnp.float32)
    return RecurrentState(hidden, cell if module.kind == "lstm" else None)


def definition(module, params, x, mask, state, **settings):
    names = ("cell_clip", "projection_clip") if module.kind == "lstm" else ()
    clips = {name: getattr(module, name) for name in names}
    state = None if state is None else (state.hidden_BP, state.cell_BH)
    return layer(module.kind, params, x, mask, state, **settings, **clips)


def run(module, params, x, state, mask, **settings):
    return module.apply({"params": params}, x, state, mask, **settings)


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("name", KINDS)
def test_equals_its_definition(name, reverse):
    """Padding wherever it is gives zeros and carries the state; the last state is the last real."""
    module = KINDS[name]
    params = jax.tree.map(lambda p: 2 * p, random_params(module, X))
    state = start_of(module)
    y, last = jax.jit(partial(run, module, reverse=reverse))(params, X, state, PADDED)
    expected, (hidden, cell) = definition(module, params, X, MASK, state, reverse=reverse)
    np.testing.assert_allclose(y, expected, atol=2e-6)
    np.testing.assert_allclose(last.hidden_BP, hidden, atol=2e-6)
    assert (np.asarray(y)[MASK == 0] == 0).all()
    if cell is None:
        assert last.cell_BH is None
    else:
        np.testing.assert_allclose(last.cell_BH, cell, atol=2e-6)
    if name == "projected":  # both clips were reached: the test can fail
        assert np.isclose(np.abs(cell), 0.4).any()
        assert np.isclose(np.abs(expected), 0.25).any()


def naive_scan(cell, reverse, unroll, weights, shared, state, xs, *, columns):
    """What `scan_cell` stands in for, over rows."""
    assert not columns

    def product(name, v):
        if isinstance(weights[name], tuple):
            matrix, bias = weights[name]
            return v @ matrix + bias[None]
        return v @ weights[name]

    return jax.lax.scan(lambda s, x: cell(product, shared, s, x), state, xs, reverse=reverse)


@pytest.mark.parametrize("name", KINDS)
def test_gradients_are_those_of_the_plain_scan(name, monkeypatch):
    module = KINDS[name]
    params = random_params(module, X)
    way = jnp.asarray(RNG.normal(size=(B, T, module.output_size)), jnp.float32)

    def gradients():
        def total(params, x, state):
            y, last = run(module, params, x, state, PADDED)
            rest = sum(jnp.sin(leaf).sum() for leaf in jax.tree.leaves(last))
            return (y * way).sum() + rest

        return jax.jit(jax.grad(total, argnums=(0, 1, 2)))(params, X, start_of(module))

    found = gradients()
    monkeypatch.setattr(module_under_test, "on_one_cpu", lambda: False)
    assert_close(found, gradients(), rtol=1e-4, atol=2e-6)
    monkeypatch.setattr(module_under_test, "scan_cell", naive_scan)
    assert_close(found, gradients(), rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("name", ["projected", "gru"])
def test_steps_one_by_one_are_the_loop(name):
    module = KINDS[name]
    params = random_params(module, X)
    y, last = jax.jit(partial(run, module))(params, X, None, PADDED)
    step = jax.jit(partial(run, module))
    state, outputs = module.start(B), []
    for t in range(T):
        out, state = step(params, X[:, t : t + 1], state, PADDED[:, t : t + 1])
        outputs.append(out)
    np.testing.assert_allclose(jnp.concatenate(outputs, axis=1), y, atol=1e-6)
    assert_close(state, last, atol=1e-6)


def test_unrolled_steps_are_the_same():
    module = KINDS["lstm"]
    params = random_params(module, X)
    expected = jax.jit(partial(run, module))(params, X, None, PADDED)
    unrolled = module.clone(unroll=4)
    assert_close(
        jax.jit(partial(run, unrolled))(params, X, None, PADDED), expected, atol=1e-6, rtol=1e-6
    )


def test_weight_drop_is_the_same_at_all_steps():
    """Some entries of the kernel are gone for the whole sequence, the rest is scaled."""
    module = Recurrent("lstm", H, weight_drop=0.5)
    params = random_params(module, X)
    key = jax.random.key(2)

    @jax.jit
    def dropped(params, x):
        return module.apply({"params": params}, x, deterministic=False, rngs={"dropout": key})

    y, _ = dropped(params, X)
    assert_close(dropped(params, X)[0], y)
    # What it dropped shows in the gradient, which is zero there, at one step and at six alike.
    gradients = [
        jax.grad(lambda p, n=n: (dropped(p, X[:, :n])[0] ** 2).sum())(params) for n in (2, T)
    ]
    gone = [np.asarray(g["recurrent"]["kernel"]) == 0 for g in gradients]
    np.testing.assert_array_equal(gone[0], gone[1])
    assert 0.3 < gone[0].mean() < 0.7
    kernel = np.where(gone[0], 0, 2 * np.asarray(params["recurrent"]["kernel"]))
    thinned = {**params, "recurrent": {**params["recurrent"], "kernel": kernel}}
    np.testing.assert_allclose(y, layer("lstm", thinned, X)[0], atol=2e-6)
    whole, _ = module.apply({"params": params}, X)
    np.testing.assert_allclose(whole, layer("lstm", params, X)[0], atol=2e-6)


@pytest.mark.parametrize("length", [1, T])
def test_bfloat16_keeps_the_cell_in_float32(length):
    module = Recurrent("lstm", H, dtype=jnp.bfloat16)
    params = random_params(module, X)
    y, last = module.apply({"params": params}, X[:, :length])
    assert y.dtype == last.hidden_BP.dtype == jnp.bfloat16
    assert last.cell_BH.dtype == jnp.float32
    expected, _ = layer("lstm", params, X[:, :length])
    np.testing.assert_allclose(y.astype(jnp.float32), expected, atol=0.03)


def test_how_parameters_begin():
    """Within ±1/√H as torch's do, the forget gate raised; or by the initialiser, gate by gate."""

    def begun(**fields):
        module = Recurrent("lstm", 64, **fields)
        return nn.meta.unbox(module.init(jax.random.key(0), jnp.zeros((1, 1, 32))))["params"]

    params, bound = begun(forget_bias=1.0), 1 / 8
    forget = GATES["lstm"].index("forget")
    raised = params["input"]["bias"][forget] - 1
    for leaf in (params["input"]["kernel"], params["recurrent"]["kernel"], raised):
        assert 0.9 * bound < np.abs(leaf).max() <= bound * (1 + 1e-5)
    orthogonal = begun(kernel_init=nn.initializers.orthogonal())
    for gate in range(4):
        square = orthogonal["recurrent"]["kernel"][:, gate]
        np.testing.assert_allclose(square.T @ square, np.eye(64), atol=1e-5)
    assert not orthogonal["input"]["bias"].any()
    assert not orthogonal["recurrent"]["bias"].any()


def test_axes_of_parameters():
    boxed = Recurrent("lstm", H, P).init(jax.random.key(0), X)["params"]
    assert boxed["input"]["kernel"].names == ("embed", "gates", "mlp")
    assert boxed["input"]["bias"].names == ("gates", "mlp")
    assert boxed["recurrent"]["kernel"].names == ("embed", "gates", "mlp")
    assert boxed["projection"]["kernel"].names == ("mlp", "embed")


def test_gates_in_another_order():
    kernel = np.arange(2 * 4 * 3).reshape(2, 4, 3)
    theirs = reorder_gates(kernel, 1, GATES["lstm"], TENSORFLOW_LSTM_GATES)
    np.testing.assert_array_equal(theirs, kernel[:, [0, 2, 1, 3]])
    back = reorder_gates(theirs, 1, TENSORFLOW_LSTM_GATES, GATES["lstm"])
    np.testing.assert_array_equal(back, kernel)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "lsmt"}, "unknown kind of recurrent layer 'lsmt'; did you mean 'lstm'"),
        ({"kind": "gru", "projection_size": 2}, "a gru has no cell"),
        ({"kind": "gru", "cell_clip": 1.0}, "a gru has no cell"),
        ({"kind": "gru", "recurrent_bias": False}, "cannot be left out"),
    ],
)
def test_what_cannot_be_is_refused(fields, message):
    with pytest.raises(InputError, match=message):
        Recurrent(**{"hidden_size": H, **fields}).init(jax.random.key(0), X)
