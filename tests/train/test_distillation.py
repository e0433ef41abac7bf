"""A student's run: begun from its teacher, which stays as it was, and exported alone."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from flaxformers_edu import interop
from tests.train import tiny_student
from tests.train.folders import records
from tests.train.test_main import one_line
from train.__main__ import main
from train.assemble import assemble
from train.initial import based_on, load
from train.prepare import open_finished
from train.restore import load_params


@pytest.fixture
def mesh():
    return tiny_student.config().mesh.build(jax.devices()[:1])


@pytest.fixture(scope="module")
def distilled(tmp_path_factory, masked):
    workdir = tmp_path_factory.mktemp("distilled") / "run"
    command = ["run", tiny_student.CONFIG, "--workdir", str(workdir), "--teacher", str(masked)]
    assert main(command) == 0
    return workdir


def test_a_student_begins_from_its_teachers_layer(masked, mesh):
    """The teacher's layers lie apart, the student's are stacked; no array belongs to both."""
    experiment = based_on(dataclasses.replace(tiny_student.config(), teacher=str(masked)))
    assembled = assemble(experiment, mesh)
    state = assembled.initial_state()
    state = load(experiment, assembled.state, mesh).of(state, experiment.model)
    student, teacher = state.params["student"], state.params["teacher"]
    for module, leaves in student["encoder"]["layers"].items():
        jax.tree.map(
            lambda ours, theirs: np.testing.assert_array_equal(ours[0], theirs),
            leaves,
            teacher["encoder"]["layers"]["1"][module],
        )
    table = student["embeddings"]["token"]["embedding"]
    np.testing.assert_array_equal(table, teacher["embeddings"]["token"]["embedding"])
    found = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(state.params)]
    assert len(found) == len(set(found))


@pytest.mark.runs
def test_the_teacher_stays_and_the_student_moves(masked, distilled, mesh):
    run = open_finished(distilled)
    params, _ = load_params(run, "last", mesh)
    finished, _ = load_params(open_finished(masked), "best", mesh)
    jax.tree.map(np.testing.assert_array_equal, params["teacher"], finished)
    ours = params["student"]["mlm_head"]["transform"]["kernel"]
    assert not np.array_equal(ours, finished["mlm_head"]["transform"]["kernel"])
    assert run.experiment.model.teacher == open_finished(masked).experiment.model

    state = assemble(run.experiment, mesh).state
    moments = [leaf.shape for leaf in jax.tree.leaves(state.opt_state) if leaf.ndim > 1]
    students = [leaf.shape for leaf in jax.tree.leaves(params["student"]) if leaf.ndim > 1]
    assert sorted(moments) == sorted(2 * students)


@pytest.mark.runs
def test_the_log_has_the_three_losses(distilled):
    last = [record for record in records(distilled) if "soft_loss" in record][-1]
    expected = 5 * last["soft_loss"] + 2 * last["nll"] + last["cosine_loss"]
    assert last["loss"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.runs
def test_the_student_alone_is_exported(distilled, tmp_path, mesh):
    assert main(["export", str(distilled), str(tmp_path / "hf"), "--checkpoint", "last"]) == 0
    written = json.loads((tmp_path / "hf" / "config.json").read_text())
    assert written["model_type"] == "distilbert" and written["n_layers"] == 1
    read = interop.from_pretrained(tmp_path / "hf", "masked_lm")
    params, _ = load_params(open_finished(distilled), "last", mesh)
    theirs = read.params["embeddings"]["token"]["embedding"]
    np.testing.assert_array_equal(theirs, params["student"]["embeddings"]["token"]["embedding"])


def test_a_student_without_a_teacher_is_refused(capsys, tmp_path, labelled_examples):
    workdir = tmp_path / "new"
    line = one_line(capsys, "run", tiny_student.CONFIG, "--workdir", str(workdir))
    assert "--teacher" in line
    assert not workdir.exists()
