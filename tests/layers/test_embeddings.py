import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.layers.embeddings import TokenEmbedding


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
