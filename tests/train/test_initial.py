"""Beginning from a folder: sizes before parsing, weights before compiling."""

import dataclasses
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from flaxformers_edu import interop
from flaxformers_edu.errors import InputError
from flaxformers_edu.layers.stack import stack_layers
from flaxformers_edu.models import BertConfig
from tests.train import tiny, tiny_classifier
from tests.train.folders import records
from tests.train.test_main import one_line
from train.__main__ import main
from train.assemble import assemble
from train.commands.arguments import begun_from_folders, value_of
from train.initial import based_on, load, look
from train.prepare import open_finished
from train.restore import load_params


@pytest.fixture
def mesh():
    return tiny.config().mesh.build(jax.devices()[:1])


def begun(experiment, mesh):
    """The state that a run of the experiment begins with, what is told, and a random state."""
    assembled = assemble(dataclasses.replace(based_on(experiment), ema_decay=0.5), mesh)
    beginning = load(assembled.experiment, assembled.state, mesh)
    state = assembled.initial_state()
    return beginning.of(state, assembled.experiment.model), beginning.told, state


def assert_equal(ours, theirs):
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_options_are_looked_at_before_they_are_parsed():
    assert value_of("--init", ["--steps", "3"]) is None
    assert value_of("--init", ["--init", "a", "--steps", "3", "--init=b"]) == "b"
    assert value_of("--init", ["--init"]) is None


def test_sizes_and_tokeniser_are_the_folders_and_the_rest_is_the_tasks(masked):
    ours = tiny_classifier.config()
    found = begun_from_folders(ours, ["--init", str(masked)])
    assert found.model.hidden_size == 24 != ours.model.hidden_size
    assert found.model.layout == "scanned"
    assert found.model == dataclasses.replace(
        open_finished(masked).experiment.model, layout="scanned"
    )
    assert found.tokenizer.folder == str(masked / "tokenizer")
    assert found.init == str(masked) and found.objective == ours.objective
    assert begun_from_folders(ours, []) == ours


def test_the_body_of_a_run_moves_and_the_head_is_new(masked, mesh):
    """From an unrolled masked language model to a scanned classifier; of the averaged weights."""
    state, told, random = begun(tiny_classifier.config(init=str(masked)), mesh)
    theirs, _ = load_params(open_finished(masked), "best", mesh)
    theirs = stack_layers(theirs)
    for module in ("embeddings", "encoder"):
        assert_equal(state.params[module], theirs[module])
    for module in ("pooler", "classifier"):
        assert_equal(state.params[module], random.params[module])
    assert_equal(state.ema, state.params)
    assert told == (
        f"from {masked}: embeddings, encoder; new: classifier, pooler; left there: mlm_head"
    )


def test_the_same_task_keeps_its_head(classified, mesh):
    state, told, _ = begun(tiny_classifier.config(init=str(classified)), mesh)
    theirs, _ = load_params(open_finished(classified), "best", mesh)
    assert_equal(state.params, theirs)
    assert told == f"from {classified}: classifier, embeddings, encoder, pooler"


def test_other_labels_make_a_new_head(classified, mesh):
    objective = dataclasses.replace(tiny_classifier.config().objective, labels=("a", "b", "c"))
    experiment = tiny_classifier.config(init=str(classified), objective=objective)
    state, told, _ = begun(experiment, mesh)
    assert state.params["classifier"]["kernel"].shape == (16, 3)
    assert "new: classifier" in told


@pytest.fixture(scope="module")
def hugging_face(tmp_path_factory, masked) -> Path:
    folder = tmp_path_factory.mktemp("export") / "hf"
    assert main(["export", str(masked), str(folder)]) == 0
    return folder


def test_a_folder_of_hugging_face_is_as_good(masked, hugging_face, mesh):
    of_run, _, _ = begun(tiny_classifier.config(init=str(masked)), mesh)
    of_export, told, _ = begun(tiny_classifier.config(init=str(hugging_face)), mesh)
    assert_equal(of_export.params, of_run.params)
    assert "new: classifier, pooler" in told and "embeddings, encoder" in told


@pytest.mark.runs
def test_a_run_begins_and_resumes_without_the_folder(hugging_face, tmp_path, capsys, mesh):
    folder = Path(shutil.copytree(hugging_face, tmp_path / "hf"))
    workdir = tmp_path / "run"
    command = ["run", tiny_classifier.CONFIG, "--workdir", str(workdir), "--init", str(folder)]
    frozen = ["--optimizer.frozen", "^embeddings/", "--optimizer.layer-decay", "0.8"]
    assert main([*command, *frozen, "--steps", "4"]) == 0
    shown = capsys.readouterr().out
    assert f"from {folder}: embeddings, encoder; new: classifier, pooler" in " ".join(shown.split())
    trained, _ = load_params(
        open_finished(workdir), "last", tiny.config().mesh.build(jax.devices()[:1])
    )
    before = interop.from_pretrained(folder).params
    assert_equal(trained["embeddings"], before["embeddings"])
    moved = trained["encoder"]["layers"]["mlp"]["up"]["kernel"]
    assert not np.array_equal(moved, before["encoder"]["layers"]["mlp"]["up"]["kernel"])

    shutil.rmtree(folder)
    assert main([*command, *frozen, "--steps", "6"]) == 0
    assert records(workdir)[-1]["step"] == 6
    assert "resumed from step 4" in capsys.readouterr().out


def refused(capsys, tmp_path, config, *options):
    workdir = tmp_path / "new"
    line = one_line(capsys, "run", config, "--workdir", str(workdir), *options)
    assert not workdir.exists()
    return line


def test_a_folder_that_is_none(capsys, tmp_path, labelled_examples):
    options = ("--init", str(tmp_path / "nowhere"))
    line = refused(capsys, tmp_path, tiny_classifier.CONFIG, *options)
    assert "nowhere is no folder to begin from: it has no config.json" in line


def test_other_sizes_than_the_folders(capsys, tmp_path, masked):
    options = ("--init", str(masked), "--model.intermediate-size", "48")
    line = refused(capsys, tmp_path, tiny_classifier.CONFIG, *options)
    assert f"{masked} is of another architecture: encoder/layers/mlp/down/kernel is" in line
    assert "[2, 32, 24] there and [2, 48, 24] in the model" in line


def test_another_architecture(capsys, tmp_path, trained, labelled_examples):
    line = refused(capsys, tmp_path, tiny_classifier.CONFIG, "--init", str(trained))
    assert "task 'sequence_classification'" in line


def test_weights_that_are_not_whole(capsys, tmp_path, hugging_face):
    folder = Path(shutil.copytree(hugging_face, tmp_path / "hf"))
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:200])
    line = refused(capsys, tmp_path, tiny_classifier.CONFIG, "--init", str(folder))
    assert "model.safetensors" in line


def test_a_teacher_needs_a_student(capsys, tmp_path, masked):
    line = refused(capsys, tmp_path, tiny_classifier.CONFIG, "--teacher", str(masked))
    assert "--teacher is for distillation, and the model is a BertConfig" in line


def test_what_a_folder_is(masked, hugging_face):
    origin = look(str(masked), "base")
    assert origin.task == "masked_lm" and origin.run is not None
    origin = look(str(hugging_face), "base")
    assert isinstance(origin.config, BertConfig) and origin.run is None
    with pytest.raises(InputError, match="no folder to begin from"):
        look(str(masked / "tokenizer"), "base")
