"""What each stage of ULMFiT is worth, with few labels and with many: accuracy on IMDb.

A recurrent language model reads WikiText-2, then the reviews without their labels; a classifier
learns from 100, 1,000 and all labels of the training split: from scratch, without the reviews,
without discriminative rates and unfreezing, and complete. Each with several seeds, which choose
the labels, too.

    export FLAXFORMERS_DATA=...
    python -m benchmarks.ulmfit --workdir runs/ulmfit

Everything goes through `python -m train run`, so that it can be stopped and called again. It
writes benchmarks/results/ulmfit.json, a picture, and the table in docs/ulmfit.md, with what is
finished by then.
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import RESULTS
from benchmarks.page import ROOT, fill
from benchmarks.pretraining import train
from train.commands.arguments import load_config
from train.log import METRICS, read_records
from train.report.style import BLUE, GREEN, GREY, VERMILLION, new_figure, save, style

PAGE, PICTURE = ROOT / "docs" / "ulmfit.md", ROOT / "docs" / "images" / "ulmfit.png"
FIGURE = "![Accuracy by the number of labels](images/ulmfit.png)"
RESULT = RESULTS / "ulmfit.json"
MODELS = {
    "language": "configs/wikitext/ulmfit_mini.py",
    "domain": "configs/finetune/ulmfit_imdb_domain.py",
}
CLASSIFIER = "configs/finetune/ulmfit_imdb.py"

VARIANTS = {
    "from scratch": ("", False),
    "without the domain stage": ("language", True),
    "without discriminative rates and unfreezing": ("domain", False),
    "complete": ("domain", True),
}
"""The stage that it begins from, and whether it has discriminative rates and unfreezing."""
COLOURS = (GREY, GREEN, VERMILLION, BLUE)
STEPS = {100: 70, 1000: 200, 0: 400}
"""Of a classifier, by the number of labels; 0: all."""
ALL = 8000
"""About as many are all."""


def pretrain(workdir: Path, steps: int | None) -> None:
    """The two language models, the second from the first."""
    for name, begin in (("language", ""), ("domain", "language")):
        number = steps or load_config(MODELS[name]).steps
        options = every(number, evaluations=5)
        options += ["--init", str(workdir / begin)] if begin else []
        train("run", MODELS[name], "--workdir", str(workdir / name), *options)


def every(steps: int, *, evaluations: int) -> list[str]:
    """So many steps, evaluated so often, as options."""
    often = str(max(steps // evaluations, 1))
    return ["--steps", str(steps), "--eval-every", often, "--checkpoint-every", often]


def folder_of(workdir: Path, variant: str, labels: int, seed: int) -> Path:
    """Where a classifier is trained."""
    return workdir / "-".join([*variant.split(), str(labels or "all"), str(seed)])


def classify(workdir: Path, variant: str, labels: int, seed: int, steps: int | None) -> None:
    """Trains one classifier, on labels that the seed chooses."""
    begin, gradual = VARIANTS[variant]
    number = steps or STEPS[labels]
    options = [
        *every(number, evaluations=2),
        *("--seed", str(seed), "--source.seed", str(seed), "--source.examples", str(labels)),
        *("--optimizer.unfreeze-every", str(max(number // 10, 1) if gradual else 0)),
        *(() if gradual else ("--optimizer.layer-decay", "1")),
    ]
    if begin:
        options += ["--init", str(workdir / begin)]
    else:
        tokenizer = str(workdir / "language" / "tokenizer")
        options += ["--tokenizer.kind", "folder", "--tokenizer.folder", tokenizer]
    train("run", CLASSIFIER, "--workdir", str(folder_of(workdir, variant, labels, seed)), *options)


def found(workdir: Path, seeds: Sequence[int]) -> dict[str, Any]:
    """Perplexities of the language models, and accuracies of what is finished."""
    perplexities = {}
    for stage in ("language", "domain"):
        path = workdir / stage / METRICS
        if path.exists():
            perplexities[stage] = [
                {"step": r["step"], "perplexity": r["perplexity"]}
                for r in read_records(path)
                if r["kind"] == "eval"
            ]
    accuracies: dict[str, dict[str, list[float]]] = {}
    for variant in VARIANTS:
        for labels in STEPS:
            for seed in seeds:
                path = folder_of(workdir, variant, labels, seed) / METRICS
                last = read_records(path)[-1:] if path.exists() else []
                for record in last:
                    if record.get("final"):
                        by_labels = accuracies.setdefault(variant, {})
                        by_labels.setdefault(str(labels), []).append(record["test/accuracy"])
    return {"perplexities": perplexities, "accuracies": accuracies, "steps": STEPS}


def table(result: dict[str, Any]) -> str:
    """Accuracy by variant and number of labels: means over the seeds, and deviations."""
    lines = ["| | 100 labels | 1,000 labels | all labels |", "|---|---|---|---|"]
    for variant in VARIANTS:
        cells = []
        for labels in STEPS:
            values = result["accuracies"].get(variant, {}).get(str(labels), [])
            if not values:
                cells.append("not run")
                continue
            spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
            cells.append(f"{statistics.fmean(values):.3f}{spread} ({len(values)})")
        lines.append(f"| {variant} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def draw(result: dict[str, Any], picture: Path) -> None:
    """Accuracy against the number of labels, a line for each variant."""
    with style():
        figure = new_figure(6.4, 3.6)
        axes = figure.add_subplot()
        for variant, colour in zip(VARIANTS, COLOURS, strict=True):
            by_labels = result["accuracies"].get(variant, {})
            points = [(labels or ALL, by_labels.get(str(labels))) for labels in STEPS]
            points = [(number, values) for number, values in points if values]
            if not points:
                continue
            means = [statistics.fmean(values) for _, values in points]
            spread = [statistics.stdev(v) if len(v) > 1 else 0.0 for _, v in points]
            numbers = [number for number, _ in points]
            axes.errorbar(
                numbers, means, yerr=spread, color=colour, marker=".", capsize=3, label=variant
            )
        axes.set(
            xscale="log", xlabel="labels", title="Accuracy on reviews of IMDb that were held out"
        )
        axes.set_xticks(list(STEPS)[:-1] + [ALL], ["100", "1,000", "all"])
        axes.minorticks_off()
        lines = axes.get_legend_handles_labels()
        figure.legend(*lines, loc="outside lower center", ncols=2)
        save(figure, picture)


def write(result: dict[str, Any], page: Path, file: Path, picture: Path) -> None:
    """The results, the picture, and the table of the page."""
    file.write_text(json.dumps(result, indent=2) + "\n")
    draw(result, picture)
    fill(page, "ulmfit", f"{FIGURE}\n\n{table(result)}")


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", type=Path, default=Path("runs/ulmfit"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--labels", type=int, nargs="*", choices=STEPS, default=list(STEPS))
    parser.add_argument("--steps", type=int, help="of every run, in place of the configs'")
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--result", type=Path, default=RESULT)
    parser.add_argument("--picture", type=Path, default=PICTURE)
    options = parser.parse_args()
    options.workdir.mkdir(parents=True, exist_ok=True)
    pretrain(options.workdir, options.steps)
    for labels in options.labels:
        for seed in range(options.seeds):
            for variant in VARIANTS:
                classify(options.workdir, variant, labels, seed, options.steps)
                result = found(options.workdir, range(options.seeds))
                write(result, options.page, options.result, options.picture)


if __name__ == "__main__":
    main()
