"""A student beside its teacher: one tree for both, and layers that go from one to the other."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.layers.stack import unstack_layers
from flaxformers_edu.models import AlbertConfig, BertConfig, DistilBertConfig, RobertaConfig
from flaxformers_edu.models.distillation import DistillationConfig
from flaxformers_edu.models.student_layers import begun, layers_of, spread_layers
from tests.trees import assert_close, random_params, shapes

SIZES = dict(
    vocab_size=19, num_heads=2, intermediate_size=12, max_length=9, eos_token_id=3, mask_token_id=4
)
TEACHER = BertConfig(hidden_size=8, num_layers=4, **SIZES)
IDS = jnp.array([[2, 7, 9, 3], [2, 8, 3, 0]])
INPUTS = {"input_ids": IDS, "attention_mask": (IDS != 0).astype(jnp.int32)}


def student(kind=DistilBertConfig, **fields):
    return kind(**{"hidden_size": 8, "num_layers": 2, **SIZES, **fields})


def run(module, params):
    return jax.jit(module.apply)({"params": params}, **INPUTS)


def parameters(config, task="masked_lm"):
    module = config.build(task)
    return module, random_params(module, **module.dummy_inputs())


@pytest.mark.parametrize("width", [8, 4])
@pytest.mark.parametrize("kind", [DistilBertConfig, RobertaConfig, AlbertConfig])
def test_two_trees_lie_side_by_side_and_the_module_is_the_student(kind, width):
    config = DistillationConfig(student(kind, hidden_size=width, pad_token_id=0), TEACHER)
    module, params = parameters(config)

    assert set(params) == {"student", "teacher"} | ({"fit_dense"} if width != 8 else set())
    for name in ("student", "teacher"):
        alone = getattr(config, name).build("masked_lm")
        expected = shapes(alone, **alone.dummy_inputs())
        assert jax.tree.structure(params[name]) == jax.tree.structure(nn.meta.unbox(expected))
    if width != 8:
        assert params["fit_dense"]["kernel"].shape == (4, 8)

    output = run(module, params)
    alone = run(config.student.build("masked_lm"), params["student"])
    np.testing.assert_array_equal(output.logits, alone.logits)


def test_states_are_mapped_to_the_teachers_width_only_where_it_differs():
    module, params = parameters(DistillationConfig(student(hidden_size=4), TEACHER))
    states = jax.random.normal(jax.random.key(0), (3, 2, 5, 4))
    fitted = module.apply({"params": params}, states, method="fit")
    dense = params["fit_dense"]
    expected = np.asarray(states) @ np.asarray(dense["kernel"]) + np.asarray(dense["bias"])
    np.testing.assert_allclose(fitted, expected, atol=1e-6)

    module, params = parameters(DistillationConfig(student(), TEACHER))
    states = jax.random.normal(jax.random.key(0), (2, 5, 8))
    assert module.apply({"params": params}, states, method="fit") is states


@pytest.mark.parametrize(
    "student_layout, teacher_layout",
    [("scanned", "scanned"), ("unrolled", "scanned"), ("scanned", "unrolled")],
)
def test_a_student_begins_from_every_second_layer(student_layout, teacher_layout):
    """It then computes what its teacher would with the other layers taken out."""
    teacher = dataclasses.replace(TEACHER, layout=teacher_layout)
    pupil = student(layout=student_layout)
    module, params = parameters(DistillationConfig(pupil, teacher, layers=(0, 2)))
    params["teacher"]["embeddings"]["token_types"]["embedding"] *= 0  # the student has none

    params = module.config.start(params)
    ours = run(pupil.build("masked_lm"), params["student"])
    shorter = dataclasses.replace(teacher, num_layers=2)
    rest = layers_of(params["teacher"], (0, 2))
    theirs = run(shorter.build("masked_lm"), rest)
    np.testing.assert_allclose(ours.logits, theirs.logits, atol=1e-5)
    full = run(teacher.build("masked_lm"), params["teacher"])
    assert np.abs(full.logits - theirs.logits).max() > 0.1


def test_layers_are_taken_in_the_order_given_from_both_layouts():
    _, params = parameters(TEACHER)
    scanned, unrolled = layers_of(params, (3, 1)), layers_of(unstack_layers(params), (3, 1))
    kernel = params["encoder"]["layers"]["mlp"]["up"]["kernel"]
    taken = scanned["encoder"]["layers"]["mlp"]["up"]["kernel"]
    np.testing.assert_array_equal(taken, kernel[jnp.array([3, 1])])
    assert_close(unstack_layers(scanned), unrolled)


def test_without_layers_a_student_begins_as_it_was():
    module, params = parameters(DistillationConfig(student(), TEACHER))
    assert module.config.start(params) is params


def test_what_the_teacher_has_no_name_for_stays():
    """DistilBERT's classifier has another form than BERT's."""
    teacher = dataclasses.replace(TEACHER, num_layers=2)
    _, params = parameters(DistillationConfig(student(), teacher), "sequence_classification")
    new = begun(params["student"], params["teacher"], (0, 1))
    assert_close(new["classifier"], params["student"]["classifier"])
    assert_close(new["embeddings"]["token"], params["teacher"]["embeddings"]["token"])


@pytest.mark.parametrize(
    "number, depth, expected", [(3, 12, (0, 6, 11)), (12, 24, None), (1, 4, (0,)), (4, 4, None)]
)
def test_layers_are_spread_from_the_first_to_the_last(number, depth, expected):
    found = spread_layers(number, depth)
    assert len(set(found)) == number and list(found) == sorted(found)
    assert found[0] == 0 and (number == 1 or found[-1] == depth - 1)
    assert expected is None or found == expected


def test_flops_are_of_the_student_and_a_third_of_the_teachers():
    config = DistillationConfig(student(), TEACHER)
    shapes = {"input_ids": (2, 5)}
    found = config.forward_flops(shapes, task="masked_lm")
    pupil = sum(config.student.forward_flops(shapes, task="masked_lm").values())
    teacher = sum(config.teacher.forward_flops(shapes, task="masked_lm").values())
    assert 3 * sum(found.values()) == pytest.approx(3 * pupil + teacher)


@pytest.mark.parametrize(
    "fields, changes, words",
    [
        ({}, {"vocab_size": 20}, "vocab_size is 20"),
        ({}, {"num_labels": 3}, "num_labels is 3"),
        ({"layers": (0, 1, 2)}, {}, "names 3 layers"),
        ({"layers": (0, 4)}, {}, "0 to 3"),
        ({"layers": (0, 1)}, {"share": "ffn"}, "share their parameters"),
    ],
)
def test_pairs_that_do_not_fit_are_refused(fields, changes, words):
    with pytest.raises(InputError, match=words):
        DistillationConfig(student(**changes), TEACHER, **fields)


def test_a_student_of_another_width_cannot_begin_from_its_teacher():
    config = DistillationConfig(student(hidden_size=4), TEACHER, layers=(0, 2))
    with pytest.raises(InputError, match=r"its shape is \[.*4"):
        config.start(parameters(config)[1])


def test_shared_layers_cannot_be_taken_one_by_one():
    albert = student(AlbertConfig, num_layers=4)
    with pytest.raises(InputError, match="share"):
        layers_of(parameters(albert)[1], (0, 2))
    with pytest.raises(InputError, match="0 to 3"):
        layers_of(parameters(TEACHER)[1], (0, 4))


def test_a_student_of_more_layers_than_its_teacher_is_refused():
    with pytest.raises(InputError, match="5 layers"):
        spread_layers(5, 4)
