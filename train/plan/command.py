"""The command `plan`: compile a training step for a pod that is not here; say what it would do."""

import dataclasses
import functools
import json
import shlex
import sys
from pathlib import Path
from typing import Any

from flaxformers_edu.errors import InputError
from train.experiment import Experiment
from train.log import write_atomically
from train.plan.analysis import Plan, analyse
from train.plan.program import Step, compile_step, prepare_step
from train.plan.remedies import remedies
from train.plan.search import Estimator, search, settings
from train.plan.text import GIB, markdown_table, page, table, terminal
from train.plan.topology import compile_only_devices, parse_topology


@dataclasses.dataclass(frozen=True)
class Options:
    """What to plan for."""

    topology: str
    """A TPU slice as GENERATION:SHAPE, such as v5p:8x8x8, v5e:16x16, v6e:16x16 or v4:4x4x8."""
    slices: int = 1
    """So many of these slices, joined by the data-centre network."""
    search: bool = False
    """Try other meshes, remat policies and numbers of parts, and rank what fits."""
    limit: int = 4
    """Programs that a search compiles."""
    output: Path | None = None
    """Folder for plan.json, plan.png and the page plan.md."""


def plan(experiment: Experiment, options: Options, command: list[str]) -> int:
    """Plans, prints, and writes what was asked for; the exit status, 0 also where it does not fit.

    Raises:
        InputError: a topology, a mesh or a batch that cannot be, before anything compiles.
    """
    topology = parse_topology(options.topology, options.slices)
    if options.limit < 1:
        raise InputError(f"--limit is {options.limit}; it must be at least 1")
    devices = compile_only_devices(topology)
    step = prepare_step(experiment, devices)
    program = compile_step(step)
    found = analyse(step, program, topology)
    print(terminal(found), flush=True)
    estimator, remarks = Estimator(topology), []
    estimator.learn(step, program.needed)
    if not found.memory.fits:
        what = remedies(step, topology, devices, estimator)
        remarks.append("What would, by estimate:\n\n" + "\n".join(f"- {one}" for one in what))
        print(f"\nwhat would, by estimate: {'; or '.join(what)}", flush=True)
    ranked: list[tuple[Step, Plan]] = []
    if options.search:
        say = functools.partial(print, file=sys.stderr, flush=True)
        ranked = search(step, topology, devices, estimator, limit=options.limit, say=say)
        rows = [(settings(one), *outcome(other)) for one, other in ranked]
        print("\n" + table(rows, SEARCH_HEAD))
        remarks.append(markdown_table(rows, SEARCH_HEAD))
    if options.output is not None:
        write(found, options.output, shlex.join(command), remarks, ranked)
    return 0


SEARCH_HEAD = ("settings", "GiB", "fits", "seconds", "bound by", "MFU at most")


def outcome(found: Plan) -> tuple[str, ...]:
    """A plan as a row of the table of a search."""
    needed, fits = f"{found.memory.peak / GIB:.1f}", "yes" if found.memory.fits else "no"
    if found.times is None:
        return needed, fits, "", "", ""
    mfu = found.mfu(found.times.bound)
    share = "" if mfu is None else f"{mfu:.1%}"
    return needed, fits, f"{found.times.bound:.3g}", found.times.binding, share


def write(
    found: Plan, folder: Path, command: str, remarks: list[str], ranked: list[tuple[Step, Plan]]
) -> None:
    """plan.json, plan.png and plan.md in a folder, which is made."""
    from train.plan.picture import draw

    folder.mkdir(parents=True, exist_ok=True)
    record: dict[str, Any] = {"command": command, **found.to_json()}
    if ranked:
        record["search"] = [{"settings": settings(one), **other.to_json()} for one, other in ranked]
    write_atomically(folder / "plan.json", json.dumps(record, indent=2) + "\n")
    write_atomically(folder / "plan.md", page(found, command, remarks))
    print(f"\nwrote {draw(found, folder / 'plan.png')}, plan.json and plan.md")
