import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.layers.embeddings import (
    TextEmbeddings,
    TokenEmbedding,
    TokenTypeEmbedding,
)
from tests.trees import random_params


@pytest.fixture
def table():
    return jax.random.normal(jax.random.key(0), (11, 4))


def test_scale_is_for_the_input_and_never_for_the_tied_output(table):
    module = TokenEmbedding(vocab_size=11, hidden_size=4, scale=2.0)
    variables = {"params": {"embedding": table}}
    ids = jnp.array([[3, 10, 3]])
    np.testing.assert_allclose(module.apply(variables, ids), 2.0 * table[ids], rtol=1e-6)
    x = jax.random.normal(jax.random.key(1), (2, 3, 4))
    logits = module.apply(variables, x, method="logits")
    np.testing.assert_allclose(logits, np.asarray(x) @ np.asarray(table).T, rtol=1e-5, atol=1e-6)


def test_gradients_of_both_ends_meet_in_one_table(table):
    module = TokenEmbedding(vocab_size=11, hidden_size=4, scale=2.0)
    ids = jnp.array([[3, 3, 5]])

    def loss(table, of_input, of_output):
        x = module.apply({"params": {"embedding": table}}, ids)
        logits = module.apply({"params": {"embedding": table}}, x * 0 + 1, method="logits")
        return of_input * x.sum() + of_output * logits[..., 7].sum()

    gradient = jax.grad(loss)(table, 1.0, 1.0)
    expected = np.zeros((11, 4))
    expected[3], expected[5], expected[7] = 2 * 2.0, 2.0, 3.0
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)


def test_compute_dtype_and_axes(table):
    module = TokenEmbedding(vocab_size=11, hidden_size=4, dtype=jnp.bfloat16)
    ids = jnp.array([[1]])
    boxed = module.init(jax.random.key(0), ids)["params"]["embedding"]
    assert boxed.names == ("vocab", "embed")
    assert boxed.value.dtype == jnp.float32
    x = module.apply({"params": {"embedding": table}}, ids)
    assert x.dtype == jnp.bfloat16
    logits = module.apply({"params": {"embedding": table}}, x, method="logits")
    assert logits.dtype == jnp.bfloat16


@pytest.mark.parametrize("num_token_types", [0, 1, 3])
def test_text_embeddings_are_the_norm_of_a_sum(num_token_types):
    module = TextEmbeddings(
        11, 4, 7, num_token_types=num_token_types, position_offset=2, norm_epsilon=0.01
    )
    ids, positions = jnp.array([[3, 10, 3], [1, 0, 2]]), jnp.array([[0, 4, 6]])
    types = jnp.array([[0, 2, 1], [2, 0, 0]])
    params = random_params(module, ids, positions, types)
    tables = {n: np.asarray(p["embedding"]) for n, p in params.items() if "embedding" in p}
    assert {n: len(t) for n, t in tables.items()} == {
        "token": 11,
        "positions": 9,
        **({"token_types": num_token_types} if num_token_types else {}),
    }
    x = tables["token"][ids] + tables["positions"][positions + 2]
    if num_token_types:
        x = x + tables["token_types"][types if num_token_types > 1 else 0 * types]
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 0.01)
    expected = x * np.asarray(params["norm"]["scale"]) + np.asarray(params["norm"]["bias"])
    found = module.apply({"params": params}, ids, positions, types)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_gradients_of_token_types_are_those_of_a_lookup():
    module = TokenTypeEmbedding(3, 4)
    types = jnp.array([[0, 2, 2, 0, 2]])
    direction = jax.random.normal(jax.random.key(1), (1, 5, 4))
    table = jax.random.normal(jax.random.key(0), (3, 4))

    def loss(table):
        return (module.apply({"params": {"embedding": table}}, types) * direction).sum()

    gradient = jax.grad(loss)(table)
    np.testing.assert_allclose(gradient[0], direction[0, [0, 3]].sum(0), rtol=1e-5)
    np.testing.assert_array_equal(gradient[1], np.zeros(4))
    np.testing.assert_allclose(gradient[2], direction[0, [1, 2, 4]].sum(0), rtol=1e-5)
