"""What a benchmark writes, and which cases of earlier runs it keeps."""

import json

from benchmarks import harness


def cases(folder):
    [path] = folder.glob("speed-*.json")
    return json.loads(path.read_text())["cases"]


def test_a_case_measured_again_replaces_itself_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    harness.write("speed", 2, {"unit": "steps", "cases": {"a": 1, "b": 1}})
    harness.write("speed", 2, {"unit": "steps", "cases": {"b": 2, "c": 2}})
    assert cases(tmp_path) == {"a": 1, "b": 2, "c": 2}


def test_what_was_measured_elsewhere_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    harness.write("speed", 2, {"unit": "steps", "cases": {"a": 1, "b": 1}})
    harness.write("speed", 1, {"unit": "steps", "cases": {"b": 2}})
    assert cases(tmp_path) == {"b": 2}
