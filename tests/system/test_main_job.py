"""The README's main job in small: train, score, translate."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.xla import QUICK_TO_COMPILE
from train.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
SMALL = {
    "steps": 3,
    "schedule.warmup-steps": 1,
    "source.size": 200,
    "source.held-out-size": 16,
    "model.vocab-size": 800,
    "model.hidden-size": 16,
    "model.num-layers": 1,
    "model.intermediate-size": 32,
    "batching.max-source-length": 32,
    "batching.buckets": 32,  # one shape of everything
    "batching.max-target-length": 32,
    "batching.over-length": "drop",
    "decoding.max-new-tokens": 5,
    "eval-examples": 4,
}


def command(*arguments: str, text: str = "") -> str:
    done = subprocess.run(
        [sys.executable, "-m", "train", *arguments],
        cwd=ROOT,
        env={**os.environ, "XLA_FLAGS": QUICK_TO_COMPILE},  # one device
        input=text,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("job") / "run"
    options = [part for name, value in SMALL.items() for part in (f"--{name}", str(value))]
    output = command("run", "configs/translate_toy.py", "--workdir", str(workdir), *options)
    return workdir, output


def test_it_ends_with_scores_and_pictures(job):
    workdir, output = job
    final = json.loads((workdir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    assert final["final"] is True and final["step"] == 3
    assert "test/bleu_greedy" in final and "test/bleu_beam4" in final
    assert "test, checkpoint of step 3" in output and "reference" in output
    pictures = sorted((workdir / "report").glob("*.png"))
    assert len(pictures) >= 4
    assert all(str(path) in output for path in pictures)


def test_it_translates_and_scores(job, capsys):
    workdir, _ = job
    sentences = "The teacher reads three books.\n\nDid the students drink water?\n"
    output = command("generate", str(workdir), "--num-beams", "2", text=sentences)
    lines = output.split("\n")
    assert len(lines) == 4 and lines[1] == lines[3] == ""
    assert main(["evaluate", str(workdir), "--limit", "4", "--num-beams", "1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["step"] == 3 and "bleu_greedy" in found
