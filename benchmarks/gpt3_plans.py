"""What the eight sizes of GPT-3 would take: each compiled for a TPU pod that is not here.

    python -m benchmarks.gpt3_plans

Runs `python -m train plan` for the topologies of configs/_gpt3.py, minutes each, and keeps what
each says in docs/plans/gpt3/SIZE; a size whose plan is there is left out, so that it can be stopped
and called again. It writes the table in docs/plans/gpt3.md from what is there by then.
"""

import argparse
import json
import math
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.page import ROOT, fill
from configs._gpt3 import SIZES, TOKENS
from flaxformers_edu.models import presets
from flaxformers_edu.models.decoder_count import parameter_count

PAGE = ROOT / "docs" / "plans" / "gpt3.md"
STATE_BYTES = 16
"""Of a parameter: itself, its gradient and two moments, in float32."""
HEAD = (
    *("size", "parameters", "topology", "chips", "chips for the state alone", "GiB a chip"),
    *("bound by", "MFU at most", "hours at least", "hours if nothing overlaps"),
)


def words_of(size: str) -> list[str]:
    """The words after `python -m`."""
    folder = folder_of(size).relative_to(ROOT)
    words = ["train", "plan", f"configs/gpt3_{size}.py", "--topology", SIZES[size].topology]
    return [*words, "--output", str(folder)]


def folder_of(size: str) -> Path:
    """Where the plan of a size is."""
    return PAGE.parent / "gpt3" / size


def plan_of(size: str) -> dict[str, Any] | None:
    """The plan that is there, if it is what the same command would be answered now."""
    path = folder_of(size) / "plan.json"
    if not path.exists():
        return None
    plan = json.loads(path.read_text())
    return plan if plan["command"] == shlex.join(["python", "-m", *words_of(size)]) else None


def make(size: str) -> None:
    """Compiles a size, in a process of its own."""
    words = words_of(size)
    print("$ python -m", shlex.join(words), flush=True)
    subprocess.run([sys.executable, "-m", *words], cwd=ROOT, check=True)


def row(size: str, plan: dict[str, Any] | None) -> tuple[str, ...]:
    """A size's row of the table."""
    from train.plan.text import GIB
    from train.plan.topology import parse_topology

    published, topology = SIZES[size], parse_topology(SIZES[size].topology)
    parameters = parameter_count(presets()[published.preset])
    least = math.ceil(parameters * STATE_BYTES / topology.device.memory)
    first = (f"{parameters:,}", topology.name, f"{topology.num_chips}", f"{least}")
    if plan is None:
        return (size, *first, "not planned yet", "", "", "", "")
    memory = f"{plan['memory']['peak'] / GIB:.1f} of {plan['memory']['capacity'] / GIB:.0f}"
    name = f"[{size}](gpt3/{size}/plan.md)"
    if (bound := plan.get("bound")) is None:
        return (name, *first, f"{memory}: does not fit", "", "", "", "")
    hours = TOKENS / bound["tokens_per_second"] / 3600
    apart = hours * bound["mfu"] / bound["mfu_without_overlap"]
    return (
        name,
        *first,
        memory,
        bound["by"],
        f"{bound['mfu']:.1%}",
        f"{hours:.0f}",
        f"{apart:.0f}",
    )


def write() -> None:
    """The table."""
    from train.plan.text import markdown_table

    fill(PAGE, "plans", markdown_table([row(size, plan_of(size)) for size in SIZES], HEAD))
    print(f"wrote {PAGE}")


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="*", choices=SIZES, default=list(SIZES))
    parser.add_argument("--again", action="store_true", help="also those that are there")
    options = parser.parse_args()
    for size in options.sizes:
        if options.again or plan_of(size) is None:
            make(size)
        write()


if __name__ == "__main__":
    main()
