from functools import partial

import jax
import jax.numpy as jnp
import pytest

from flaxformers_edu.sharding import MeshShape, batch_sharding
from train.compiled import CompiledStep


@partial(jax.jit, donate_argnums=0)
def double(state, batch):
    return {"w": state["w"] * 2 + batch["x"].sum()}, batch["x"].mean()


def state_of(value: float):
    return {"w": jnp.full((256, 256), value)}


def batch_of(rows: int):
    return {"x": jnp.ones((rows, 4))}


def test_one_program_for_each_shape():
    step = CompiledStep(double)
    assert not step.knows(batch_of(2))
    step.compile(state_of(1.0), batch_of(2))
    assert step.knows(batch_of(2)) and not step.knows(batch_of(3))
    with pytest.raises(KeyError):
        step(state_of(1.0), batch_of(3))
    step.compile(state_of(1.0), batch_of(3))
    assert len(step.programs) == 2
    assert step(state_of(1.0), batch_of(2))[0]["w"][0, 0] == 2 + 8
    assert step(state_of(1.0), batch_of(3))[0]["w"][0, 0] == 2 + 12


def test_the_state_is_donated():
    step, state = CompiledStep(double), state_of(1.0)
    step.compile(state, batch_of(2))
    assert not state["w"].is_deleted()  # compiling reads only its shape
    step(state, batch_of(2))
    assert state["w"].is_deleted()


def test_a_state_that_lies_elsewhere_is_an_error_and_no_compilation():
    mesh = MeshShape().build(jax.devices())
    with jax.set_mesh(mesh):
        elsewhere = jax.device_put(state_of(1.0), batch_sharding(mesh))
        batch = jax.device_put(batch_of(8), batch_sharding(mesh))
        step = CompiledStep(double)
        step.compile(elsewhere, batch)
        step(elsewhere, batch)
        with pytest.raises(ValueError, match="sharding"):
            step(jax.device_put(state_of(1.0), jax.NamedSharding(mesh, jax.P())), batch)


def test_what_it_took():
    program = CompiledStep(double).compile(state_of(1.0), batch_of(2))
    assert program.seconds > 0
    memory = program.memory
    assert memory.argument_size_in_bytes == 256 * 256 * 4 + 2 * 4 * 4
    assert memory.alias_size_in_bytes == 256 * 256 * 4
    line = program.description()
    assert line.startswith("the step was compiled in ")
    assert "256 KiB arguments" in line and "- 256 KiB that both share" in line


def test_a_backend_that_says_nothing_about_memory():
    program = CompiledStep(double).compile(state_of(1.0), batch_of(2))
    silent = type(program)(program.executable, 1.25, None)
    assert silent.description() == "the step was compiled in 1.2 s"
