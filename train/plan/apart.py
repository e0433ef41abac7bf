"""Compiling in a process of its own: libtpu can crash on a program, and takes its process along.

`compile_apart` runs `python -m train.plan.apart`, with its request on standard input.
"""

import dataclasses
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from train.plan.program import Memory, Program, Step, compile_step, prepare_step
from train.plan.topology import Topology, compile_only_devices, parse_topology
from train.saved import from_json, to_json

ROOT = Path(__file__).resolve().parent.parent.parent


def compile_apart(step: Step, topology: Topology) -> Program | None:
    """`compile_step` in a child process; None where the compiler died of it."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "program.json"
        request = {
            "experiment": to_json(step.experiment),
            "topology": (topology.of_one_slice, topology.slices),
            "answer": str(answer),
        }
        done = subprocess.run(
            [sys.executable, "-m", "train.plan.apart"],
            input=json.dumps(request),
            cwd=ROOT,
            text=True,
            capture_output=True,
        )
        if done.returncode > 0:  # an error of Python, which is ours
            raise RuntimeError(done.stderr)
        if done.returncode < 0:  # a signal
            return None
        fields = json.loads(answer.read_text(encoding="utf-8"))
    memory = fields.pop("memory")
    return Program(memory=memory and Memory(**memory), **fields)


def answer(request: dict[str, Any]) -> None:
    """Compiles what is asked for, and writes the program as JSON."""
    devices = compile_only_devices(parse_topology(*request["topology"]))
    program = compile_step(prepare_step(from_json(request["experiment"]), devices))
    text = json.dumps(dataclasses.asdict(program))
    Path(request["answer"]).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    answer(json.load(sys.stdin))
