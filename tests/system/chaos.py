"""Kills, signals and damaged checkpoints at random moments; at the end, nothing was lost.

    python -m tests.system.chaos --minutes 30 --workdir runs/chaos

Processes on loopback train the tiny experiment of `chaos_config.py`. Again and again one is killed
with -9, or one gets SIGTERM, or the newest checkpoint is truncated, and the run is started again,
with as many processes or with others. When time is up the run is brought to an end, and compared
with one that nothing happened to: the loss of every step, and the examples that each step saw.
The record is DIR/chaos.json, and DIR/chaos.md for people.
"""

import argparse
import collections
import dataclasses
import json
import os
import random
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from flaxformers_edu.text.tokenizer import load_tokenizer
from tests.system import chaos_config
from tests.system.fleet import Fleet
from train.log import read_records
from train.manifest import MANIFEST
from train.pipeline import TrainData
from train.prepare import Run

CONFIG = chaos_config.__file__
SAME = ((4, 1), (2, 2), (1, 4))
"""(processes, devices of each) with four devices in all: the same bits are expected."""
OTHER = ((2, 1), (1, 1), (2, 4))
"""Other numbers of devices: the same to rounding."""
KILL, TERM, TRUNCATE, BLACKOUT = "kill -9", "SIGTERM", "truncation", "kill -9 of all"
LIVES, STOPPED, REFUSED, KILLED = 4, 143, 2, -signal.SIGKILL
TOLERANCE = 2e-3
"""Of a loss, relative, once a step was computed on another number of devices."""


@dataclasses.dataclass
class Record:
    """What happened."""

    seed: int
    minutes: float
    events: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    moments: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    fleets: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    starts: int = 0
    longest_stop_seconds: float = 0.0
    """Between a death and the end of the last survivor."""
    first_other_step: int | None = None
    """From here on the run has been on another number of devices."""


class Chaos:
    """One run under attack."""

    def __init__(
        self,
        workdir: Path,
        *options: str,
        seed: int,
        minutes: float,
        dead_after: int,
    ) -> None:
        """`options` are of every start of the run."""
        workdir.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(workdir / "cache"))
        self.run, self.chance, self.dead_after = workdir / "run", random.Random(seed), dead_after
        self.options = options
        self.record = Record(seed, minutes)

    # --- The run's folder --------------------------------------------------------------------

    def checkpoints(self) -> list[int]:
        """Steps of which there is one."""
        found = (self.run / "checkpoints").glob("[0-9]*")
        return sorted(int(path.name) for path in found if path.name.isdecimal())

    def logged(self) -> int:
        """The newest step of the log."""
        records = read_records(self.run / "metrics.jsonl")
        return max((r["step"] for r in records), default=0)

    # --- One attack --------------------------------------------------------------------------

    def start(self, shape: tuple[int, int], *options: str) -> Fleet:
        """Starts the run with (processes, devices of each)."""
        self.record.starts += 1
        self.record.fleets[f"{shape[0]} x {shape[1]}"] += 1
        if shape[0] * shape[1] != 4 and self.record.first_other_step is None:
            self.record.first_other_step = max(self.checkpoints(), default=0) + 1
        return Fleet(
            CONFIG, self.run, *self.options, *options,
            processes=shape[0], devices=shape[1], dead_after=self.dead_after,
        )  # fmt: skip

    def strike(self, shape: tuple[int, int], event: str, moment: str) -> None:
        """Starts the run, lets it come to the moment, and does what the event says.

        Raises:
            AssertionError: a process ended otherwise than it should.
        """
        fleet = self.start(shape)
        self.await_moment(fleet, moment)
        assert fleet.running(), fleet.output()
        self.record.events[event] += 1
        self.record.moments[moment] += 1
        victim = self.chance.randrange(shape[0])
        begun = time.monotonic()
        if event == BLACKOUT:
            fleet.kill()
            return
        fleet.send(signal.SIGTERM if event == TERM else signal.SIGKILL, victim)
        statuses = fleet.wait(120 + 4 * self.dead_after)
        if event == TERM and moment != "starting":
            self.check_stopped(fleet, statuses)
            return
        if moment != "starting":
            expected = [KILLED if i == victim else LIVES for i in range(shape[0])]
            assert statuses == expected, f"{statuses}\n{fleet.output()}"
            self.check_told(fleet, victim)
            taken = time.monotonic() - begun
            self.record.longest_stop_seconds = max(self.record.longest_stop_seconds, taken)

    def check_stopped(self, fleet: Fleet, statuses: list[int]) -> None:
        """All stopped at one step, and saved it."""
        assert statuses == [STOPPED] * len(statuses), fleet.output()
        said = re.findall(r"stopped by SIGTERM after saving step (\d+)", fleet.output())
        assert len(said) == 1, fleet.output()
        assert (self.run / "checkpoints" / said[0] / MANIFEST).exists()

    def check_told(self, fleet: Fleet, victim: int) -> None:
        """Every survivor says in its own words that a process died, and shows no trace."""
        for number, log in enumerate(fleet.logs):
            text = log.read_text(encoding="utf-8", errors="replace")
            if number != victim:
                assert re.search(r"error: .*process.* died", text), text
                assert "Traceback" not in text and "Check failure" not in text, text

    def await_moment(self, fleet: Fleet, moment: str) -> None:
        """While starting; some steps beyond all that was logged before; or while saving."""
        if moment == "starting":
            time.sleep(self.chance.uniform(0.5, 8))
            return
        wanted = max(self.logged(), max(self.checkpoints(), default=0)) + self.chance.randint(1, 12)
        while fleet.running():
            if self.logged() >= wanted and (moment == "training" or self.saving()):
                break
            time.sleep(0.002 if self.logged() >= wanted else 0.1)

    def saving(self) -> bool:
        """Whether a checkpoint is being written."""
        return any((self.run / "checkpoints").glob("*orbax-checkpoint-tmp*"))

    def truncate(self, shape: tuple[int, int] = (1, 4), moment: str = "training") -> None:
        """Cuts a file of the newest checkpoint; it is refused, and set aside on request.

        The run that goes on is stopped by SIGTERM at the moment.
        """
        while len(self.checkpoints()) < 2:
            self.strike((2, 2), TERM, "training")
        steps = self.checkpoints()
        folder = self.run / "checkpoints" / str(steps[-1])
        path = self.chance.choice(
            sorted(p for p in folder.rglob("*") if p.is_file() and p.stat().st_size)
        )
        os.truncate(path, self.chance.randrange(path.stat().st_size))
        self.record.events[TRUNCATE] += 1
        refused = self.start((2, 2))
        statuses = refused.wait(300)
        assert statuses == [REFUSED] * 2, f"{path} cut: {statuses}\n{refused.output()}"
        assert f"checkpoint {folder} is damaged" in refused.output(), refused.output()
        fleet = self.start(shape, "--resume", "previous")
        self.await_moment(fleet, moment)
        fleet.send(signal.SIGTERM, self.chance.randrange(shape[0]))
        self.check_stopped(fleet, fleet.wait())
        assert folder.with_name(f"{folder.name}.damaged").is_dir()

    # --- The whole ---------------------------------------------------------------------------

    def plan(self) -> Iterator[tuple[tuple[int, int], str, str]]:
        """Shapes, events and moments, without end; other devices in the second half of the time."""
        begun = time.monotonic()
        while True:
            late = time.monotonic() - begun > self.record.minutes * 30
            shape = self.chance.choice(OTHER if late and self.chance.random() < 0.3 else SAME)
            kinds = [KILL, TERM, TRUNCATE, BLACKOUT]
            event = self.chance.choices(kinds, (5, 3, 2, 1))[0]
            moment = self.chance.choices(["training", "saving", "starting"], (6, 3, 1))[0]
            yield shape, event, moment

    def go(self, rounds: Iterator[tuple[tuple[int, int], str, str]]) -> None:
        """Strikes until time is up, or until there are no more rounds."""
        begun = time.monotonic()
        for shape, event, moment in rounds:
            if time.monotonic() - begun > self.record.minutes * 60:
                break
            if event == TRUNCATE:
                self.truncate()
            else:
                self.strike(shape, event, moment)
            seconds = time.monotonic() - begun
            print(
                f"{seconds:7.0f} s  {event} ({moment}), {shape}: step {self.logged()}", flush=True
            )

    def finish(self, shape: tuple[int, int] = (2, 2)) -> int:
        """Lets the run come to an end a little later; the number of its steps."""
        steps = max(self.checkpoints(), default=0) + 10
        fleet = self.start(shape, "--steps", str(steps))
        assert fleet.wait(900) == [0] * shape[0], fleet.output()
        return steps

    def compare(self, steps: int) -> dict[str, Any]:
        """With an undisturbed run: losses, and which examples each step saw.

        Raises:
            AssertionError: they differ.
        """
        calm = self.run.with_name("undisturbed")
        options = (*self.options, "--steps", str(steps))
        fleet = Fleet(CONFIG, calm, *options, processes=1, devices=4)
        assert fleet.wait(3600) == [0], fleet.output()
        ours, theirs = ({r["step"]: r for r in trained(folder)} for folder in (self.run, calm))
        assert list(ours) == list(theirs) == list(range(1, steps + 1))
        first_other = self.record.first_other_step or steps + 1
        differences = {s: abs(ours[s]["loss"] - theirs[s]["loss"]) for s in ours}
        same = [differences[s] for s in ours if s < first_other]
        other = [differences[s] for s in ours if s >= first_other]
        relative = [differences[s] / theirs[s]["loss"] for s in ours if s >= first_other]
        assert max(same, default=0) == 0, max(same)
        assert max(relative, default=0) < TOLERANCE, max(relative)
        marks, examples = planned(self.run, steps)
        assert [round(r["witness"] * r["tokens"]) for r in ours.values()] == marks
        return {
            "steps": steps,
            "epochs": round(ours[steps]["epoch"], 1),
            "examples_of_an_epoch": examples,
            "steps_bitwise_equal": len(same),
            "steps_equal_to_rounding": len(other),
            "largest_loss_difference_same_devices": max(same, default=0.0),
            "largest_loss_difference_other_devices": max(other, default=0.0),
        }


def trained(workdir: Path) -> list[dict[str, Any]]:
    """The lines of training steps."""
    return [r for r in read_records(workdir / "metrics.jsonl") if r["kind"] == "train"]


def planned(workdir: Path, steps: int) -> tuple[list[int], int]:
    """The mark of each step's batch by the plan alone, and the number of examples of an epoch.

    Raises:
        AssertionError: an epoch's batches do not hold every example exactly once.
    """
    experiment = chaos_config.config()
    model = experiment.model.build(experiment.objective.task)
    folder = Run(workdir, experiment, load_tokenizer(workdir / "tokenizer"), model)
    data = TrainData(
        folder.encode(experiment.source.load("train"), experiment.batching),
        experiment.objective.collate(experiment.model),
        experiment.batching,
        seed=experiment.seed,
        rows_multiple_of=4,
    )
    for epoch in range(steps // data.steps_per_epoch + 1):
        first = epoch * data.steps_per_epoch
        batches = (data.global_batch(first + i).indices for i in range(data.steps_per_epoch))
        indices = np.concatenate([rows.ravel() for rows in batches])
        assert sorted(indices[indices >= 0]) == list(range(len(data.examples))), epoch
    marks = []
    for step in range(steps):
        batch = data.batch_at(step)
        marks.append(int(chaos_config.row_marks(batch["input_ids"], batch["attention_mask"]).sum()))
    return marks, len(data.examples)


def as_table(record: dict[str, Any]) -> str:
    """The record as markdown."""
    rows = [f"| {name.replace('_', ' ')} | {value} |" for name, value in record.items()]
    return "\n".join(["| what | |", "|---|---|", *rows]) + "\n"


def flat(record: Record, found: dict[str, Any]) -> dict[str, Any]:
    """One level of names and values."""
    result: dict[str, Any] = {"seed": record.seed, "minutes": record.minutes}
    result |= {f"{name}": number for name, number in sorted(record.events.items())}
    result |= {f"struck while {name}": n for name, n in sorted(record.moments.items())}
    result["starts"] = record.starts
    result |= {
        f"starts of {name} (processes x devices)": n for name, n in sorted(record.fleets.items())
    }
    result["longest_stop_seconds"] = round(record.longest_stop_seconds, 1)
    return result | found


def main(arguments: list[str]) -> int:
    """The long form."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dead-after", type=int, default=10)
    given = parser.parse_args(arguments)
    workdir = given.workdir.absolute()
    if (workdir / "run").exists():
        print(f"error: {workdir} holds a run already; give a new folder", file=sys.stderr)
        return 2
    chaos = Chaos(workdir, seed=given.seed, minutes=given.minutes, dead_after=given.dead_after)
    chaos.go(chaos.plan())
    record = flat(chaos.record, chaos.compare(chaos.finish()))
    (workdir / "chaos.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    (workdir / "chaos.md").write_text(as_table(record), encoding="utf-8")
    print(as_table(record), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
