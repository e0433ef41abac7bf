import json
import struct
import sys

import pytest

from train.log import NoLog, RunLog, finished_at, keep_until, read_records, write_atomically


def lines(*records):
    return "".join(json.dumps(record) + "\n" for record in records)


def events(folder):
    """Scalars of all event files: records are length, checksum, bytes, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted(folder.glob("events.*")):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + length])
            found += [(v.tag, event.step, v.simple_value) for v in event.summary.value]
            data = data[16 + length :]
    return found


def test_records_are_lines_and_events(tmp_path):
    with RunLog(tmp_path, start_step=0, total_steps=2) as log:
        log.record(1, "train", loss=0.5, note="한국어")
        log.record(2, "test", **{"test/bleu": 7.0, "test/loss": float("nan")}, final=True)
    text = (tmp_path / "metrics.jsonl").read_text(encoding="utf-8")
    assert text == (
        '{"step": 1, "kind": "train", "loss": 0.5, "note": "한국어"}\n'
        '{"step": 2, "kind": "test", "test/bleu": 7.0, "test/loss": null, "final": true}\n'
    )
    assert events(tmp_path / "tensorboard") == [("train/loss", 1, 0.5), ("test/bleu", 2, 7.0)]
    assert finished_at(tmp_path / "metrics.jsonl") == 2


def test_the_future_is_forgotten(tmp_path):
    path = tmp_path / "metrics.jsonl"
    kept = lines({"step": 1, "kind": "train"}, {"step": 2, "kind": "train"})
    evaluation = lines({"step": 2, "kind": "eval", "loss": 1.0})
    future = lines({"step": 3, "kind": "train"}, {"step": 2, "kind": "test", "final": True})
    path.write_text(kept + evaluation + future + '{"step": 1, "ki')
    keep_until(path, 2)
    assert path.read_text() == kept + evaluation
    keep_until(path, 2, evaluated=False)
    assert path.read_text() == kept
    keep_until(path, 0)
    assert path.read_text() == ""


def test_a_missing_file_is_an_empty_one(tmp_path):
    path = tmp_path / "metrics.jsonl"
    keep_until(path, 3)
    assert not path.exists() and read_records(path) == [] and finished_at(path) is None


def test_only_a_last_final_record_finishes(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(lines({"step": 4, "final": True}, {"step": 5}))
    assert finished_at(path) is None


def test_plain_lines_without_a_terminal(tmp_path, capsys):
    with RunLog(tmp_path, start_step=0, total_steps=10) as log:
        log.train(5, {"loss": 1.25, "tokens_per_second": 12345.6, "mfu": 0.4321})
        log.say("hello [bold]")
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("step      5/10  loss 1.250  12,346 tokens/s  MFU 43.2%  ")
    assert shown[1] == "hello [bold]"


def test_a_bar_on_a_terminal(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with RunLog(tmp_path, start_step=0, total_steps=10) as log:
        log.train(5, {"loss": 1.25, "tokens_per_second": 12345.6, "mfu": 0.4321})
        log.say("hello [bold]")
    shown = capsys.readouterr().out
    assert "5/10" in shown and "loss 1.250" in shown and "12,346 tokens/s" in shown
    assert "hello [bold]" in shown


def test_writing_is_all_or_nothing(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, "old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, "new")
    assert [p.name for p in tmp_path.iterdir()] == ["file"] and path.read_text() == "old"


def test_who_does_not_write_has_the_same_methods():
    public = {name for name in vars(RunLog) if not name.startswith("_")}
    assert public <= vars(NoLog).keys()
    with NoLog() as log:
        log.record(1, "train", loss=1.0)
        log.train(1, {"loss": 1.0})
        log.say("nothing")
