"""What the benchmark of ULMFiT makes of its runs: a table, a picture, and its page."""

import json
from pathlib import Path

import pytest

from benchmarks import page, ulmfit


@pytest.fixture
def runs(tmp_path):
    """A language model, two seeds of one classifier, and one that is not finished."""

    def log(folder: Path, *lines: dict) -> None:
        folder.mkdir(parents=True)
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / "metrics.jsonl").write_text(text)

    log(tmp_path / "language", {"step": 5, "kind": "eval", "perplexity": 99.0})
    for seed, accuracy in enumerate((0.6, 0.7)):
        folder = ulmfit.folder_of(tmp_path, "complete", 100, seed)
        log(folder, {"step": 9, "kind": "test", "final": True, "test/accuracy": accuracy})
    log(ulmfit.folder_of(tmp_path, "from scratch", 0, 0), {"step": 3, "kind": "train"})
    return tmp_path


def test_what_is_finished_goes_to_the_page(runs, tmp_path):
    text = tmp_path / "page.md"
    text.write_text("before\n<!-- ulmfit -->\nold\n<!-- end of ulmfit -->\nafter\n")
    result = ulmfit.found(runs, range(3))
    for _ in range(2):
        ulmfit.write(result, text, tmp_path / "result.json", tmp_path / "picture.png")
    shown = text.read_text()
    assert "| complete | 0.650 ± 0.071 (2) | not run | not run |" in shown
    assert "| from scratch | not run | not run | not run |" in shown
    assert "old" not in shown and shown.startswith("before") and shown.endswith("after\n")
    assert json.loads((tmp_path / "result.json").read_text())["perplexities"] == {
        "language": [{"step": 5, "perplexity": 99.0}]
    }
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_the_page_has_a_place_for_the_table():
    text = ulmfit.PAGE.read_text()
    for mark in (page.BEGIN, page.END):
        assert text.count(mark.format("ulmfit")) == 1


def test_every_variant_is_a_command(monkeypatch, tmp_path):
    commands = []
    monkeypatch.setattr(ulmfit, "train", lambda *words: commands.append(words))
    for variant in ulmfit.VARIANTS:
        ulmfit.classify(tmp_path, variant, 100, 2, None)
    scratch, general, plain, complete = (dict(zip(c[2::2], c[3::2], strict=True)) for c in commands)
    assert "--init" not in scratch and scratch["--tokenizer.kind"] == "folder"
    assert general["--init"] == str(tmp_path / "language")
    assert plain["--init"] == complete["--init"] == str(tmp_path / "domain")
    assert complete["--optimizer.unfreeze-every"] == str(ulmfit.STEPS[100] // 10)
    assert "--optimizer.layer-decay" not in complete
    for options in (scratch, plain):
        assert options["--optimizer.unfreeze-every"] == "0"
        assert options["--optimizer.layer-decay"] == "1"
    assert complete["--source.examples"] == "100" and complete["--source.seed"] == "2"
