"""ELMo: published sizes, what each task has, padding, and what neither direction may see."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import flaxformers_edu as ff
from flaxformers_edu.errors import InputError
from flaxformers_edu.models.elmo import ElmoConfig, TaskModel, parameter_count
from flaxformers_edu.text.characters import CharacterTokenizer

TINY = ElmoConfig(
    vocab_size=11,
    character_size=4,
    filters=((1, 3), (2, 5)),
    num_highway=1,
    projection_size=6,
    hidden_size=8,
    num_labels=3,
    head=TaskModel(filters=((2, 3),), word_size=4, hidden_size=5),
)
TASKS = ("base", "bidirectional_lm", "token_classification", "sequence_classification")
BATCH = CharacterTokenizer()(["a cat sat", "no dogs ran here"])


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("elmo-original", 93_600_864),
        ("elmo-5.5b", 93_600_864),
        ("elmo-medium", 28_027_744),
        ("elmo-small", 13_593_312),
    ],
)
def test_published_sizes(name, parameters):
    config = ff.models.presets()[name]
    assert ff.count_params(config, "base") == parameter_count(config) == parameters


def test_the_output_layer_is_counted():
    assert ff.count_params(TINY, "bidirectional_lm") == parameter_count(TINY, "bidirectional_lm")


def modules(config: ElmoConfig, task: str) -> set[str]:
    model = config.build(task)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), **model.dummy_inputs()))
    return set(shapes["params"])


def test_a_task_has_the_parameters_that_it_applies():
    bilm, reader = {"token_embedder", "forward_lm", "backward_lm"}, {"task_encoder", "classifier"}
    assert modules(TINY, "base") == bilm
    assert modules(TINY, "bidirectional_lm") == {*bilm, "output"}
    assert modules(TINY, "token_classification") == {*bilm, *reader, "mix", "own_words"}

    def with_head(**changes) -> set[str]:
        head = dataclasses.replace(TINY.head, **changes)
        return modules(dataclasses.replace(TINY, head=head), "sequence_classification")

    assert with_head(features="none") == {*reader, "own_words"}
    assert with_head(features="top", filters=()) == {*bilm, *reader}


@pytest.mark.parametrize("task", TASKS)
def test_flops_are_those_of_the_products(task):
    """Twice the multiplications of every kernel, at each place where it is applied."""
    model = TINY.build(task)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), **model.dummy_inputs()))
    total, words = 0, 2 * 6
    for path, leaf in jax.tree_util.tree_leaves_with_path(nn.meta.unbox(shapes["params"])):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if "convolution" in name and "kernel" in name:
            total += 2 * words * (50 - leaf.shape[0] + 1) * leaf.size
        elif name == "output/embedding":
            total += 2 * 2 * words * leaf.size
        elif name == "classifier/kernel" and task == "sequence_classification":
            total += 2 * 2 * leaf.size
        elif "kernel" in name:
            total += 2 * words * leaf.size
    found = TINY.forward_flops({"input_ids": (2, 6, 50)}, task=task)
    assert sum(found.values()) == total


@pytest.fixture(scope="module")
def base():
    model = TINY.build("base")
    params = nn.meta.unbox(jax.jit(model.init)(jax.random.key(0), **BATCH)["params"])
    forward = jax.jit(lambda **x: model.apply({"params": params}, **x))
    return forward


def test_padding_changes_nothing(base):
    out = base(**BATCH)
    garbage = np.where(BATCH["attention_mask"][..., None] == 0, 77, BATCH["input_ids"])
    other = base(input_ids=garbage, attention_mask=BATCH["attention_mask"])
    jax.tree.map(np.testing.assert_array_equal, out, other)
    np.testing.assert_array_equal(out.last_hidden_state[0, 5:], 0)
    unmasked = base(input_ids=BATCH["input_ids"])
    np.testing.assert_array_equal(out.last_hidden_state, unmasked.last_hidden_state)


def test_a_row_of_padding_leaves_gradients_finite():
    """As the last batch of an epoch has them: dropout scales what is pooled of such a row, too."""
    model = TINY.build("sequence_classification")
    inputs = {name: np.concatenate([x, 0 * x[:1]]) for name, x in BATCH.items()}
    params = nn.meta.unbox(jax.jit(model.init)(jax.random.key(0), **BATCH)["params"])

    def total(params):
        rngs = {"dropout": jax.random.key(1)}
        out = model.apply({"params": params}, **inputs, deterministic=False, rngs=rngs)
        return out.logits[:2].sum()

    for gradient in jax.tree.leaves(jax.jit(jax.grad(total))(params)):
        assert np.isfinite(gradient).all()


def test_no_direction_sees_what_the_other_reads(base):
    changed = BATCH["input_ids"].copy()
    changed[:, 2, 1] += 1
    before = base(**BATCH).last_hidden_state
    after = base(input_ids=changed, attention_mask=BATCH["attention_mask"]).last_hidden_state
    moved = np.abs(before - after).max(axis=(0, 2), where=np.arange(12) < 6, initial=0) > 0
    np.testing.assert_array_equal(moved, [False, False, True, True, True, True])
    moved = np.abs(before - after).max(axis=(0, 2), where=np.arange(12) >= 6, initial=0) > 0
    np.testing.assert_array_equal(moved, [True, True, True, False, False, False])


def test_bad_fields_and_inputs_are_refused():
    for field, value, said in (
        ("hidden_size", 0, "model.hidden_size is 0"),
        ("filters", (), "model.filters is empty"),
        ("filters", ((60, 3),), "width must be 1 to 50"),
        ("cell_clip", -1.0, "model.cell_clip is -1.0"),
        ("activation", "rely", "did you mean 'relu'"),
    ):
        with pytest.raises(InputError, match=said):
            dataclasses.replace(TINY, **{field: value})
    with pytest.raises(InputError, match="did you mean 'mixed'"):
        TaskModel(features="mixd")
    with pytest.raises(InputError, match="it reads nothing"):
        TaskModel(features="none", filters=())
    with pytest.raises(InputError, match="unknown task 'causal_lm'"):
        TINY.build("causal_lm")
    with pytest.raises(InputError, match=r"input_ids has the shape \[1, 4\]"):
        jax.eval_shape(TINY.build("base").init, jax.random.key(0), jnp.ones((1, 4), jnp.int32))
