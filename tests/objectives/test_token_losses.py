import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.objectives.token_losses import token_losses

B, T, V = 2, 5, 11
LOGITS = jnp.asarray(np.random.default_rng(0).normal(0, 3, (B, T, V)), jnp.float32)
LABELS = jnp.asarray(np.random.default_rng(1).integers(0, V, (B, T)), jnp.int32)
WEIGHTS = jnp.asarray(np.random.default_rng(2).normal(size=(B, T)), jnp.float32)


def plain(logits, label_smoothing):
    """The same as its definition, to be differentiated by jax itself."""
    log_probs = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
    nll = -jnp.take_along_axis(log_probs, LABELS[..., None], axis=-1)[..., 0]
    return (1 - label_smoothing) * nll - label_smoothing * log_probs.mean(axis=-1)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_gradient_is_that_of_the_definition(label_smoothing, dtype):
    logits = LOGITS.astype(dtype)

    def ours(logits):
        return (token_losses(logits, LABELS, label_smoothing)[0] * WEIGHTS).sum()

    def theirs(logits):
        return (plain(logits, label_smoothing) * WEIGHTS).sum()

    loss, gradient = jax.value_and_grad(ours)(logits)
    expected_loss, expected = jax.value_and_grad(theirs)(logits)
    tolerance = 1e-6 if dtype == jnp.float32 else 2e-2
    assert gradient.dtype == dtype
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        gradient.astype(jnp.float32), expected.astype(jnp.float32), atol=tolerance
    )


def test_what_the_log_is_told():
    loss, nll, correct = token_losses(LOGITS, LABELS, 0.1)
    np.testing.assert_allclose(nll, plain(LOGITS, 0.0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(loss, plain(LOGITS, 0.1), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(correct, np.asarray(LOGITS).argmax(-1) == np.asarray(LABELS))


def test_of_the_vocabularys_size_only_the_logits_are_kept():
    """And nothing is scattered: that would be a second array of their size."""

    def loss(logits):
        return token_losses(logits, LABELS)[0].sum()

    _, backward = jax.vjp(loss, LOGITS)
    kept = [leaf for leaf in jax.tree.leaves(backward) if leaf.size == LOGITS.size]
    assert len(kept) == 1
    np.testing.assert_array_equal(kept[0], LOGITS)
    assert "scatter" not in str(jax.make_jaxpr(jax.grad(loss))(LOGITS))
