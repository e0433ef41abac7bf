"""The encoders: what a task answers, padding, packing, layouts, sharing, meshes.

Dims: B batch, T length, D hidden size, V vocabulary.
"""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.layers.stack import unstack_layers
from flaxformers_edu.sharding import MeshShape, batch_sharding, parameter_shardings
from tests.models.encoders import BERT, FAMILIES, params_of, texts, variant
from tests.trees import assert_close, shapes

ALBERT, ELECTRA, ROBERTA = FAMILIES["albert"], FAMILIES["electra"], FAMILIES["roberta"]


@partial(jax.jit, static_argnums=(0,), static_argnames=("method",))
def run(module, params, inputs, method=None):
    return module.apply({"params": params}, **inputs, method=method)


def states(module, params, **inputs):
    return run(module, params, inputs).last_hidden_state


# What a task answers.

ANSWERS = {
    "masked_lm": {"logits": (2, 5, 20)},
    "sequence_classification": {"logits": (2, 3)},
    "token_classification": {"logits": (2, 5, 3)},
    "question_answering": {"start_logits": (2, 5), "end_logits": (2, 5)},
    "distillation": {"pooler_output": (2, 8)},
}
PRETRAINING = {
    "albert": {"prediction_logits": (2, 5, 20), "sop_logits": (2, 2)},
    "electra": {"logits": (2, 5)},
}
BERTS = {"prediction_logits": (2, 5, 20), "seq_relationship_logits": (2, 2)}


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_task_answers_in_its_shape(name, dtype):
    config = dataclasses.replace(FAMILIES[name], dtype=dtype)
    pooled = {"electra": None, "distilbert": None}.get(name, (2, 8))
    expected = {
        **ANSWERS,
        "base": {"pooler_output": pooled},
        "pretraining": PRETRAINING.get(name, BERTS),
        "multiple_choice": {"logits": (1, 2)},
    }
    for task in config.tasks:
        if task == "joint_pretraining":
            continue
        module, batch = config.build(task), texts(config, 5, 3)
        if task == "multiple_choice":
            batch = {name: x[None] for name, x in batch.items()}
        params = shapes(module, **module.dummy_inputs())
        answer = jax.eval_shape(partial(module.apply, **batch), {"params": params})
        found = {field.name: getattr(answer, field.name) for field in dataclasses.fields(answer)}
        last = found.pop("last_hidden_state")
        assert last.shape == (*batch["input_ids"].shape, 8), task
        assert last.dtype == dtype
        assert {n: x and x.shape for n, x in found.items()} == expected[task], task


@pytest.mark.parametrize(("name", "task"), [("bert", "pretraining"), ("electra", "masked_lm")])
def test_predicted_places_are_those_of_the_full_logits(name, task):
    module = FAMILIES[name].build(task)
    params, batch = params_of(module), texts(FAMILIES[name], 5, 4)
    answer = "prediction_logits" if task == "pretraining" else "logits"
    everywhere = getattr(run(module, params, batch), answer)
    places = jnp.array([[4, 0, 0], [3, 1, 2]])
    there = getattr(run(module, params, {**batch, "predict_positions": places}), answer)
    expected = np.take_along_axis(np.asarray(everywhere), np.asarray(places)[..., None], axis=1)
    np.testing.assert_allclose(there, expected, atol=1e-5)


def test_choices_are_scored_one_by_one():
    module = BERT.build("multiple_choice")
    params, batch = params_of(module), texts(BERT, 5, 4, 2, 3)
    together = run(module, params, {n: x.reshape(2, 2, 5) for n, x in batch.items()}).logits
    apart = run(module, params, {n: x.reshape(4, 1, 5) for n, x in batch.items()}).logits
    np.testing.assert_allclose(together.reshape(-1), apart.reshape(-1), atol=1e-5)
    assert np.std(together) > 0.1


# What may depend on what.


@pytest.mark.parametrize("name", FAMILIES)
def test_padding_changes_nothing(name):
    config = FAMILIES[name]
    module = config.build()
    params, batch = params_of(module), texts(config, 6, 3)
    padded = states(module, params, **batch)
    bare = states(module, params, **{n: x[1:, :3] for n, x in batch.items()})
    np.testing.assert_allclose(padded[1, :3], bare[0], atol=1e-5)
    unmasked = states(module, params, **{n: x for n, x in batch.items() if n != "attention_mask"})
    assert np.abs(unmasked[1, :3] - bare[0]).max() > 1e-2, "the mask has no effect"


@pytest.mark.parametrize(
    ("name", "matters"),
    [
        ("bert", True),
        ("albert", True),
        ("electra", True),
        ("roberta", False),
        ("distilbert", False),
    ],
)
def test_token_types_matter_where_they_are_told_apart(name, matters):
    config = FAMILIES[name]
    if name == "roberta":
        config = dataclasses.replace(config, num_token_types=1)
    module = config.build()
    params, batch = params_of(module), texts(config, 5, 4)
    zeros = jnp.zeros((2, 5), jnp.int32)
    without = {n: x for n, x in batch.items() if n != "token_type_ids"}
    first = states(module, params, **without, token_type_ids=zeros)
    np.testing.assert_allclose(states(module, params, **without), first, atol=1e-6)
    second = states(module, params, **without, token_type_ids=zeros.at[:, 2:].set(1))
    assert (np.abs(second - first).max() > 1e-2) == matters


@pytest.mark.parametrize("name", ["bert", "roberta", "albert"])
def test_packed_rows_equal_separate_rows(name):
    config = FAMILIES[name]
    module = config.build()
    params, batch = params_of(module), texts(config, 5, 3)
    apart = states(module, params, **batch)

    def pack(x, last):
        return jnp.concatenate([x[0, :5], x[1, :3], jnp.full(2, last)]).astype(jnp.int32)[None]

    packed = {n: pack(x, 0) for n, x in batch.items() if n != "attention_mask"}
    packed["segment_ids"] = jnp.array([[1] * 5 + [2] * 3 + [0] * 2])
    packed["positions"] = jnp.array([[0, 1, 2, 3, 4, 0, 1, 2, 0, 1]])
    together = states(module, params, **packed)
    np.testing.assert_allclose(together[0, :5], apart[0], atol=1e-5)
    np.testing.assert_allclose(together[0, 5:8], apart[1, :3], atol=1e-5)


def test_positions_of_roberta_skip_padding_on_either_side():
    module = ROBERTA.build()
    params, pad = params_of(module), ROBERTA.pad_token_id
    ids = jnp.array([[pad, pad, 7, 8, 9], [7, 8, 9, pad, pad]])
    found = states(module, params, input_ids=ids, attention_mask=(ids != pad).astype(jnp.int32))
    np.testing.assert_allclose(found[0, 2:], found[1, :3], atol=1e-5)
    table = params["embeddings"]["positions"]["embedding"]
    assert len(table) == ROBERTA.max_length + pad + 1
    np.testing.assert_array_equal(
        module.default_positions(ids), [[-1, -1, 0, 1, 2], [0, 1, 2, -1, -1]]
    )


@pytest.mark.parametrize("kind", ["dropout", "attention_dropout", "classifier_dropout"])
def test_dropout_of_each_kind_acts_in_training_alone(kind):
    task = "sequence_classification"
    plain, module = BERT.build(task), variant(BERT, task, **{kind: 0.5})
    params, batch = params_of(plain), texts(BERT, 5, 4)
    expected = run(plain, params, batch).logits
    np.testing.assert_allclose(run(module, params, batch).logits, expected, atol=1e-6)
    rngs = {"dropout": jax.random.key(0)}
    dropped = module.apply({"params": params}, **batch, deterministic=False, rngs=rngs)
    assert np.abs(dropped.logits - expected).max() > 1e-2


# Layouts and sharing.


@pytest.mark.parametrize(
    "config",
    [
        BERT,
        pytest.param(ALBERT, marks=pytest.mark.slow),
        pytest.param(dataclasses.replace(ALBERT, share="attention"), marks=pytest.mark.slow),
        dataclasses.replace(ALBERT, num_layers=3, num_groups=2, inner_group_num=2),
    ],
    ids=["bert", "albert", "attention shared", "groups"],
)
def test_scanned_unrolled_and_rematerialised_are_the_same(config):
    task, batch = "token_classification", texts(config, 5, 4)
    direction = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 8)), jnp.float32)

    def loss_and_gradients(params, **fields):
        module = dataclasses.replace(config, **fields).build(task)

        @jax.jit
        @jax.value_and_grad
        def loss(params):
            return (module.apply({"params": params}, **batch).last_hidden_state * direction).mean()

        return loss(params)

    params = params_of(config.build(task))
    expected, gradients = loss_and_gradients(params)
    again, same = loss_and_gradients(params, remat="full")
    np.testing.assert_allclose(again, expected, atol=1e-6)
    assert_close(same, gradients, atol=1e-6)
    found, apart = loss_and_gradients(unstack_layers(params), layout="unrolled")
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert_close(apart, unstack_layers(gradients), atol=1e-6)


def test_groups_are_layers_with_repeated_parameters():
    grouped = variant(ALBERT, num_layers=4, num_groups=2, inner_group_num=2)
    assert grouped.config.copies == (0, 1, 0, 1, 2, 3, 2, 3)
    params, batch = params_of(grouped), texts(ALBERT, 5, 4)
    copies = jnp.array(grouped.config.copies)
    repeated = jax.tree.map(lambda p: p[copies], params["encoder"]["layers"])
    alone = variant(ALBERT, num_layers=8, share="none")
    expected = states(alone, {**params, "encoder": {"layers": repeated}}, **batch)
    np.testing.assert_allclose(states(grouped, params, **batch), expected, atol=1e-5)


@pytest.mark.parametrize(("groups", "layers", "of"), [(2, 5, "00011"), (3, 5, "00112"), (1, 2, "")])
def test_which_group_a_layer_is_in(groups, layers, of):
    """As Hugging Face divides them: int(i / (layers / groups))."""
    config = dataclasses.replace(ALBERT, num_layers=layers, num_groups=groups)
    assert "".join(map(str, config.copies or ())) == of
    assert all(int(g) == int(i / (layers / groups)) for i, g in enumerate(of))


# Two models in one.


def test_joint_pretraining_is_a_generator_and_a_discriminator_on_the_same_embeddings():
    joint = ELECTRA.build("joint_pretraining")
    params, batch = params_of(joint), texts(ELECTRA, 5, 4)
    embeddings = params["discriminator"]["embeddings"]
    assert "embeddings" not in params["generator"]
    generator = ELECTRA.generator().build("masked_lm")
    places = {**batch, "predict_positions": jnp.array([[1, 2], [3, 0]])}
    np.testing.assert_allclose(
        run(joint, params, places, method="generate").logits,
        run(generator, {**params["generator"], "embeddings": embeddings}, places).logits,
        atol=1e-5,
    )
    np.testing.assert_allclose(
        run(joint, params, batch, method="discriminate").logits,
        run(ELECTRA.build("pretraining"), params["discriminator"], batch).logits,
        atol=1e-5,
    )

    @jax.jit
    @jax.grad
    def gradient(params):
        return joint.apply({"params": params}, **places, method="generate").logits.sum()

    found = gradient(params)["discriminator"]
    assert all(np.abs(x).max() > 0 for x in jax.tree.leaves(found.pop("embeddings")))
    assert all((x == 0).all() for x in jax.tree.leaves(found)), "more than embeddings is shared"


def test_the_fit_takes_states_to_the_teachers_width():
    module = FAMILIES["tinybert"].build("distillation")
    params = params_of(module)
    x = jax.random.normal(jax.random.key(0), (3, 2, 5, 8))
    found = module.apply({"params": params}, x, method="fit")
    kernel, bias = params["fit_dense"]["kernel"], params["fit_dense"]["bias"]
    np.testing.assert_allclose(
        found, np.asarray(x) @ np.asarray(kernel) + np.asarray(bias), atol=1e-5
    )
    assert found.shape == (3, 2, 5, 6)


# Looking inside, and meshes.


def test_what_enters_the_first_layer_and_leaves_each_is_seen():
    module = ELECTRA.build()
    params, batch = params_of(module), texts(ELECTRA, 5, 4)
    apply = jax.jit(partial(module.apply, mutable=["intermediates"]))
    answer, seen = apply({"params": params}, **batch)
    seen = seen["intermediates"]
    assert seen["embedded"].shape == (2, 5, 8)
    assert seen["encoder"]["hidden_state"].shape == (2, 2, 5, 8)
    np.testing.assert_array_equal(seen["encoder"]["hidden_state"][-1], answer.last_hidden_state)
    np.testing.assert_allclose(
        seen["encoder"]["attention"]["weights"].sum(-1), np.ones((2, 2, 2, 5)), rtol=1e-5
    )


@pytest.mark.skipif(jax.device_count() != 8, reason="needs eight devices")
@pytest.mark.parametrize("name", ["bert", "albert", "electra"])
def test_sharded_logits_are_those_of_one_device(name):
    config = FAMILIES[name]
    module, batch = config.build("pretraining"), texts(config, 5, 4, 3, 5)
    batch["predict_positions"] = jnp.array([[1, 2], [3, 0], [0, 0], [4, 1]])
    params = params_of(module)
    expected = run(module, params, batch)
    mesh = MeshShape(data=1, fsdp=4, tensor=2).build()
    placed = jax.device_put(
        params, parameter_shardings(shapes(module, **module.dummy_inputs()), mesh)
    )
    rows = jax.device_put(batch, batch_sharding(mesh))
    with jax.set_mesh(mesh):
        found = jax.jit(lambda params, rows: module.apply({"params": params}, **rows))(placed, rows)
    assert not placed["embeddings"]["token"]["embedding"].sharding.is_fully_replicated
    assert_close(found, expected, atol=1e-5)
