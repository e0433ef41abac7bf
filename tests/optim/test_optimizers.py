import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib

from flaxformers_edu.errors import InputError
from flaxformers_edu.optim import Optimizer, Schedule

NAMES = ["adamw", "lamb", "lars", "adafactor", "lion", "muon", "sgd", "adagrad"]
D, H, K, F, L = 8, 2, 3, 5, 2


def layer(key):
    shapes = {
        "attention": {
            "query": {"kernel": (D, H, K), "bias": (H, K)},
            "out": {"kernel": (H, K, D), "bias": (D,)},
        },
        "attention_norm": {"scale": (D,), "bias": (D,)},
        "mlp": {"up": {"kernel": (D, F), "bias": (F,)}},
    }
    leaves, tree = jax.tree.flatten(shapes, is_leaf=lambda x: isinstance(x, tuple))
    keys = jax.random.split(key, len(leaves))
    return jax.tree.unflatten(
        tree, [jax.random.normal(k, s) for k, s in zip(keys, leaves, strict=True)]
    )


def stacked_and_separate(seed):
    """The same parameters twice: layers stacked, and layers apart."""
    keys = jax.random.split(jax.random.key(seed), L + 1)
    layers = [layer(key) for key in keys[:L]]
    rest = {
        "embedding": {"embedding": jax.random.normal(keys[L], (7, D))},
        "positions": {"embedding": jnp.ones((4, D))},
    }
    stacked = {"encoder": {"layers": jax.tree.map(lambda *x: jnp.stack(x), *layers)}, **rest}
    apart = {"encoder": {"layers": {str(i): one for i, one in enumerate(layers)}}, **rest}
    return stacked, apart


def run(optimizer, params, gradients, rate=0.1):
    return updated(optimizer.build(rate, params), params, gradients)


def updated(transformation, params, gradients):
    @jax.jit
    def step(params, state, gradient):
        updates, state = transformation.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    state = transformation.init(params)
    for gradient in gradients:
        params, state = step(params, state, gradient)
    return params


def test_biases_norms_and_positions_are_not_decayed():
    params, _ = stacked_and_separate(0)
    params["decoder"] = {"relative_attention_bias": {"embedding": jnp.ones((32, H))}}
    mask = Optimizer().decay_mask(params)
    assert mask == {
        "encoder": {
            "layers": {
                "attention": {
                    "query": {"kernel": True, "bias": False},
                    "out": {"kernel": True, "bias": False},
                },
                "attention_norm": {"scale": False, "bias": False},
                "mlp": {"up": {"kernel": True, "bias": False}},
            }
        },
        "embedding": {"embedding": True},
        "positions": {"embedding": False},
        "decoder": {"relative_attention_bias": {"embedding": False}},
    }


def test_fields_take_more_parameters_out_of_decay():
    params, _ = stacked_and_separate(0)
    mask = Optimizer(decay_embeddings=False, no_decay=("mlp/up",)).decay_mask(params)
    assert not mask["embedding"]["embedding"]
    assert not mask["encoder"]["layers"]["mlp"]["up"]["kernel"]
    assert mask["encoder"]["layers"]["attention"]["query"]["kernel"]
    with pytest.raises(InputError, match="'mlp/upp' covers no parameter"):
        Optimizer(no_decay=("mlp/upp",)).decay_mask(params)


@pytest.mark.parametrize("name", NAMES)
def test_stacked_layers_are_trained_as_separate_ones(name):
    stacked, apart = stacked_and_separate(0)
    pairs = [stacked_and_separate(seed) for seed in (1, 2, 3)]
    optimizer = Optimizer(name=name, weight_decay=0.1, clip_norm=1.0)
    together = run(optimizer, stacked, [pair[0] for pair in pairs])
    separately = run(optimizer, apart, [pair[1] for pair in pairs])
    for i in range(L):
        jax.tree.map(
            lambda x, y, i=i: np.testing.assert_allclose(x[i], y, rtol=2e-4, atol=2e-5),
            together["encoder"]["layers"],
            separately["encoder"]["layers"][str(i)],
        )
    np.testing.assert_allclose(
        together["embedding"]["embedding"], separately["embedding"]["embedding"], rtol=1e-5
    )


@pytest.mark.parametrize(
    "name, fields, reference",
    [
        ("adamw", {"b2": 0.98, "eps": 1e-9}, lambda: optax.adam(0.1, 0.9, 0.98, 1e-9)),
        ("lion", {"b2": 0.99}, lambda: optax.lion(0.1, 0.9, 0.99, weight_decay=0.0)),
        ("sgd", {"momentum": 0.8}, lambda: optax.sgd(0.1, 0.8)),
        ("lamb", {"eps": 1e-6}, lambda: optax.lamb(0.1)),
        ("lars", {}, lambda: optax.lars(0.1)),
        ("adafactor", {}, lambda: optax.adafactor(0.1)),
        ("adagrad", {"first_square": 0.5}, lambda: optax.adagrad(0.1, 0.5, 1e-8)),
        (
            "muon",
            {"momentum": 0.95, "muon_matrices": ("kernel",)},
            lambda: contrib.muon(0.1, consistent_rms=0.2),
        ),
    ],
)
def test_equal_to_optax_on_a_plain_matrix(name, fields, reference):
    def matrix(seed):
        return {"up": {"kernel": jax.random.normal(jax.random.key(seed), (130, 140))}}

    params, gradients = matrix(0), [matrix(1), matrix(2)]
    ours = run(Optimizer(name=name, **fields), params, gradients)
    expected = updated(reference(), params, gradients)
    np.testing.assert_allclose(ours["up"]["kernel"], expected["up"]["kernel"], rtol=1e-4, atol=1e-5)


def test_adam_s_first_step_by_hand():
    # m/(1-b1) = g and v/(1-b2) = g², so that the step is -rate · g/|g|
    params = {"up": {"kernel": jnp.array([[1.0, -2.0]])}}
    gradient = {"up": {"kernel": jnp.array([[0.5, -3.0]])}}
    result = run(Optimizer(), params, [gradient], rate=0.01)
    np.testing.assert_allclose(result["up"]["kernel"], [[0.99, -1.99]], rtol=1e-6)


def test_decay_is_decoupled_and_spares_biases():
    # Without gradients a weight shrinks by rate · weight_decay, a bias stays.
    params = {"up": {"kernel": jnp.full((2, 2), 2.0), "bias": jnp.full(2, 2.0)}}
    zeros = jax.tree.map(jnp.zeros_like, params)
    result = run(Optimizer(weight_decay=0.1), params, [zeros], rate=0.5)
    np.testing.assert_allclose(result["up"]["kernel"], 2.0 * (1 - 0.05), rtol=1e-6)
    np.testing.assert_array_equal(result["up"]["bias"], 2.0)


def test_clipping_uses_the_norm_of_all_gradients():
    params = {"a": {"kernel": jnp.zeros((1, 1))}, "b": {"kernel": jnp.zeros((1, 1))}}
    gradient = {"a": {"kernel": jnp.full((1, 1), 3.0)}, "b": {"kernel": jnp.full((1, 1), 4.0)}}
    result = run(Optimizer(name="sgd", clip_norm=1.0), params, [gradient], rate=1.0)
    np.testing.assert_allclose(result["a"]["kernel"], -0.6, rtol=1e-6)
    np.testing.assert_allclose(result["b"]["kernel"], -0.8, rtol=1e-6)


def test_lamb_equals_a_plain_numpy_one():
    stacked, _ = stacked_and_separate(0)
    gradients = [stacked_and_separate(seed)[0] for seed in (1, 2, 3)]
    optimizer = Optimizer(name="lamb", b2=0.99, eps=1e-6, weight_decay=0.01)
    result = run(optimizer, stacked, gradients, rate=0.05)
    mask = optimizer.decay_mask(stacked)

    def lamb(w, grads, decayed):  # Algorithm 2 of You et al. 2020 for one layer's array
        m, v = np.zeros_like(w), np.zeros_like(w)
        for t, g in enumerate(grads, start=1):
            m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g**2
            u = m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.99**t)) + 1e-6)
            if decayed:
                u = u + 0.01 * w
                u = u * np.linalg.norm(w) / np.linalg.norm(u)
            w = w - 0.05 * u
        return w

    def check(path, new, old, decayed, *grads):
        old, grads = np.asarray(old, np.float64), [np.asarray(g, np.float64) for g in grads]
        if "layers" in jax.tree_util.keystr(path):
            expected = np.stack([lamb(old[i], [g[i] for g in grads], decayed) for i in range(L)])
        else:
            expected = lamb(old, grads, decayed)
        np.testing.assert_allclose(new, expected, rtol=1e-4, atol=1e-5)

    jax.tree_util.tree_map_with_path(check, result, stacked, mask, *gradients)


def test_muon_gives_each_layer_an_orthogonal_update_and_adam_the_rest():
    stacked, _ = stacked_and_separate(0)
    gradient, _ = stacked_and_separate(1)
    optimizer = Optimizer(name="muon")
    transformation = optimizer.build(1.0, stacked)
    updates, _ = transformation.update(gradient, transformation.init(stacked), stacked)
    query = np.asarray(updates["encoder"]["layers"]["attention"]["query"]["kernel"])
    out = np.asarray(updates["encoder"]["layers"]["attention"]["out"]["kernel"])
    for i in range(L):
        for matrix in (query[i].reshape(D, H * K), out[i].reshape(H * K, D)):
            singular = np.linalg.svd(matrix / (0.2 * D**0.5), compute_uv=False)
            # five Newton-Schulz steps bring every singular value to about 1
            assert singular.min() > 0.5 and singular.max() < 1.3
    adam = optax.adam(1.0)
    expected, _ = adam.update(gradient, adam.init(stacked), stacked)
    for path in ("embedding", "positions"):
        np.testing.assert_allclose(
            updates[path]["embedding"], expected[path]["embedding"], rtol=1e-5
        )


def test_adafactor_keeps_rows_and_columns_of_split_kernels():
    # [256, 4, 64] is a 256 x 256 matrix: 512 numbers, and not 65536
    params = {"attention": {"query": {"kernel": jnp.ones((256, 4, 64))}}}
    state = Optimizer(name="adafactor").build(0.1, params).init(params)
    sizes = [leaf.size for leaf in jax.tree.leaves(state)]
    assert sum(sizes) < 1000


@pytest.mark.parametrize("name", NAMES)
def test_a_small_problem_is_solved(name):
    target, _ = stacked_and_separate(5)
    params, _ = stacked_and_separate(6)

    def loss(params):
        return optax.tree.norm(jax.tree.map(jnp.subtract, params, target), squared=True)

    rates = {"lars": 2.0, "sgd": 0.02, "adafactor": 0.1, "muon": 0.1, "adagrad": 0.5}
    rate = rates.get(name, 0.03)
    schedule = Schedule(name="linear", peak=rate, warmup_steps=5).build(200)
    transformation = Optimizer(name=name, clip_norm=100.0).build(schedule, params)

    @jax.jit
    def train(params):
        def step(carry, _):
            params, state = carry
            updates, state = transformation.update(jax.grad(loss)(params), state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, transformation.init(params)), length=200)[0][0]

    assert loss(train(params)) < 0.2 * loss(params)


def test_moments_are_kept_in_the_type_asked_for():
    params = {"up": {"kernel": jnp.ones((2, 2))}}
    for name in ("adamw", "lion", "sgd"):
        state = Optimizer(name=name, mu_dtype="bfloat16").build(0.1, params).init(params)
        types = {leaf.dtype.name for leaf in jax.tree.leaves(state) if leaf.ndim}
        assert "bfloat16" in types


def test_shapes_are_enough_to_build():
    shapes = jax.eval_shape(lambda: stacked_and_separate(0)[0])
    for name in NAMES:
        transformation = Optimizer(name=name, weight_decay=0.1).build(0.1, shapes)
        assert jax.tree.leaves(jax.eval_shape(transformation.init, shapes)) is not None


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"name": "adam"}, "did you mean 'adamw'"),
        ({"mu_dtype": "float16"}, "did you mean 'bfloat16'|Allowed: bfloat16, float32"),
        ({"b1": 1.0}, "b1=1.0"),
        ({"momentum": -0.1}, "momentum=-0.1"),
        ({"weight_decay": -1.0}, "weight_decay=-1.0"),
        ({"clip_norm": float("inf")}, "clip_norm=inf"),
    ],
)
def test_bad_fields_are_named(fields, message):
    with pytest.raises(InputError, match=message):
        Optimizer(**fields)


def test_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Optimizer().b1 = 0.5
