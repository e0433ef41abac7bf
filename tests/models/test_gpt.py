"""GPT-2 as a language model: causality, packing, precision, cached decoding, golden numbers.

Dims: T length, V vocabulary.
"""

import json
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import flaxformers_edu as ff
from flaxformers_edu.errors import InputError
from flaxformers_edu.layers.stack import unstack_layers
from flaxformers_edu.objectives import CausalLM
from tests.models.decoders import (
    FAMILIES,
    assert_cached_decoding_equals_full_recomputation,
    params_of,
    variant,
)

GOLDEN = Path(__file__).parent.parent / "golden"
CONFIG = FAMILIES["gpt2"]


@partial(jax.jit, static_argnums=0)
def logits_of(module, params, inputs):
    return module.apply({"params": params}, **inputs).logits


# What may depend on what.


def test_causality_by_gradients():
    """Every token and place occurs once: no later one has influence, every earlier one has."""
    module = variant()
    params = params_of(module)
    T, ids = 6, jnp.arange(2, 8)[None]
    mask = jnp.array([[1, 1, 1, 1, 1, 0]])
    direction = jnp.asarray(np.random.default_rng(0).normal(size=(8, 1)), jnp.float32)

    @jax.jit
    @jax.jacrev
    def jacobian(positions):
        replaced = {**params, "positions": {"embedding": positions}}
        states = module.apply({"params": replaced}, ids, mask).last_hidden_state
        return (states[0] @ direction)[:, 0]

    influence = np.abs(jacobian(params["positions"]["embedding"])).max(axis=-1)  # [T, places]
    assert influence.shape == (T, 16)
    real = influence[:5, :5]
    assert (real[np.triu_indices(5, 1)] == 0).all(), "a later token has influence"
    assert (real[np.tril_indices(5)] > 0).all(), "an earlier token has none"
    assert (influence[:, 6:] == 0).all()


TEXTS = [
    {"input_ids": [5, 3, 8, 1]},
    {"input_ids": [4, 4, 6, 2, 9, 1]},
    {"input_ids": [9, 1]},
    {"input_ids": [8, 7, 11, 1]},
]


def test_packed_rows_equal_separate_rows():
    module = variant()
    params = params_of(module)
    objective = CausalLM()
    rows = objective.collate(CONFIG)(TEXTS, 5, 8)
    packed = objective.collate(CONFIG, packed=True)([TEXTS[:3], TEXTS[3:]], 2, 14)

    def run(batch):
        batch = jax.tree.map(jnp.asarray, batch)
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        real = np.asarray(batch["attention_mask"]) != 0
        loss = jax.jit(partial(objective.loss, module))(params, batch, None)
        return np.asarray(logits_of(module, params, inputs))[real], loss

    # Both list the tokens of the texts in the same order.
    (ours, loss), (theirs, expected) = run(packed), run(rows)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    np.testing.assert_allclose(loss.sum, expected.sum, rtol=1e-5)
    assert loss.weight == expected.weight == 3 + 5 + 1 + 3


# Layouts and precision.


@pytest.mark.parametrize("fields", [{"share": "attention"}, {"remat": "full"}, {"head_dim": 5}])
def test_scanned_equals_unrolled(fields):
    module = variant(**fields)
    params = params_of(module)
    inputs = {"input_ids": jnp.array([[5, 3, 8, 2], [1, 2, 3, 4]])}
    expected = logits_of(module, params, inputs)
    found = logits_of(variant(layout="unrolled", **fields), unstack_layers(params), inputs)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_bfloat16_computes_on_float32_parameters():
    module = variant(dtype="bfloat16")
    params = params_of(module)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    inputs = {"input_ids": jnp.array([[5, 3, 8, 2]])}
    half = logits_of(module, params, inputs)
    assert half.dtype == jnp.bfloat16
    full = logits_of(variant(), params, inputs)
    np.testing.assert_allclose(half.astype(jnp.float32), full, atol=0.15)


# Cached decoding.


@pytest.mark.parametrize(
    "fields",
    [{"layout": "scanned"}, {"layout": "unrolled", "share": "ffn", "head_dim": 6}],
    ids=str,
)
def test_cached_decoding_equals_full_recomputation(fields):
    module = variant(**fields)
    assert_cached_decoding_equals_full_recomputation(module, params_of(module))


def test_the_table_of_positions_is_the_longest_text():
    """Ten new tokens fit 16 places after a prompt of 7: the last of them is never read."""
    module = variant()
    params = params_of(module)
    ids = jnp.arange(7)[None]
    settings = {"max_new_tokens": 10, "eos_token_id": ()}
    assert ff.generate(module, params, ids, **settings).sequences.shape == (1, 17)
    with pytest.raises(InputError, match="than the 16 positions|model.max_length=16"):
        ff.generate(module, params, ids, **{**settings, "max_new_tokens": 11})
    with pytest.raises(InputError, match="17 positions are more than model.max_length=16"):
        module.apply({"params": params}, jnp.zeros((1, 17), jnp.int32))


# Golden numbers.


def test_golden_step():
    """One AdamW step on fixed numbers: a change here is a change of what training computes."""
    module = variant()
    params = params_of(module, seed=11)
    objective = CausalLM()
    batch = objective.collate(CONFIG, packed=True)([TEXTS[:2], TEXTS[2:]], 2, 10)
    batch = jax.tree.map(jnp.asarray, batch)

    def mean_loss(params):
        loss = objective.loss(module, params, batch, jax.random.key(0))
        return loss.sum / loss.weight

    @jax.jit
    def train(params):
        optimizer = optax.adamw(1e-2, weight_decay=0.01)
        before, gradients = jax.value_and_grad(mean_loss)(params)
        updates, _ = optimizer.update(gradients, optimizer.init(params), params)
        after = mean_loss(optax.apply_updates(params, updates))
        return {"before": before, "after": after, "norm": optax.tree.norm(gradients)}

    numbers = {name: float(value) for name, value in train(params).items()}
    path = GOLDEN / "gpt_step.json"
    assert numbers == pytest.approx(json.loads(path.read_text()), rel=1e-4), (
        "a training step computes other numbers than it did; if that is meant (another loss, "
        "another forward pass), say so in the changelog and write this to "
        f"{path.name}: {json.dumps(numbers)}"
    )
