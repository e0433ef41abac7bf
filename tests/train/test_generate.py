import io
import shutil
import sys
from pathlib import Path

import pytest

from train.__main__ import main

SENTENCES = ["The teacher reads three books.", "Did the students drink water?"]


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "input.txt"
    path.write_text("\n".join(SENTENCES) + "\n", encoding="utf-8")
    return path


def generated(trained, capsys, *options: str) -> list[str]:
    assert main(["generate", str(trained), *options]) == 0
    return capsys.readouterr().out.split("\n")[:-1]


def refused(trained, capsys, *options: str) -> str:
    assert main(["generate", str(trained), *options]) == 2
    [line] = capsys.readouterr().err.splitlines()
    return line


def test_a_line_for_a_line(trained, capsys, text, tmp_path, monkeypatch):
    of_file = generated(trained, capsys, "--input", str(text))
    assert len(of_file) == 2
    stdin = io.TextIOWrapper(io.BytesIO(text.read_bytes()))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert generated(trained, capsys) == of_file
    output = tmp_path / "output.txt"
    assert generated(trained, capsys, "--input", str(text), "--output", str(output)) == []
    assert output.read_text(encoding="utf-8").splitlines() == of_file


def test_empty_lines_stay_where_they_are(trained, capsys, text, tmp_path):
    spaced = tmp_path / "spaced.txt"
    # Windows' ends, a line separator that is none, and no end at the end.
    spaced.write_bytes(f"\r\n{SENTENCES[0]}\r\n  \n\n{SENTENCES[1]}".encode())
    first, second = generated(trained, capsys, "--input", str(text))
    assert generated(trained, capsys, "--input", str(spaced)) == ["", first, "", "", second]


def test_only_newlines_end_lines(trained, capsys, tmp_path):
    path = tmp_path / "input.txt"
    path.write_text("one\u2028two\x0bthree\x85four\n", encoding="utf-8")
    assert len(generated(trained, capsys, "--input", str(path))) == 1


def test_options_of_the_search(trained, capsys, text):
    greedy = generated(trained, capsys, "--input", str(text), "--num-beams", "1")
    options = ("--num-beams", "3", "--length-penalty", "-2.0", "--max-new-tokens", "2")
    short = generated(trained, capsys, "--input", str(text), *options, "--checkpoint", "last")
    assert len(greedy) == len(short) == 2
    assert all(len(line) <= 20 for line in short)


def test_attention_is_drawn(trained, capsys, text, tmp_path):
    png = tmp_path / "attention.png"
    generated(trained, capsys, "--input", str(text), "--attention", str(png))
    assert png.read_bytes().startswith(b"\x89PNG")


def test_bad_input_is_one_line(trained, capsys, tmp_path):
    path = tmp_path / "input.txt"
    for data, words in (
        (b"", "is empty: give a sentence a line"),
        (b"\n \n", "is empty: give a sentence a line"),
        (b"good\nbad \xff\n", "line 2, is not valid UTF-8"),
        (b"good\n" + b"word " * 200, "line 2, has"),
    ):
        path.write_bytes(data)
        line = refused(trained, capsys, "--input", str(path))
        assert line.startswith(f"error: {path}") and words in line
    assert "cannot read" in refused(trained, capsys, "--input", str(tmp_path / "nowhere"))


def test_bad_options_are_one_line(trained, capsys, text):
    given = ("--input", str(text))
    assert "num_beams is 0" in refused(trained, capsys, *given, "--num-beams", "0")
    assert "max_new_tokens is 0" in refused(trained, capsys, *given, "--max-new-tokens", "0")
    assert "give its lines by --input, not by --prompt" in refused(trained, capsys, "--prompt", "a")
    line = refused(trained, capsys, *given, "--checkpoint", "77")
    assert "checkpoint '77' is not there; choose last, best, or one of" in line


def test_without_checkpoints(trained, capsys, text, tmp_path):
    workdir = Path(shutil.copytree(trained, tmp_path / "run"))
    shutil.rmtree(workdir / "checkpoints")
    assert "holds no checkpoints" in refused(workdir, capsys, "--input", str(text))


def test_a_damaged_checkpoint_is_one_line(trained, capsys, text, tmp_path):
    workdir = Path(shutil.copytree(trained, tmp_path / "run"))
    newest = workdir / "checkpoints" / "6"
    path = max((p for p in newest.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    path.write_bytes(path.read_bytes()[:100])
    line = refused(workdir, capsys, "--input", str(text), "--checkpoint", "last")
    assert f"{newest} is damaged" in line and "--resume previous" in line
    before = sorted(int(p.name) for p in newest.parent.iterdir())[-2]
    shutil.rmtree(newest)
    assert generated(workdir, capsys, "--input", str(text), "--checkpoint", str(before))
