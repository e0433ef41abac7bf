"""How far every family's every task is from Hugging Face: outputs, states, loss and gradients.

python -m benchmarks.parity_table

Random weights of odd sizes, padding, segments, eager attention, float32 on the CPU; the largest
absolute deviation of all of them. Writes benchmarks/results/parity.json and the table in
docs/interop.md.
"""

import argparse
import importlib.metadata
import json
import re
import tempfile
from pathlib import Path

from benchmarks.harness import RESULTS

PAGE = Path(__file__).parent.parent / "docs" / "interop.md"
BETWEEN = re.compile(r"(<!-- parity -->\n).*(<!-- /parity -->)", re.DOTALL)


def measure(cases: list[str]) -> dict[str, dict[str, dict[str, float]]]:
    """By case, task and quantity."""
    from tests.parity.comparison import compare
    from tests.parity.hugging_face import classes_of

    found: dict[str, dict[str, dict[str, float]]] = {}
    for case in cases:
        for task in classes_of(case):
            with tempfile.TemporaryDirectory() as folder:
                deviations = compare(case, task, folder)
            found.setdefault(case, {})[task] = deviations
            print(f"{case:16} {task:24} {max(deviations.values()):.1e}", flush=True)
    return found


def table(found: dict[str, dict[str, dict[str, float]]]) -> str:
    """Markdown: a row a case, a column a task."""
    tasks = list(dict.fromkeys(task for by_task in found.values() for task in by_task))
    lines = ["| | " + " | ".join(tasks) + " |", "|---|" + "---|" * len(tasks)]
    for case, by_task in found.items():
        cells = (f"{max(by_task[t].values()):.1e}" if t in by_task else "" for t in tasks)
        lines.append(f"| {case} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measures, and writes both."""
    from tests.parity.hugging_face import CASES

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", nargs="*", choices=sorted(CASES), default=list(CASES))
    cases = parser.parse_args().cases
    found = measure(cases)
    print(table(found))
    if cases != list(CASES):
        return
    versions = {name: importlib.metadata.version(name) for name in ("jax", "torch", "transformers")}
    result = {"name": "parity", "versions": versions, "deviations": found}
    (RESULTS / "parity.json").write_text(json.dumps(result, indent=1) + "\n")
    page = PAGE.read_text()
    PAGE.write_text(BETWEEN.sub(lambda m: m[1] + table(found) + m[2], page))
    print(f"wrote {RESULTS / 'parity.json'} and {PAGE}")


if __name__ == "__main__":
    main()
