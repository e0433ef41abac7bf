"""The command line, in this process: statuses, and one line for what a user did wrong."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.train.folders import records
from tests.train.tiny import CONFIG
from train.__main__ import main
from train.commands.arguments import config_files, load_config

ROOT = Path(__file__).resolve().parents[2]


def failing(capsys, *arguments: str) -> str:
    """The one line of a command that must be refused."""
    capsys.readouterr()
    try:
        status = main(list(arguments))
    except SystemExit as leaving:  # tyro's own errors
        status = leaving.code
    captured = capsys.readouterr()
    assert status == 2
    assert "Traceback" not in captured.err
    return captured.err


def one_line(capsys, *arguments: str) -> str:
    [line] = failing(capsys, *arguments).splitlines()
    assert line.startswith("error: ")
    return line


def test_help_needs_nothing_heavy():
    code = (
        "import sys; import train.__main__ as m; m.main(['--help']);"
        "heavy = {'jax', 'tyro', 'flax', 'numpy', 'orbax', 'grain'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for command in ("run", "repeat", "evaluate", "predict", "generate", "prompt", "export", "list"):
        assert f"\n  {command} " in done.stdout


def test_no_command_shows_help(capsys):
    assert main([]) == 2
    assert "usage: python -m train" in capsys.readouterr().out


def test_unknown_command(capsys):
    assert "unknown command 'evalute'; did you mean 'evaluate'?" in one_line(capsys, "evalute")


def test_unknown_config_names_the_nearest(capsys):
    line = one_line(capsys, "run", "configs/translate_toi.py", "--workdir", "x")
    assert "no config configs/translate_toi.py; did you mean 'configs/translate_toy.py'?" in line


def test_a_config_must_have_its_function(capsys, tmp_path):
    path = tmp_path / "empty.py"
    path.write_text("")
    assert "has no function config()" in one_line(capsys, "run", str(path), "--workdir", "x")


@pytest.mark.parametrize("name", sorted(config_files()))
def test_every_config_loads(name):
    assert load_config(name) == load_config(str(ROOT / name))


def test_run_help_documents_each_field(capsys):
    with pytest.raises(SystemExit) as leaving:
        main(["run", CONFIG, "--help"])
    assert leaving.value.code == 0
    shown = capsys.readouterr().out
    for field in ("--workdir", "--steps", "--model.num-layers", "--mesh.data", "--schedule.peak"):
        assert field in shown
    assert "Updates of the whole run." in " ".join(shown.split())


def test_help_of_the_other_commands(capsys):
    for command, field in (("evaluate", "--split"), ("generate", "--num-beams")):
        with pytest.raises(SystemExit) as leaving:
            main([command, "--help"])
        assert leaving.value.code == 0
        assert field in capsys.readouterr().out


def test_unknown_field(capsys, tmp_path):
    workdir = tmp_path / "run"
    shown = failing(capsys, "run", CONFIG, "--workdir", str(workdir), "--stepz", "4")
    assert "--stepz" in shown and "--steps" in shown
    assert not workdir.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--steps", "0"], "steps is 0; it must be at least 1"),
        (["--patience", "-1"], "patience is -1; it must be 0 or more"),
        (["--optimizer.layer-decay", "2"], "layer_decay=2.0 must be above 0 and at most 1"),
        (["--optimizer.frozen", "nothing_like_it"], "'nothing_like_it' covers no parameter"),
        (["--model.num-heads", "3"], "hidden_size 16 does not divide into model.num_heads 3"),
        (["--decoding.num-beams", "0"], "decoding.num_beams is 0"),
        (["--objective.label-smoothing", "1"], "label_smoothing=1.0"),
        (["--schedule.peak", "-1"], "schedule.peak=-1.0"),
        (["--mesh.data", "3"], "does not multiply to 8 devices"),
        (["--batching.tokens-per-batch", "8"], "tokens_per_batch=8 is too small"),
        (["--model.vocab-size", "100"], "smaller than the corpus needs"),
        (["--optimizer.no-decay", "nothing_like_it"], "'nothing_like_it' covers no parameter"),
    ],
)
def test_bad_values_are_one_line_and_nothing_is_written(capsys, tmp_path, arguments, words):
    workdir = tmp_path / "run"
    assert words in one_line(capsys, "run", CONFIG, "--workdir", str(workdir), *arguments)
    assert not workdir.exists()


def test_a_folder_that_cannot_be_written(capsys, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    line = one_line(capsys, "run", CONFIG, "--workdir", str(tmp_path / "file" / "run"))
    assert f"cannot write to {tmp_path / 'file' / 'run'}" in line


def test_a_disk_that_fills_up(capsys, tmp_path, monkeypatch):
    import train.checkpoint

    usage = type("Usage", (), {"free": 2**20})
    monkeypatch.setattr(train.checkpoint.shutil, "disk_usage", lambda _: usage)
    shown = failing(capsys, "run", CONFIG, "--workdir", str(tmp_path / "run"))
    assert "the disk is full" in shown and len(shown.splitlines()) == 1


def test_a_resumed_run_with_another_value(capsys, trained):
    line = one_line(capsys, "run", CONFIG, "--workdir", str(trained), "--model.dropout", "0.3")
    assert "model.dropout=0.1, and now it is 0.3" in line


def copied(trained, tmp_path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def test_another_tokeniser(capsys, trained, tmp_path):
    workdir = copied(trained, tmp_path)
    from flaxformers_edu.text.sentencepiece_training import train_sentencepiece

    train_sentencepiece(["another text entirely"], vocab_size=16).save(workdir / "tokenizer")
    for command in (["evaluate", str(workdir)], ["run", CONFIG, "--workdir", str(workdir)]):
        (workdir / "metrics.jsonl").write_text("")
        assert "is not the tokeniser that this model was trained with" in one_line(capsys, *command)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"experiment": 1}', '{"experiment": {}}'])
def test_a_damaged_config(capsys, trained, tmp_path, text):
    workdir = copied(trained, tmp_path)
    (workdir / "config.json").write_text(text)
    assert "config.json is damaged" in one_line(capsys, "evaluate", str(workdir))


def test_a_config_of_another_version(capsys, trained, tmp_path):
    workdir = copied(trained, tmp_path)
    config = json.loads((workdir / "config.json").read_text())
    config["experiment"]["mystery"] = 1
    (workdir / "config.json").write_text(json.dumps(config))
    line = one_line(capsys, "evaluate", str(workdir))
    assert "config.json is damaged or of another version" in line and "mystery" in line


def test_a_checkpoint_of_another_architecture(capsys, trained, tmp_path):
    workdir = copied(trained, tmp_path)
    config = json.loads((workdir / "config.json").read_text())
    config["experiment"]["model"]["intermediate_size"] = 48
    (workdir / "config.json").write_text(json.dumps(config))
    line = one_line(capsys, "evaluate", str(workdir))
    assert "is of another architecture: parameter decoder/layers/mlp/down/kernel" in line


@pytest.mark.parametrize(
    "words", [["evaluate"], ["generate"], ["predict", "--input", "x.jsonl"], ["export", "x"]]
)
def test_a_folder_that_is_no_run(capsys, tmp_path, words):
    command, *options = words
    assert "is not the folder of a run" in one_line(capsys, command, str(tmp_path), *options)


def test_the_list(capsys):
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    for words in ("configs/translate_toy.py", "transformer-base", "seq2seq_lm", "translation"):
        assert words in shown


def test_records_are_valid(trained):
    assert records(trained)[-1]["final"] is True
