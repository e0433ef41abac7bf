import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.objectives import cross_entropy

LOGITS = jnp.asarray(np.random.default_rng(0).normal(0, 2, (2, 4, 5)), jnp.float32)
LABELS = jnp.array([[1, 4, -100, 0], [2, -100, -100, 3]])


def by_hand(label_smoothing):
    """Cross-entropy with the smoothed distribution (1 - ε) one-hot + ε / V, token by token."""
    logits, labels = np.asarray(LOGITS, np.float64), np.asarray(LABELS)
    log_probs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    total = nll = correct = weight = 0.0
    for b, t in np.argwhere(labels != -100):
        target = np.full(5, label_smoothing / 5)
        target[labels[b, t]] += 1 - label_smoothing
        total -= (target * log_probs[b, t]).sum()
        nll -= log_probs[b, t, labels[b, t]]
        correct += log_probs[b, t].argmax() == labels[b, t]
        weight += 1
    return total, weight, nll, correct


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 0.7])
def test_cross_entropy_is_its_definition(label_smoothing):
    loss = cross_entropy(LOGITS, LABELS, label_smoothing)
    total, weight, nll, correct = by_hand(label_smoothing)
    np.testing.assert_allclose(loss.sum, total, rtol=1e-5)
    assert loss.weight == weight == 5
    np.testing.assert_allclose(loss.counts["nll"], nll, rtol=1e-5)
    assert loss.counts["accuracy"] == correct


def test_ignored_places_have_no_gradient_and_others_the_softmax_minus_the_target():
    gradient = jax.grad(lambda logits: cross_entropy(logits, LABELS, 0.1).sum)(LOGITS)
    ignored = np.asarray(LABELS) == -100
    assert not np.asarray(gradient)[ignored].any()
    target = np.eye(5)[np.where(ignored, 0, LABELS)] * 0.9 + 0.1 / 5
    expected = (np.asarray(jax.nn.softmax(LOGITS)) - target)[~ignored]
    np.testing.assert_allclose(gradient[~ignored], expected, atol=1e-6)


def test_losses_add_up_by_tokens_not_by_batches():
    """A short part and a long one: the mean of the sum is not the mean of the means."""
    whole = cross_entropy(LOGITS, LABELS, 0.1)
    parts = [cross_entropy(LOGITS[i : i + 1], LABELS[i : i + 1], 0.1) for i in range(2)]
    added = parts[0] + parts[1]
    np.testing.assert_allclose(added.sum, whole.sum, rtol=1e-6)
    assert added.weight == whole.weight
    for name, value in whole.counts.items():
        np.testing.assert_allclose(added.counts[name], value, rtol=1e-6)
    mean_of_means = np.mean([part.sum / part.weight for part in parts])
    assert abs(added.sum / added.weight - mean_of_means) > 1e-3


def test_nothing_to_predict_is_zero_over_zero_weight():
    loss = cross_entropy(LOGITS, jnp.full((2, 4), -100))
    assert loss.sum == loss.weight == loss.counts["accuracy"] == 0


def test_bfloat16_logits_are_summed_in_float32():
    logits = jnp.zeros((1, 3000, 4), jnp.bfloat16)
    loss = cross_entropy(logits, jnp.zeros((1, 3000), jnp.int32))
    assert loss.sum.dtype == loss.weight.dtype == jnp.float32
    assert loss.weight == 3000
    np.testing.assert_allclose(loss.sum, 3000 * np.log(4), rtol=1e-5)


def test_large_logits_do_not_overflow():
    logits = jnp.array([[[1e4, 0.0, -1e4]]])
    np.testing.assert_allclose(cross_entropy(logits, jnp.array([[1]])).sum, 1e4, rtol=1e-6)
