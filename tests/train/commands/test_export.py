"""`export`: a folder in Hugging Face's format, with a card."""

import json

import jax
import numpy as np

from flaxformers_edu import interop
from tests.train.folders import records
from tests.train.test_main import one_line
from train.__main__ import main
from train.prepare import open_finished
from train.restore import load_params


def test_a_folder_and_its_card(classified, tmp_path, capsys):
    folder = tmp_path / "out" / "hf"
    assert main(["export", str(classified), str(folder)]) == 0
    assert str(folder) in capsys.readouterr().out
    run = open_finished(classified)
    params, step = load_params(run, "best", run.experiment.mesh.build(jax.devices()[:1]))
    found = interop.from_pretrained(folder, "sequence_classification")
    assert not found.initialised
    jax.tree.map(np.testing.assert_array_equal, found.params, params)
    assert found.tokenizer.pieces("the film").ids == run.tokenizer.pieces("the film").ids
    labels = json.loads((folder / "config.json").read_text())["id2label"]
    assert labels == {"0": "negative", "1": "positive"}

    card = (folder / "README.md").read_text(encoding="utf-8")
    accuracy = records(classified)[-1]["test/accuracy"]
    for words in (
        "# tiny-classifier",
        f"Checkpoint of step {step} of 6.",
        "Jsonl",
        f"| test/accuracy | {accuracy:.4g} |",
        "python -m train export run hf --checkpoint best",
    ):
        assert words in card
    assert str(tmp_path) not in card


def test_bad_input_is_one_line(classified, trained, tmp_path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    line = one_line(capsys, "export", str(classified), str(tmp_path / "full"))
    assert "exists and is not empty" in line
    assert "is not the folder of a run" in one_line(
        capsys, "export", str(tmp_path), str(tmp_path / "new")
    )
    one_line(capsys, "export", str(trained), str(tmp_path / "new"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full"]
