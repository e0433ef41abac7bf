"""How often searches find what Hugging Face's find, token for token, by kind and family.

python -m benchmarks.generation_table

Random tiny models, a new one for each seed, prompts of different lengths padded on the left, two
end-of-sequence tokens; float32 on the CPU. Of sampling it is the probabilities that are compared.
Writes benchmarks/results/generation.json and the tables in docs/decoding.md.
"""

import argparse
import importlib.metadata
import json
from typing import Any

from benchmarks import page
from benchmarks.harness import RESULTS
from benchmarks.page import ROOT

PAGE = ROOT / "docs" / "decoding.md"
SAMPLES = "sampling"

Found = dict[str, dict[str, dict[str, Any]]]


def measure(families: list[str], seeds: int) -> Found:
    """By kind and family: searches, sequences, and how many of these agree; or the deviation."""
    from tests.parity.generation import KINDS, agreeing, compare, compare_sampling

    found: Found = {kind: {} for kind in (*KINDS, SAMPLES)}
    for family in families:
        for kind in KINDS:
            found[kind][family] = {"searches": 0, "sequences": 0, "agree": 0}
        found[SAMPLES][family] = {"draws": 0, "deviation": 0.0}
        for seed in range(seeds):  # models change slowest: each is made once
            for kind, listed in KINDS.items():
                counts = found[kind][family]
                for settings in listed:
                    ours, theirs = compare(family, settings, seed)
                    counts["searches"] += 1
                    counts["sequences"] += len(theirs)
                    counts["agree"] += agreeing(ours, theirs)
            deviation, draws = compare_sampling(family, seed)
            counts = found[SAMPLES][family]
            counts["draws"] += draws
            counts["deviation"] = max(counts["deviation"], deviation)
        for kind, by_family in found.items():
            print(f"{family:10} {kind:20} {by_family[family]}", flush=True)
    return found


def table(found: Found) -> str:
    """Markdown: a row a kind, a column a family."""
    families = list(next(iter(found.values())))
    lines = ["| | " + " | ".join(families) + " |", "|---|" + "---|" * len(families)]
    for kind, by_family in found.items():
        cells = (_cell(counts) for counts in by_family.values())
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(counts: dict[str, Any]) -> str:
    if "draws" in counts:
        return f"{counts['deviation']:.1e} over {counts['draws']:,} draws"
    return f"{counts['agree']:,} of {counts['sequences']:,}"


def main() -> None:
    """Compares, and writes both."""
    from tests.parity.generation import FAMILIES

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--families", nargs="*", choices=sorted(FAMILIES), default=list(FAMILIES))
    parser.add_argument("--seeds", type=int, default=20, help="models of a family; default: 20")
    options = parser.parse_args()
    found = measure(options.families, options.seeds)
    print(table(found))
    if options.families != list(FAMILIES):
        return
    versions = {name: importlib.metadata.version(name) for name in ("jax", "torch", "transformers")}
    result = {"name": "generation", "versions": versions, "seeds": options.seeds, "found": found}
    (RESULTS / "generation.json").write_text(json.dumps(result, indent=1) + "\n")
    page.fill(PAGE, "generation", table(found))
    print(f"wrote {RESULTS / 'generation.json'} and {PAGE}")


if __name__ == "__main__":
    main()
