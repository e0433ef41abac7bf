"""The decoders: what a task answers, where heads read, windows, padding, packing, layouts, caches.

Dims: B batch, C choices, T length, D hidden size.
"""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.layers.stack import unstack_layers
from flaxformers_edu.sharding import MeshShape, batch_sharding, parameter_shardings
from tests.models.decoders import (
    FAMILIES,
    V,
    assert_cached_decoding_equals_full_recomputation,
    params_of,
    run,
    variant,
)
from tests.trees import assert_close, shapes

GPT1, GPT2, NEO, LLAMA = (FAMILIES[n] for n in ("gpt1", "gpt2", "gpt_neo", "llama"))
IDS = jnp.array([[5, 3, 8, 2, 9], [4, 7, 6, 11, 3]], jnp.int32)
RIGHT = jnp.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], jnp.int32)
LEFT = jnp.array([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]], jnp.int32)

# What a task answers.

ANSWERS = {
    "base": {"pooler_output": None},
    "causal_lm": {"logits": (2, 5, V)},
    "sequence_classification": {"logits": (2, 3)},
    "multiple_choice": {"logits": (1, 2)},
    "token_classification": {"logits": (2, 5, 3)},
    "question_answering": {"start_logits": (2, 5), "end_logits": (2, 5)},
}


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_task_answers_in_its_shape(name, dtype):
    config = dataclasses.replace(FAMILIES[name], dtype=dtype)
    assert set(config.tasks) == set(ANSWERS)
    for task in config.tasks:
        ids = IDS[None] if task == "multiple_choice" else IDS
        module = config.build(task)
        params = shapes(module, **module.dummy_inputs())
        answer = jax.eval_shape(partial(module.apply, input_ids=ids), {"params": params})
        found = {field.name: getattr(answer, field.name) for field in dataclasses.fields(answer)}
        last = found.pop("last_hidden_state")
        assert (last.shape, last.dtype) == ((*ids.shape, 8), dtype), task
        assert {n: x and x.shape for n, x in found.items()} == ANSWERS[task], task


def test_a_classifier_reads_the_last_real_token_or_where_it_is_told():
    module = GPT2.build("sequence_classification")
    params = params_of(module)
    kernel = np.asarray(params["classifier"]["kernel"])
    assert params["classifier"].keys() == {"kernel"}
    for mask, places in ((RIGHT, [4, 2]), (LEFT, [4, 4]), (None, [4, 4])):
        inputs = {"input_ids": IDS} | ({} if mask is None else {"attention_mask": mask})
        out = run(module, params, inputs)
        states = np.asarray(out.last_hidden_state)[[0, 1], places]
        np.testing.assert_allclose(out.logits, states @ kernel, atol=1e-5)
    told = run(module, params, inputs | {"cls_positions": jnp.array([1, 3])})
    states = np.asarray(told.last_hidden_state)[[0, 1], [1, 3]]
    np.testing.assert_allclose(told.logits, states @ kernel, atol=1e-5)


def test_choices_are_scored_one_by_one_beside_a_language_model():
    module = GPT1.build("multiple_choice")
    params = params_of(module)
    places = jnp.array([2, 4])
    together = run(
        module,
        params,
        {"input_ids": IDS[None], "attention_mask": RIGHT[None], "cls_positions": places[None]},
    )
    apart = run(
        module,
        params,
        {
            "input_ids": IDS[:, None],
            "attention_mask": RIGHT[:, None],
            "cls_positions": places[:, None],
        },
    )
    np.testing.assert_allclose(together.logits[0], apart.logits[:, 0], atol=1e-5)
    assert np.std(together.logits) > 0.05
    logits = module.apply({"params": params}, together.last_hidden_state[0], method="to_logits")
    body = {name: p for name, p in params.items() if name != "classifier"}
    words = run(GPT1.build(), body, {"input_ids": IDS, "attention_mask": RIGHT})
    np.testing.assert_allclose(logits, words.logits, atol=1e-5)


def test_the_output_layer_of_an_untied_model_is_its_own():
    module = LLAMA.build()
    params = params_of(module)
    assert module.head_params(params) == {"output": params["output"]}
    out = run(module, params, {"input_ids": IDS})
    expected = np.asarray(out.last_hidden_state) @ np.asarray(params["output"]["kernel"])
    np.testing.assert_allclose(out.logits, expected, atol=1e-5)
    assert "output" in shapes(LLAMA.build("multiple_choice"), jnp.zeros((1, 1, 1), jnp.int32))


# What may depend on what.


def influence(config, T=8):
    """[T, T] How much the state at a place changes with the token at another."""
    module = config.build("base")
    params = params_of(module)
    ids = jnp.arange(2, 2 + T)[None]  # every token once
    direction = jnp.asarray(np.random.default_rng(0).normal(size=(8, 1)), jnp.float32)

    @jax.jit
    @jax.jacrev
    def jacobian(table):
        states = module.apply({"params": {**params, "embedding": {"embedding": table}}}, ids)
        return (states.last_hidden_state[0] @ direction)[:, 0]

    found = np.abs(jacobian(params["embedding"]["embedding"])).max(axis=-1)
    return found[:, 2 : 2 + T] > 0


@pytest.mark.parametrize("name", ["gpt1", "llama"])
def test_a_state_depends_on_all_before_it_and_nothing_after(name):
    np.testing.assert_array_equal(influence(FAMILIES[name]), np.tri(8, dtype=bool))


@pytest.mark.parametrize("layout", ["scanned", "unrolled"])
def test_a_window_of_three_reaches_two_back_in_each_layer(layout):
    local = dataclasses.replace(NEO, attention_pattern=("local",), num_layers=2, layout=layout)
    distance = np.arange(8)[:, None] - np.arange(8)
    np.testing.assert_array_equal(influence(local), (distance >= 0) & (distance <= 2 * 2))
    if layout == "scanned":  # one layer of three sees everything
        np.testing.assert_array_equal(influence(NEO), np.tri(8, dtype=bool))


@pytest.mark.parametrize("name", FAMILIES)
def test_padding_on_either_side_changes_nothing(name):
    module = FAMILIES[name].build()
    params = params_of(module)
    ids = jnp.array([[5, 3, 8, 9, 0, 0], [0, 0, 5, 3, 8, 9]])
    padded = run(module, params, {"input_ids": ids, "attention_mask": jnp.sign(ids)}).logits
    bare = run(module, params, {"input_ids": jnp.array([[5, 3, 8, 9]])}).logits
    np.testing.assert_allclose(padded[0, :4], bare[0], atol=1e-5)
    np.testing.assert_allclose(padded[1, 2:], bare[0], atol=1e-5)


@pytest.mark.parametrize("name", ["gpt_neo", "llama"])
def test_packed_rows_equal_separate_rows(name):
    module = FAMILIES[name].build()
    params = params_of(module)
    apart = run(module, params, {"input_ids": IDS, "attention_mask": RIGHT}).logits
    packed = {
        "input_ids": jnp.concatenate([IDS[0], IDS[1, :3], jnp.zeros(2, jnp.int32)])[None],
        "segment_ids": jnp.array([[1] * 5 + [2] * 3 + [0] * 2]),
        "positions": jnp.array([[0, 1, 2, 3, 4, 0, 1, 2, 0, 1]]),
    }
    together = run(module, params, packed).logits[0]
    np.testing.assert_allclose(together[:5], apart[0], atol=1e-5)
    np.testing.assert_allclose(together[5:8], apart[1, :3], atol=1e-5)


@pytest.mark.parametrize("kind", ["dropout", "embedding_dropout", "classifier_dropout"])
def test_dropout_of_each_kind_acts_in_training_alone(kind):
    plain = GPT2.build("sequence_classification")
    module = variant(GPT2, "sequence_classification", **{kind: 0.5})
    params, inputs = params_of(plain), {"input_ids": IDS}
    expected = run(plain, params, inputs).logits
    np.testing.assert_allclose(run(module, params, inputs).logits, expected, atol=1e-6)
    rngs = {"dropout": jax.random.key(0)}
    dropped = module.apply({"params": params}, **inputs, deterministic=False, rngs=rngs)
    assert np.abs(dropped.logits - expected).max() > 1e-2


# Layouts, implementations, meshes.


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"num_layers": 4, "share": "attention", "remat": "full"},
        {"num_layers": 2, "attention_implementation": "xla"},
    ],
    ids=str,
)
def test_layers_that_differ_in_turn_are_the_same_scanned_and_unrolled(fields):
    """Three layers of two kinds are one round of a scan; four are two."""
    direction = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 8)), jnp.float32)

    def loss_and_gradients(params, **more):
        module = variant(NEO, "base", **fields | more)

        @jax.jit
        @jax.value_and_grad
        def loss(params):
            states = module.apply({"params": params}, IDS, LEFT).last_hidden_state
            return (states * direction * LEFT[..., None]).mean()

        return loss(params)

    params = params_of(variant(NEO, "base", **fields))
    found, gradients = loss_and_gradients(params)
    expected, apart = loss_and_gradients(
        unstack_layers(params), layout="unrolled", attention_implementation="reference"
    )
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert_close(unstack_layers(gradients), apart, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "layout"), [("gpt_neo", "scanned"), ("llama", "unrolled"), ("gpt1", "scanned")]
)
def test_cached_decoding_equals_full_recomputation(name, layout):
    module = variant(FAMILIES[name], layout=layout)
    assert_cached_decoding_equals_full_recomputation(module, params_of(module))


def test_what_enters_the_first_layer_and_leaves_each_is_seen_in_order():
    module = NEO.build()
    params = params_of(module)
    apply = jax.jit(partial(module.apply, mutable=["intermediates"]))
    _, seen = apply({"params": params}, IDS)
    seen = seen["intermediates"]
    assert seen["embedded"].shape == (2, 5, 8)
    unrolled = variant(NEO, layout="unrolled")
    apart = jax.jit(partial(unrolled.apply, mutable=["intermediates"]))
    _, expected = apart({"params": unstack_layers(params)}, IDS)
    assert_close(seen, expected["intermediates"], atol=1e-5)
    weights = np.asarray(seen["decoder"]["attention"]["weights"])  # [layers, B, heads, T, T]
    banded = [(w[..., 4, :2] == 0).all() for w in weights]
    assert banded == [False, True, False]


@pytest.mark.skipif(jax.device_count() != 8, reason="needs eight devices")
def test_sharded_logits_are_those_of_one_device():
    """Two heads of keys over two devices, on rows that are split over four."""
    module = variant(LLAMA, vocab_size=20)
    params, ids = params_of(module), jnp.concatenate([IDS, IDS + 1])
    expected = run(module, params, {"input_ids": ids}).logits
    mesh = MeshShape(data=1, fsdp=4, tensor=2).build()
    boxed = shapes(module, **module.dummy_inputs())
    placed = jax.device_put(params, parameter_shardings(boxed, mesh))
    rows = jax.device_put(ids, batch_sharding(mesh))
    with jax.set_mesh(mesh):
        found = jax.jit(lambda params, ids: module.apply({"params": params}, ids))(placed, rows)
    assert not placed["output"]["kernel"].sharding.is_fully_replicated
    np.testing.assert_allclose(found.logits, expected, atol=1e-5)
