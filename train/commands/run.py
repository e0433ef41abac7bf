"""The commands `run` and `repeat`: an experiment from a config, once or with several seeds."""

import dataclasses
import json
import statistics
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from flaxformers_edu.errors import InputError
from train.experiment import Experiment
from train.launch import Launch, joined
from train.log import METRICS, read_records, write_atomically
from train.loop import DONE
from train.loop import run as train
from train.prepare import check_writable

SUMMARY = "summary.json"


@dataclasses.dataclass(frozen=True)
class Run:
    """Train a config; go on where DIR's newest checkpoint stands."""

    workdir: Path = tyro.MISSING
    """Folder of the run: a new one, or one to resume; all hosts must share it."""
    resume: Literal["newest", "previous"] = "newest"
    """previous: if the newest checkpoint is damaged, set it aside (it is renamed to STEP.damaged)
    and go on from the one before."""
    processes: Annotated[Launch, tyro.conf.arg(name="")] = Launch()


@dataclasses.dataclass(frozen=True)
class Repeat:
    """Train a config with several seeds; say the mean and the deviation of what they reach."""

    workdir: Path = tyro.MISSING
    """Folder of the runs, one inside for each seed: a new one, or one to go on with."""
    seeds: int = 3
    """How many: the experiment's own seed, and those after it."""

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise InputError(f"--seeds is {self.seeds}; it must be at least 1")


def run(experiment: Experiment, options: Run) -> int:
    """The command: trains, alone or as one of several processes; its exit status."""
    with joined(options.processes):
        return train(experiment, options.workdir, resume=options.resume)


def repeat(experiment: Experiment, options: Repeat) -> int:
    """The command: runs what is not finished yet, then prints a table and writes summary.json.

    Returns:
        0, or the status of the first run that did not come to its end.
    """
    check_writable(options.workdir)
    seeds = range(experiment.seed, experiment.seed + options.seeds)
    folders = {seed: options.workdir / f"seed-{seed}" for seed in seeds}
    for seed, folder in folders.items():
        status = train(dataclasses.replace(experiment, seed=seed), folder)
        if status != DONE:
            return status
    results = {seed: final_metrics(folder) for seed, folder in folders.items()}
    found = summary(results)
    write_atomically(options.workdir / SUMMARY, json.dumps(found, indent=2) + "\n")
    print(f"{experiment.name}, {options.seeds} seed(s): {options.workdir / SUMMARY}")
    for name, numbers in found["metrics"].items():
        deviation = numbers["deviation"]
        about = "" if deviation is None else f" ± {deviation:.4g}"
        print(f"  {name:<28}{numbers['mean']:.4g}{about}")
    return DONE


def final_metrics(folder: Path) -> dict[str, float]:
    """What a finished run's last record says of its test (or validation) split."""
    last = read_records(folder / METRICS)[-1]
    return {name: value for name, value in last.items() if "/" in name and isinstance(value, float)}


def summary(results: dict[int, dict[str, float]]) -> dict[str, Any]:
    """Metrics of each seed; their mean, and the deviation of a sample (n - 1), None of one."""
    metrics = {}
    for name in next(iter(results.values())):
        values = [found[name] for found in results.values() if name in found]
        metrics[name] = {
            "mean": statistics.fmean(values),
            "deviation": statistics.stdev(values) if len(values) > 1 else None,
            "values": values,
        }
    return {"seeds": list(results), "metrics": metrics}
