"""The training step on meshes: where everything lies, and that the losses are the same.

Dims: B batch, T length, D hidden size, F intermediate size, V vocabulary.
"""

import dataclasses
import math
import re

import jax
import numpy as np
import optax
import pytest
from jax.sharding import AbstractMesh, PartitionSpec

from benchmarks.mesh_equality import (
    BASELINE,
    BOUND,
    CHARACTERS,
    LANGUAGE,
    RECURRENT,
    SETTINGS,
    STREAMS,
    TRANSLATION,
    losses,
)
from benchmarks.mesh_equality import losses_of_processes as of_processes
from flaxformers_edu.models import TransformerConfig
from flaxformers_edu.objectives import Translation
from flaxformers_edu.optim.schedules import Schedule
from flaxformers_edu.sharding import AXES, MeshShape, batch_sharding
from train.state import abstract_state, shardings_of
from train.step import make_train_step

COLLECTIVE = re.compile(r"\b(all-gather|all-reduce|all-to-all|reduce-scatter|collective-permute)")
needs_eight = pytest.mark.skipif(jax.device_count() != 8, reason="needs eight devices")
FAST = ("8 by pmap", "data 2 x fsdp 2 x tensor 2", "data 2 x sequence 4")
"""The settings that between them use every axis; the others are slow tests."""

# --- Where everything lies: a contract, checked without any device --------------------------------

SPECS = {
    "embedding/embedding": ("tensor", "fsdp"),
    "output/kernel": ("fsdp", "tensor"),
    **{f"{part}/kernel": ("fsdp", "tensor", None) for part in ("query", "key", "value")},
    **{f"{part}/bias": ("tensor", None) for part in ("query", "key", "value")},
    "out/kernel": ("tensor", None, "fsdp"),
    "out/bias": ("fsdp",),
    "up/kernel": ("fsdp", "tensor"),
    "up/bias": ("tensor",),
    "down/kernel": ("tensor", "fsdp"),
    "down/bias": ("fsdp",),
    **{f"norm/{name}": (None,) for name in ("scale", "bias")},
}
"""The layout of every parameter by the end of its path, without the axis of stacked layers."""

BASE = TransformerConfig(vocab_size=64, hidden_size=16, num_heads=4, intermediate_size=32)
UNTIED = dataclasses.replace(
    BASE, tie_embeddings=False, norm_position="pre", layout="unrolled", num_layers=1
)


def expected_spec(path, num_axes):
    end = "/".join(path.split("/")[-2:])
    spec = SPECS[re.sub(r"\w*norm/", "norm/", end)]
    return (None,) * (num_axes - len(spec)) + spec


@pytest.mark.parametrize("config", [BASE, UNTIED], ids=["scanned", "unrolled, untied"])
@pytest.mark.parametrize(
    "sizes", [(1, 1, 1, 1), (1, 16, 1, 1), (2, 8, 4, 1), (4, 2, 4, 2)], ids=str
)
def test_every_parameter_and_its_moments_lie_where_the_contract_says(config, sizes):
    mesh = AbstractMesh(sizes, AXES)
    state = abstract_state(config.build(), optax.adamw(1e-3), mesh, ema=True)
    moments = state.opt_state[0]
    of_each = [
        jax.tree_util.tree_leaves_with_path(tree)
        for tree in (state.params, moments.mu, moments.nu, state.ema)
    ]
    assert len(of_each[0]) > 30
    for leaves in zip(*of_each, strict=True):
        path = jax.tree_util.keystr(leaves[0][0], simple=True, separator="/")
        spec = expected_spec(path, leaves[0][1].ndim)
        shards = math.prod(mesh.shape[axis] for axis in spec if axis)
        for _, leaf in leaves:
            assert leaf.sharding.spec == PartitionSpec(*spec), path
            local = math.prod(leaf.sharding.shard_shape(leaf.shape))
            assert local * shards == leaf.size, path
    assert state.step.sharding.spec == moments.count.sharding.spec == PartitionSpec()


# --- What the devices compute ---------------------------------------------------------------------

B, T, V, F = 4, 96, 56, 80
"""Sizes that no other dimension has, so that they can be found in a program."""


MODEL = dataclasses.replace(BASE, vocab_size=V, intermediate_size=F, num_layers=1)


def program(shape, config=MODEL, rows=B):
    """The compiled step of a small model, as text, for one device."""
    mesh, optimizer = shape.build(), optax.sgd(0.1)
    state = abstract_state(config.build(), optimizer, mesh, ema=False)
    step = make_train_step(
        config.build(),
        Translation(),
        optimizer,
        lambda _: 0.1,
        seed=0,
        shardings=shardings_of(state),
    )
    example = {"input_ids": np.array([2, 1]), "labels": np.array([3, 1])}
    batch = {
        name: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=batch_sharding(mesh))
        for name, x in Translation().collate(config)([example], rows, T).items()
    }
    with jax.set_mesh(mesh):
        return step.lower(state, batch).compile().as_text()


def shapes_in(text):
    """The shapes of all arrays of a program."""
    found = set(re.findall(r"\bf32\[([\d,]+)\]", text))
    return {tuple(map(int, shape.split(","))) for shape in found}


@needs_eight
def test_a_sequence_is_split_over_its_devices():
    shapes = shapes_in(program(MeshShape(data=2, sequence=4)))
    assert {(B // 2, T // 4, F), (B // 2, T // 4, V), (B // 2, T // 4, 16)} <= shapes
    whole = {shape for shape in shapes if T in shape and (F in shape or V in shape)}
    assert not whole
    # Keys and values alone are whole.
    assert (B // 2, T, 4, 4) in shapes


@needs_eight
@pytest.mark.parametrize(
    "shape", [MeshShape(data=2, tensor=4), MeshShape(data=1, fsdp=2, tensor=4)], ids=str
)
def test_no_device_holds_the_whole_vocabulary_or_batch(shape):
    """Neither in the lookup, nor in the tied logits, nor in the loss or any gradient of these."""
    shapes = shapes_in(program(shape))
    assert {(B // 2, T, V // 4), (V // 4, 16)} <= shapes
    assert not {found for found in shapes if V in found}
    assert not {found for found in shapes if T in found and B in found[:1]}


@needs_eight
def test_no_step_of_a_recurrence_waits_for_other_devices():
    text = program(MeshShape(data=2, fsdp=2, tensor=2), RECURRENT.model, rows=16)
    within = [line for line in text.splitlines() if "while/body" in line]
    assert sum("f32[2,128]" in line for line in within) > 4  # gates of 32 units, of 2 rows of 16
    assert not [line for line in within if COLLECTIVE.search(line)]


# --- The losses -----------------------------------------------------------------------------------

STEPS = 3
SMALL = dataclasses.replace(
    TRANSLATION,
    model=dataclasses.replace(TRANSLATION.model, num_layers=1, layout="unrolled"),
)


@pytest.fixture(scope="module")
def baseline():
    """Losses of one device: they move, so that a wrong update would show."""
    found = losses(SMALL, SETTINGS[BASELINE], STEPS)
    assert np.ptp(found) > 0.1
    return found


@needs_eight
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in FAST else pytest.mark.slow)
        for name, setting in SETTINGS.items()
        if name != BASELINE and setting.processes == 1
    ],
)
def test_every_setting_has_the_losses_of_one_device(name, baseline):
    np.testing.assert_allclose(losses(SMALL, SETTINGS[name], STEPS), baseline, rtol=0, atol=BOUND)


@pytest.mark.runs
@needs_eight
@pytest.mark.parametrize(
    "name",
    ["data 2 x fsdp 2 x tensor 2", pytest.param("data 2 x sequence 4", marks=pytest.mark.slow)],
)
def test_a_decoder_on_packed_rows_has_the_losses_of_one_device(name):
    small = dataclasses.replace(LANGUAGE.model, num_layers=1, layout="unrolled")
    experiment = dataclasses.replace(LANGUAGE, model=small)
    one, many = (losses(experiment, SETTINGS[setting], 2) for setting in (BASELINE, name))
    np.testing.assert_allclose(many, one, rtol=0, atol=BOUND)


@pytest.mark.runs
@needs_eight
@pytest.mark.parametrize(
    "experiment",
    [
        pytest.param(RECURRENT, id="Seq2Seq"),
        pytest.param(CHARACTERS, id="ELMo", marks=pytest.mark.slow),
        pytest.param(STREAMS, id="AWD-LSTM", marks=pytest.mark.slow),
    ],
)
def test_recurrent_models_have_the_losses_of_one_device(experiment):
    """Under a rate so high that a gradient a little off would show."""
    experiment = dataclasses.replace(experiment, schedule=Schedule(peak=2e-2, warmup_steps=1))
    names = (BASELINE, "data 2 x fsdp 2 x tensor 2")
    one, many = (losses(experiment, SETTINGS[name], STEPS) for name in names)
    assert np.ptp(one) > 1e4 * BOUND  # they move: a wrong update would show
    np.testing.assert_allclose(many, one, rtol=0, atol=BOUND)


@pytest.mark.slow
@needs_eight
def test_two_processes_have_the_losses_of_one_device():
    (name,) = [name for name, setting in SETTINGS.items() if setting.processes > 1]
    expected = losses(TRANSLATION, SETTINGS[BASELINE], 2)
    found = of_processes("Transformer", name, 2)
    np.testing.assert_allclose(found, expected, rtol=0, atol=BOUND)


@pytest.mark.slow
@needs_eight
def test_dropout_does_not_depend_on_the_mesh():
    """jax's random numbers are those of the whole array, however it is split."""
    model = dataclasses.replace(SMALL.model, dropout=0.3)
    dropping = dataclasses.replace(SMALL, model=model)
    one, many = (
        losses(dropping, SETTINGS[name], STEPS) for name in (BASELINE, "data 2 x fsdp 2 x tensor 2")
    )
    np.testing.assert_allclose(many, one, rtol=0, atol=BOUND)
