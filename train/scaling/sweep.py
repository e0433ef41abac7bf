"""Runs a ladder, point after point, and says what its losses obey: `python -m train sweep`."""

import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from flaxformers_edu.errors import InputError
from train.experiment import Experiment, TokenizerSpec
from train.log import METRICS, finished_at, write_atomically
from train.loop import run
from train.prepare import check_writable, make_tokenizer
from train.saved import to_json
from train.scaling.analysis import analyse
from train.scaling.coordinates import check_coordinates, coordinates_table, draw_coordinates
from train.scaling.devices import devices_table, draw_devices, measure_devices
from train.scaling.ladder import Point, cost_of, parametrisation_of
from train.scaling.measured import Measured, read_curve, write_points
from train.scaling.plots import draw_all, learning_rates
from train.scaling.table import findings_table, loss_table, plan_table

TOKENIZER, POINTS, FITS, REPORT = "tokenizer", "points.json", "fits.json", "report"


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Run the points of a ladder, and fit laws to their losses."""

    dry_run: bool = False
    """Only list the points, with parameters, tokens and FLOPs."""
    only: str = ""
    """Run only the points whose name holds a match of this regular expression."""
    resamples: int = 200
    """Bootstrap resamples behind each band."""
    devices: tuple[int, ...] = ()
    """Instead of the ladder: time a step of its base on these numbers of devices."""
    coordinates: bool = False
    """Instead of the ladder: how far activations move in the first updates of its models, width by
    width, at one learning rate."""

    def __post_init__(self) -> None:
        """Raises InputError for a value that would fail after hours."""
        if self.resamples < 1:
            raise InputError(f"--resamples is {self.resamples}; it must be at least 1")
        try:
            re.compile(self.only)
        except re.error as error:
            raise InputError(
                f"--only {self.only!r} is not a regular expression: {error}"
            ) from error


def sweep(points: Sequence[Point], base: Experiment, options: Sweep, workdir: Path) -> int:
    """Runs what is not finished yet, each point in its own folder; then fits and draws.

    A point that was interrupted goes on where its newest checkpoint stands.

    Returns:
        The exit status: 0, or that of the first point that did not finish.

    Raises:
        InputError: nothing matches `only`, or a point's folder holds another experiment.
    """
    if options.dry_run:
        print(plan_table(points))
        return 0
    if options.coordinates:
        check_writable(workdir)
        checks = check_coordinates(points)
        print(f"{coordinates_table(checks)}\n")
        print(f"report: {draw_coordinates(workdir / REPORT / 'scaling_coordinates.png', checks)}")
        return 0
    if options.devices:
        check_writable(workdir)
        timings = measure_devices(base, options.devices)
        print(f"\n{devices_table(timings)}\n")
        print(f"report: {draw_devices(workdir / REPORT / 'scaling_devices.png', timings)}")
        return 0
    chosen = [point for point in points if re.search(options.only, point.name)]
    if not chosen:
        raise InputError(f"--only {options.only!r} matches none of the {len(points)} points")
    check_writable(workdir)
    spec = shared_tokenizer(base, workdir)
    points = [with_tokenizer(point, spec) for point in points]
    chosen = [with_tokenizer(point, spec) for point in chosen]
    for number, point in enumerate(chosen, start=1):
        if is_finished(point, workdir):
            continue
        print(f"\npoint {number} of {len(chosen)}: {point.name}", flush=True)
        if status := run(point.experiment, workdir / point.name):
            return status
        # A ladder has a program for every size: none is needed again.
        jax.clear_caches()
    finished = [point for point in points if is_finished(point, workdir)]
    measured = [measure(point, workdir / point.name) for point in finished]
    write_points(workdir / POINTS, measured)
    print(f"\n{len(measured)} of {len(points)} points are finished\n")
    report(measured, options, workdir)
    return 0


def report(measured: Sequence[Measured], options: Sweep, workdir: Path) -> None:
    """Prints, draws and keeps what the finished points say."""
    files = []
    if losses := losses_by_rate(measured):
        for name, rows in losses.items():
            print(loss_table(rows, name), end="\n\n")
        files.append(learning_rates(workdir / REPORT / "scaling_learning_rates.png", losses))
    else:
        try:
            analysis = analyse(measured, resamples=options.resamples)
        except InputError as reason:
            print(f"no laws yet: {reason}")
            return
        print(findings_table(analysis))
        fits = {
            "laws": {f.title: to_json(dict(f.values)) for f in analysis.findings},
            "held_out": {law: held.mean_error for law, held in analysis.held_out.items()},
        }
        write_atomically(workdir / FITS, json.dumps(fits, indent=1, default=dataclasses.asdict))
        files += draw_all(workdir / REPORT, analysis)
    print("\nreport: " + ", ".join(str(path) for path in files))


def losses_by_rate(measured: Sequence[Measured]) -> dict[str, dict[int, dict[float, float]]]:
    """Parametrisation -> width -> learning rate -> loss, of a ladder of learning rates.

    Empty where the ladder has none: each width was trained at one rate.
    """
    if len({(point.learning_rate, point.width) for point in measured}) == len(
        {point.width for point in measured}
    ):
        return {}
    found: dict[str, dict[int, dict[float, float]]] = {}
    for point in measured:
        rows = found.setdefault(point.parametrisation, {})
        rows.setdefault(point.width, {})[point.learning_rate] = point.loss
    return found


def shared_tokenizer(base: Experiment, workdir: Path) -> TokenizerSpec:
    """One tokeniser for all points, trained once: losses a token can only be compared so."""
    if base.tokenizer.kind == "folder":
        return base.tokenizer
    folder = workdir / TOKENIZER
    if not folder.exists():
        # Under another name first: a folder that is there is whole.
        partial = workdir / f"{TOKENIZER}.partial"
        make_tokenizer(base, base.source.load("train")).save(partial)
        partial.replace(folder)
    return TokenizerSpec(kind="folder", folder=str(folder))


def with_tokenizer(point: Point, spec: TokenizerSpec) -> Point:
    """The point, its text read by the shared tokeniser."""
    return dataclasses.replace(
        point, experiment=dataclasses.replace(point.experiment, tokenizer=spec)
    )


def is_finished(point: Point, workdir: Path) -> bool:
    """Whether the point's folder holds the whole run."""
    return (finished_at(workdir / point.name / METRICS) or 0) >= point.experiment.steps


def measure(point: Point, workdir: Path) -> Measured:
    """What a finished point came to."""
    experiment, cost = point.experiment, cost_of(point.experiment)
    model: Any = experiment.model
    curve = read_curve(workdir)
    tokens, loss = curve[-1]
    return Measured(
        name=point.name,
        params=cost.params,
        total_params=cost.total_params,
        width=model.hidden_size,
        learning_rate=experiment.schedule.peak,
        parametrisation=parametrisation_of(model),
        budget=point.budget,
        flops_per_token=cost.flops_per_token,
        tokens=tokens,
        loss=loss,
        curve=curve,
    )
