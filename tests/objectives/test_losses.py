import dataclasses
import re
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.models import GPTConfig, TransformerConfig
from flaxformers_edu.objectives import (
    CausalLM,
    Translation,
    chunked_cross_entropy,
    cross_entropy,
)
from flaxformers_edu.sharding import MeshShape, batch_sharding, parameter_shardings
from tests.trees import assert_close, random_params

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


# In chunks. B 4 rows, T 8 places, D 3, V 5.

HIDDEN = jnp.asarray(np.random.default_rng(1).normal(size=(4, 8, 3)), jnp.float32)
HEAD = {"kernel": jnp.asarray(np.random.default_rng(2).normal(size=(3, 5)), jnp.float32)}
NEXT = jnp.where(
    jnp.asarray(np.random.default_rng(3).random((4, 8))) < 0.3,
    -100,
    jnp.asarray(np.random.default_rng(4).integers(0, 5, (4, 8))),
)


def linear_head(head, x_BTD):
    return x_BTD @ head["kernel"].astype(x_BTD.dtype)


def loss_and_gradients(loss_of, scale=1.0):
    """The loss, and the gradients of `scale` times its sum."""

    def scaled(head, hidden):
        loss = loss_of(head, hidden)
        return scale * loss.sum, loss

    return jax.jit(jax.grad(scaled, (0, 1), has_aux=True))


@pytest.mark.parametrize(("chunks", "label_smoothing"), [(1, 0.1), (2, 0.1), (3, 0.0), (20, 0.1)])
def test_chunks_change_nothing(chunks, label_smoothing):
    """Neither the loss nor a count nor a gradient, whether the length divides or not."""

    def whole(head, hidden):
        return cross_entropy(linear_head(head, hidden), NEXT, label_smoothing)

    def chunked(head, hidden):
        return chunked_cross_entropy(linear_head, head, hidden, NEXT, label_smoothing, chunks)

    expected = loss_and_gradients(whole, 2.5)(HEAD, HIDDEN)
    assert_close(loss_and_gradients(chunked, 2.5)(HEAD, HIDDEN), expected, rtol=1e-5, atol=1e-6)
    assert_close(jax.jit(chunked)(HEAD, HIDDEN), whole(HEAD, HIDDEN), rtol=1e-5, atol=1e-6)


def test_hidden_states_in_bfloat16_add_up_in_float32():
    hidden = HIDDEN.astype(jnp.bfloat16)
    gradients, loss = loss_and_gradients(
        lambda head, hidden: chunked_cross_entropy(linear_head, head, hidden, NEXT, chunks=4)
    )(HEAD, hidden)
    assert loss.sum.dtype == gradients[0]["kernel"].dtype == jnp.float32
    assert gradients[1].dtype == jnp.bfloat16
    (expected, _), full = loss_and_gradients(
        lambda head, hidden: cross_entropy(linear_head(head, hidden), NEXT)
    )(HEAD, HIDDEN)
    np.testing.assert_allclose(loss.sum, full.sum, rtol=1e-2)
    np.testing.assert_allclose(gradients[0]["kernel"], expected["kernel"], atol=0.1)


def test_a_chunk_is_projected_once_and_gradients_are_made_only_where_asked_for():
    """Products: one with the head, and two more for the gradients of its two factors."""

    def products(f):
        return len(re.findall(r"dot_general\[", str(jax.make_jaxpr(f)(HEAD, HIDDEN))))

    def loss_sum(head, hidden):
        return chunked_cross_entropy(linear_head, head, hidden, NEXT, chunks=4).sum

    assert products(jax.grad(loss_sum, (0, 1))) == 3
    # What jax keeps in reserve for a derivative is no part of the program that runs.
    program = jax.jit(loss_sum).lower(HEAD, HIDDEN).as_text()
    assert len(re.findall(r"stablehlo.dot_general", program)) == 1


GPT = GPTConfig(
    vocab_size=48,
    hidden_size=8,
    num_layers=1,
    num_heads=2,
    intermediate_size=16,
    max_length=64,
    pad_token_id=0,
    eos_token_id=1,
)
UNTIED = TransformerConfig(
    vocab_size=48,
    hidden_size=8,
    num_layers=1,
    num_heads=2,
    intermediate_size=16,
    tie_embeddings=False,
)
TEXT = {"input_ids": np.arange(2, 34), "labels": np.arange(3, 35)}
CASES = [(GPT, CausalLM()), (UNTIED, Translation(label_smoothing=0.1))]


def with_chunks(objective, chunks):
    return dataclasses.replace(objective, loss_chunks=chunks)


def step(model, objective):
    """The compiled gradients of an objective."""

    @jax.jit
    def gradients(params, batch):
        def loss_sum(params):
            loss = objective.loss(model, params, batch, jax.random.key(0))
            return loss.sum, loss

        return jax.grad(loss_sum, has_aux=True)(params)

    return gradients


@pytest.mark.parametrize(("config", "objective"), CASES, ids=["tied", "untied"])
def test_objectives_in_chunks_on_a_mesh_that_splits_everything(config, objective):
    model = dataclasses.replace(config, dropout=0.0, attention_dropout=0.0).build()
    if config is GPT:
        model = dataclasses.replace(model.config, embedding_dropout=0.0).build()
    params = random_params(model, **model.dummy_inputs())
    batch = objective.collate(model.config)([TEXT] * 4, 4, 32)
    expected = step(model, objective)(params, batch)

    mesh = MeshShape(data=1, fsdp=2, tensor=2, sequence=2).build()
    boxed = jax.eval_shape(partial(model.init, **model.dummy_inputs()), jax.random.key(0))
    params = jax.device_put(params, parameter_shardings(boxed["params"], mesh))
    batch = jax.device_put(batch, batch_sharding(mesh))
    with jax.set_mesh(mesh):
        found = step(model, with_chunks(objective, 4))(params, batch)
    assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("config", "objective"), CASES, ids=["tied", "untied"])
def test_logits_of_all_places_never_exist_in_chunks(config, objective):
    """32 places in chunks of 8: the compiled step has no array of 2 x 32 x 48."""
    model = config.build()
    params = nn.meta.unbox(model.init(jax.random.key(0), **model.dummy_inputs()))["params"]
    batch = objective.collate(config)([TEXT] * 2, 2, 32)

    def compiled(chunks):
        return step(model, with_chunks(objective, chunks)).lower(params, batch).compile()

    def has_logits(program, length):
        return re.search(rf"f32\[(2,{length},48|{2 * length},48)\]", program.as_text())

    assert has_logits(compiled(1), 32)
    assert has_logits(compiled(4), 8)
    assert not has_logits(compiled(4), 32)


@pytest.mark.parametrize("objective", [CausalLM, Translation])
def test_no_chunks_at_all(objective):
    with pytest.raises(InputError, match="objective.loss_chunks is 0; it must be at least 1"):
        objective(loss_chunks=0)
