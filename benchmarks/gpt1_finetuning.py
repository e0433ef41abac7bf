"""What the auxiliary loss of a language model is worth: GPT-1's four formats, with and without it.

A language model that is trained already is fine-tuned on one real task of each format, with
`lm_weight` 0.5, as published, and 0, with several seeds.

    export FLAXFORMERS_DATA=...
    python -m benchmarks.gpt1_finetuning runs/gpt --workdir runs/gpt1_finetuning

Everything goes through `python -m train repeat`, so that it can be stopped and called again. It
writes benchmarks/results/gpt1_finetuning.json and the table in docs/decoders.md, with what is
finished by then.
"""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

from benchmarks.harness import RESULTS
from benchmarks.page import ROOT, fill
from benchmarks.pretraining import final_score, train

PAGE, RESULT = ROOT / "docs" / "decoders.md", RESULTS / "gpt1_finetuning.json"
TABLE = "gpt1_finetuning"
WEIGHTS = (0.5, 0.0)


@dataclasses.dataclass(frozen=True)
class Task:
    """A task, by the name of configs/finetune/gpt1_NAME.py."""

    format: str
    """Of the paper's figure 1."""
    score: str
    """Of the validation split: what the config judges it by."""
    chance: str
    """What the most frequent label scores."""
    steps: int
    """Of each run: what one core does in a few minutes, not the config's epochs."""


TASKS = {
    "sst2": Task("classification", "accuracy", "0.51", 120),
    "sick": Task("entailment", "accuracy", "0.57", 120),
    "stsb": Task("similarity", "mean", "0", 120),
    "commonsenseqa": Task("multiple choice", "accuracy", "0.20", 20),
}


def folder_of(workdir: Path, task: str, weight: float) -> Path:
    """Where the runs of all seeds are."""
    return workdir / f"{task}-{'with' if weight else 'without'}"


def fine_tune(model: Path, workdir: Path, task: str, weight: float, steps: int, seeds: int) -> None:
    """Fine-tunes the model on a task, with several seeds, and scores what it ends with."""
    train(
        *("repeat", f"configs/finetune/gpt1_{task}.py", "--seeds", str(seeds)),
        *("--workdir", str(folder_of(workdir, task, weight)), "--init", str(model)),
        *("--objective.lm-weight", str(weight), "--steps", str(steps)),
        *("--schedule.warmup-steps", str(max(round(0.002 * steps), 1))),
        *("--eval-every", str(steps), "--checkpoint-every", str(steps)),
    )


def found(workdir: Path) -> dict[str, dict[str, Any]]:
    """Task -> weight -> the summary of its seeds, of what is finished."""
    scores: dict[str, dict[str, Any]] = {}
    for task in TASKS:
        for weight in WEIGHTS:
            path = folder_of(workdir, task, weight) / "summary.json"
            if path.exists():
                scores.setdefault(task, {})[str(weight)] = json.loads(path.read_text())
    return scores


def table(scores: dict[str, dict[str, Any]]) -> str:
    """Means over the seeds, and deviations."""
    lines = [
        "| format | task | score | chance | seeds | lm_weight 0.5 | lm_weight 0 |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, task in TASKS.items():
        cells, seeds = [], "0"
        for weight in WEIGHTS:
            summary = scores.get(name, {}).get(str(weight))
            if summary is None:
                cells.append("not run")
                continue
            seeds = str(len(summary["seeds"]))
            numbers = final_score(summary, task.score)
            deviation = numbers["deviation"]
            cells.append(f"{numbers['mean']:.3f}" + (f" ± {deviation:.3f}" if deviation else ""))
        row = (task.format, name, task.score, task.chance, seeds, *cells)
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def write(model: Path, scores: dict[str, dict[str, Any]], page: Path, result: Path) -> None:
    """The results, and the table of the page."""
    content = {"model": model.name, "scores": scores}
    result.write_text(json.dumps(content, indent=2) + "\n")
    fill(page, TABLE, table(scores))


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="folder of the run of a language model")
    parser.add_argument("--workdir", type=Path, default=Path("runs/gpt1_finetuning"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="of every run, in place of the table's")
    parser.add_argument("--tasks", nargs="*", choices=TASKS, default=list(TASKS))
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--result", type=Path, default=RESULT)
    options = parser.parse_args()
    for task in options.tasks:
        for weight in WEIGHTS:
            steps = options.steps or TASKS[task].steps
            fine_tune(options.model, options.workdir, task, weight, steps, options.seeds)
            write(options.model, found(options.workdir), options.page, options.result)


if __name__ == "__main__":
    main()
