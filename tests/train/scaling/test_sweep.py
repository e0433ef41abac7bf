"""A ladder from the first point to its report, in this process."""

import dataclasses
import json

import pytest

from flaxformers_edu.errors import InputError
from tests.train.scaling import tiny_ladder as tiny
from train.log import read_records
from train.scaling.devices import Timing, devices_table, efficiency, measure_devices
from train.scaling.ladder import cost_of
from train.scaling.measured import read_curve, read_points
from train.scaling.sweep import Sweep, losses_by_rate, sweep

pytestmark = pytest.mark.runs

OPTIONS = Sweep(resamples=2)


@pytest.fixture(scope="module")
def climbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ladder")
    base = tiny.base(tiny.write_text(folder))
    points = tiny.ladder(base)
    assert sweep(points, base, OPTIONS, folder / "run") == 0
    return folder / "run", base, points


def test_every_point_has_a_folder_and_a_record(climbed):
    folder, _, points = climbed
    found = read_points(folder / "points.json")
    assert [p.name for p in found] == [p.name for p in points]
    for point, measured in zip(points, found, strict=True):
        assert measured.budget == point.budget
        assert measured.curve == read_curve(folder / point.name)
        assert measured.loss == measured.curve[-1][1]
        records = read_records(folder / point.name / "metrics.jsonl")
        assert measured.tokens == sum(r["tokens"] for r in records if r["kind"] == "train")
        assert 0 < measured.tokens < cost_of(point.experiment).tokens
        assert (folder / point.name / "config.json").exists()


def test_all_points_share_a_tokeniser(climbed):
    folder, _, points = climbed
    prints = {
        json.loads((folder / p.name / "config.json").read_text())["tokenizer"] for p in points
    }
    assert len(prints) == 1


def test_a_finished_ladder_runs_nothing_again(climbed, capsys):
    folder, base, points = climbed
    before = (folder / points[0].name / "metrics.jsonl").read_bytes()
    assert sweep(points, base, OPTIONS, folder) == 0
    assert "\npoint 1" not in capsys.readouterr().out
    assert (folder / points[0].name / "metrics.jsonl").read_bytes() == before


def test_only_runs_what_matches(climbed, tmp_path, capsys):
    _, base, points = climbed
    only = dataclasses.replace(OPTIONS, only="width4-1e")
    assert sweep(points, base, only, tmp_path / "some") == 0
    shown = capsys.readouterr().out
    assert "1 of 4 points are finished" in shown
    assert "no laws yet: a law of N and D needs at least 5 points, got 1" in shown
    with pytest.raises(InputError, match="--only 'width5' matches none of the 4 points"):
        sweep(points, base, dataclasses.replace(OPTIONS, only="width5"), tmp_path / "some")


def test_options_that_would_fail_after_hours():
    with pytest.raises(InputError, match="--resamples is 0; it must be at least 1"):
        Sweep(resamples=0)
    with pytest.raises(InputError, match=r"--only 'width\(' is not a regular expression: missing"):
        Sweep(only="width(")


def test_points_file_of_another_version(tmp_path):
    (tmp_path / "points.json").write_text('[{"name": "a"}]')
    with pytest.raises(InputError, match="does not hold a ladder's points"):
        read_points(tmp_path / "points.json")


def test_a_ladder_of_rates_is_read_as_one(climbed):
    folder, *_ = climbed
    points = read_points(folder / "points.json")
    assert losses_by_rate(points) == {}
    rates = [dataclasses.replace(points[0], learning_rate=rate, loss=rate) for rate in (0.1, 0.2)]
    width = points[0].width
    assert losses_by_rate(rates) == {"standard parametrisation": {width: {0.1: 0.1, 0.2: 0.2}}}


def test_coordinates_of_the_ladders_models(climbed, tmp_path, capsys):
    _, base, points = climbed
    assert sweep(points, base, Sweep(coordinates=True), tmp_path / "check") == 0
    shown = capsys.readouterr().out
    header, _, layer, logits = [line for line in shown.splitlines() if line.startswith("|")]
    assert [cell.strip() for cell in header.split("|")[2:5]] == ["4", "8", "growth"]
    assert "layer 1" in layer and "logits" in logits
    assert (tmp_path / "check" / "report" / "scaling_coordinates.png").stat().st_size > 1000


def test_efficiency_is_speed_a_device():
    alone, strong = Timing("strong", 1, 100, 1.0), Timing("strong", 4, 100, 0.5)
    weak = Timing("weak", 4, 400, 1.25)
    assert efficiency(strong, alone) == 0.5
    assert efficiency(weak, dataclasses.replace(alone, kind="weak")) == 0.8
    assert " 50% |" in devices_table([alone, strong])


@pytest.mark.slow
def test_devices_are_timed_in_processes_of_their_own(climbed):
    _, base, _ = climbed
    timings = measure_devices(base, (1, 2))
    assert [(t.kind, t.num_devices, t.tokens) for t in timings] == [
        ("strong", 1, 128),
        ("strong", 2, 128),
        ("weak", 1, 128),
        ("weak", 2, 256),
    ]
    assert all(t.seconds > 0 for t in timings)
    with pytest.raises(InputError, match="does not divide|too small"):
        measure_devices(base, (16,))
    with pytest.raises(InputError, match="each must be at least 1"):
        measure_devices(base, (0,))
