"""`python -m train plan` from end to end: one small step is compiled for four chips of TPU v5e."""

import dataclasses
import json

import pytest

from flaxformers_edu.sharding import MeshShape
from tests.train.plan.models import gpt
from tests.train.plan.test_topology import needs_libtpu
from tests.train.tiny import CONFIG
from train.__main__ import main
from train.plan import command
from train.plan.command import Options
from train.plan.program import Program

pytestmark = needs_libtpu
EXPERIMENT = gpt(MeshShape(data=1, fsdp=2, tensor=2), num_layers=2, dtype="bfloat16")
WORDS = ["python", "-m", "train", "plan", "CONFIG"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The files of a plan; the only program for a TPU that these tests compile."""
    output = tmp_path_factory.mktemp("plan") / "here"
    assert command.plan(EXPERIMENT, Options("v5e:2x2", output=output), WORDS) == 0
    return output


@pytest.fixture
def found(folder):
    return json.loads((folder / "plan.json").read_text())


def test_it_fits_and_the_parts_add_up(found):
    memory = found["memory"]
    assert found["fits"] and memory["capacity"] == 16 * 2**30
    parts = ("parameters", "optimizer", "average", "batch", "gradients", "activations", "program")
    assert sum(memory[part] for part in parts) == pytest.approx(memory["peak"], rel=0.3)
    assert memory["gradients"] == memory["parameters"]
    assert memory["optimizer"] == pytest.approx(2 * memory["parameters"], rel=0.01)


def test_flops_are_the_closed_form(found):
    flops = found["flops"]
    assert flops["program"] == pytest.approx(flops["masked"], rel=0.02)
    assert flops["model"] < flops["masked"]
    assert found["unknown_loops"] == 0 and flops["uncounted_kernels"] == []


def test_collectives_go_where_the_mesh_says(found):
    seen = {(one["kind"], one["axes"]) for one in found["traffic"]}
    assert ("all-gather", "fsdp") in seen  # parameters
    assert ("all-gather", "tensor") in seen  # positions, for heads and the feed-forward network
    assert all(one["links"].startswith("ICI") for one in found["traffic"])
    # Two sums forward and two backward in each of two layers, bfloat16, and what is outside. Of a
    # sum each device keeps its positions alone.
    layers = 2 * 4 * (found["rows"] // 2) * found["length"] * 64 * 2
    scattered = ("reduce-scatter", "tensor")
    sums = sum(t["bytes"] for t in found["traffic"] if (t["kind"], t["axes"]) == scattered)
    assert layers <= sums <= 3 * layers


def test_the_bound_follows_from_the_times(found):
    times, bound = found["times"], found["bound"]
    assert bound["seconds"] == max(times.values()) == times[bound["by"]]
    assert times["compute"] == pytest.approx(found["flops"]["program"] / 4 / 197e12)
    assert bound["tokens_per_second"] == pytest.approx(found["tokens"] / bound["seconds"])
    expected = found["flops"]["model"] / (bound["seconds"] * 4 * 197e12)
    assert bound["mfu"] == pytest.approx(expected)
    assert bound["mfu_without_overlap"] < bound["mfu"]


def test_the_page_and_the_picture(folder):
    page = (folder / "plan.md").read_text()
    assert page.startswith("# gpt on v5e:2x2\n")
    assert "python -m train plan CONFIG" in page and "| all-gather | fsdp |" in page
    assert (folder / "plan.png").read_bytes().startswith(b"\x89PNG")


def test_what_does_not_fit_says_what_would(monkeypatch, capsys, tmp_path):
    """The compiler's refusal alone is made up: a program that large takes minutes."""
    monkeypatch.setattr(command, "compile_step", lambda step: Program("", None, 20 * 2**30, 1.0))
    assert command.plan(EXPERIMENT, Options("v5e:2x2", output=tmp_path), WORDS) == 0
    printed = capsys.readouterr().out
    assert "does not fit: needs 20.00 GiB of 16.00" in printed
    assert "what would, by estimate: --accumulation 2 (" in printed
    record = json.loads((tmp_path / "plan.json").read_text())
    assert record["fits"] is False and record["times"] is None


def test_what_the_compiler_refuses_does_not_fit_though_the_datasheet_has_room(
    monkeypatch, capsys, tmp_path
):
    """A chip of 16 GiB, of which the runtime keeps a quarter of one."""
    needed, room = int(15.9 * 2**30), int(15.75 * 2**30)
    refused = Program("", None, needed, 1.0, room)
    monkeypatch.setattr(command, "compile_step", lambda step: refused)
    assert command.plan(EXPERIMENT, Options("v5e:2x2", output=tmp_path), WORDS) == 0
    assert "does not fit: needs 15.90 GiB of 15.75" in capsys.readouterr().out
    assert json.loads((tmp_path / "plan.json").read_text())["fits"] is False
    silent = dataclasses.replace(refused, room=None)
    monkeypatch.setattr(command, "compile_step", lambda step: silent)
    assert command.plan(EXPERIMENT, Options("v5e:2x2"), WORDS) == 0
    assert "does not fit" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--topology", "v5p:8x8"], "unknown topology 'v5p:8x8'; did you mean 'v5p:8x8x8'?"),
        (["--topology", "v5e:2x2", "--mesh.data", "3"], "does not multiply to 4 devices"),
        (["--topology", "v5e:2x2", "--batching.tokens-per-batch", "64"], "is too small"),
        (["--topology", "v5e:2x2", "--limit", "0"], "--limit is 0"),
    ],
)
def test_bad_input_is_one_line_before_compiling(monkeypatch, capsys, arguments, words):
    monkeypatch.setattr(command, "compile_step", lambda step: pytest.fail("it compiled"))
    assert main(["plan", CONFIG, *arguments]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and words in line
