"""Writes benchmarks/README.md from the files in benchmarks/results.

python -m benchmarks.table
"""

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.harness import RESULTS

HEAD = """# Benchmarks

Side by side with peers, each in a process of its own, samples taken in turns (`harness.py` says
how and why). **Ratio** is the median over the rounds of the speed over the baseline's, above 1 is
faster; in brackets its lowest and highest, and the number of rounds in which nobody else used the
processors ("disturbed" if there were none: then the figures are a hint and no more).
Every sample is in [results](results). This page is written by `python -m benchmarks.table`.

    python -m benchmarks.training_step      python -m benchmarks.beam_search
    python -m benchmarks.compile_time       python -m benchmarks.matrix_product
    python -m benchmarks.encoders           # forward, training step, input pipeline
    python -m benchmarks.decoder_step       python -m benchmarks.generation
    python -m benchmarks.awd_lstm_step      python -m benchmarks.recurrent_forward

Weights are random: speed does not depend on them. `scanned` and `unrolled` are the two layouts of a
model's layers, `scanned` is the default.
"""


def section(result: dict[str, Any]) -> str:
    """One file of results as a heading, a line about where it comes from, and a table."""
    versions = result["versions"]
    lines = [
        f"## {result['name']}",
        "",
        f"{result['device']}, {result['threads']} threads, {result['date']}; "
        + ", ".join(f"{name} {versions[name]}" for name in ("jax", "torch", "transformers")),
        "",
        f"| case | peer | {result['unit']}/s | ratio to {result['baseline']} |",
        "|---|---|---|---|",
    ]
    for case, found in result["cases"].items():
        for peer, values in found["peers"].items():
            low, high = values["range_of_ratios"]
            rounds = values["clean_rounds"] or "disturbed"
            ratio = f"**{values['ratio']:.2f}** ({low:.2f} to {high:.2f}; {rounds})"
            own = "1" if peer == result["baseline"] else ratio
            lines.append(f"| {case} | {peer} | {values['per_second']:.4g} | {own} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Writes the page."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    results = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
    results = [result for result in results if "cases" in result]  # the others compare no speeds
    page = Path(__file__).parent / "README.md"
    page.write_text("\n".join([HEAD, *map(section, results)]))
    print(f"wrote {page}")


if __name__ == "__main__":
    main()
