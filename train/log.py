"""Where a run reports: metrics.jsonl, TensorBoard events, and a progress bar or plain lines."""

import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

METRICS = "metrics.jsonl"


class RunLog:
    """Writes the run's numbers; use as a context manager.

    Records beyond `start_step` belong to a future that a resumed run will make again, and are
    removed first: the file reads as if the run had never stopped. `evaluated` says whether those
    of the evaluation at `start_step` itself are to stay.
    """

    def __init__(
        self, workdir: Path, *, start_step: int, total_steps: int, evaluated: bool = True
    ) -> None:
        from tensorboardX import SummaryWriter

        self.total_steps = total_steps
        self.path = workdir / METRICS
        self._folder = str(workdir / "tensorboard")
        keep_until(self.path, start_step, evaluated=evaluated)
        self._file = self.path.open("a", encoding="utf-8")
        self._events = SummaryWriter(self._folder, purge_step=start_step + 1)
        self._progress, self._task = _progress_bar(total_steps, start_step)
        self._since = (time.perf_counter(), start_step)

    def __enter__(self) -> "RunLog":
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()
        self._events.close()
        self._file.close()

    def rewind(self, step: int) -> None:
        """Goes back: what comes after the step is removed, for it will be made again."""
        from tensorboardX import SummaryWriter

        self._file.close()
        self._events.close()
        keep_until(self.path, step, rollbacks=True)
        self._file = self.path.open("a", encoding="utf-8")
        self._events = SummaryWriter(self._folder, purge_step=step + 1)
        self._since = (time.perf_counter(), step)

    def record(self, step: int, kind: str, **values: Any) -> None:
        """One line of metrics.jsonl, and its numbers as TensorBoard scalars.

        JSON has no NaN and no infinity: such a number becomes null.
        """
        numbers = {k: v for k, v in values.items() if isinstance(v, float) and math.isfinite(v)}
        line: dict[str, Any] = {"step": step, "kind": kind}
        for name, value in values.items():
            line[name] = None if isinstance(value, float) and name not in numbers else value
        text = json.dumps(line, ensure_ascii=False, allow_nan=False)
        self._file.write(text + "\n")
        self._file.flush()
        for name, value in numbers.items():
            self._events.add_scalar(name if "/" in name else f"{kind}/{name}", value, step)

    def say(self, text: str) -> None:
        """A line for people."""
        if self._progress is not None:
            self._progress.console.print(text, markup=False, highlight=False)
        else:
            print(text, flush=True)

    def train(self, step: int, values: dict[str, float]) -> None:
        """A training step: recorded, and shown with the time that is left."""
        self.record(step, "train", **values)
        now, (then, first) = time.perf_counter(), self._since
        seconds_left = (now - then) / max(step - first, 1) * (self.total_steps - step)
        speed = f"{values['tokens_per_second']:,.0f} tokens/s  MFU {values['mfu']:.1%}"
        text = f"loss {values['loss']:.3f}  {speed}"
        if self._progress is not None:
            self._progress.update(self._task, completed=step, text=text)
        else:
            left = f"{math.ceil(seconds_left)} s left"
            self.say(f"step {step:>6}/{self.total_steps}  {text}  {left}")


class NoLog:
    """The log of a process that leaves writing to process 0."""

    def __enter__(self) -> "NoLog":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing was opened."""

    def rewind(self, step: int) -> None:
        """Goes back to nothing."""

    def record(self, step: int, kind: str, **values: Any) -> None:
        """Writes nothing."""

    def say(self, text: str) -> None:
        """Says nothing."""

    def train(self, step: int, values: dict[str, float]) -> None:
        """Shows nothing."""


def read_records(path: Path) -> list[dict[str, Any]]:
    """The records of a metrics file, which need not exist; a torn last line is left out."""
    records = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return [record for record in records if isinstance(record, dict) and "step" in record]


def keep_until(path: Path, step: int, *, evaluated: bool = True, rollbacks: bool = False) -> None:
    """Removes the records beyond `step`, a torn line, "final", and an evaluation to be redone.

    Going back to a step is noted there, though it happened later: a run that resumes at the very
    step will go back again, and its notes are removed unless `rollbacks`.
    """
    if not path.exists():
        return
    kept = [
        record
        for record in read_records(path)
        if record["step"] <= step
        and not record.get("final")
        and (evaluated or record["step"] < step or record["kind"] != "eval")
        and (rollbacks or record["step"] < step or record["kind"] != "rollback")
    ]
    lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in kept)
    write_atomically(path, "".join(lines))


def write_atomically(path: Path, text: str) -> None:
    """Replaces a file's content: readers and a crash see the old or the new, nothing between."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def finished_at(path: Path) -> int | None:
    """The step at which the run of a metrics file finished; None where it did not."""
    records = read_records(path)
    return records[-1]["step"] if records and records[-1].get("final") else None


def _progress_bar(total: int, completed: int) -> tuple[Any, Any]:
    """A rich progress bar on a terminal; elsewhere nothing."""
    if not sys.stdout.isatty():
        return None, None
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    progress = Progress(
        TextColumn("train"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[text]}"),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )
    return progress, progress.add_task("train", total=total, completed=completed, text="")
