"""What pre-training is worth: small encoders, then fine-tuned on real tasks, with several seeds.

BERT, ALBERT and ELECTRA of one size read WikiText-2 for the same number of FLOPs: first in rows of
32 tokens, then, for an eighth of the steps, in rows of 128. "domain" is BERT that went on with film
reviews instead, for two thirds of the steps. A student of half BERT's layers reads WikiText-2
beside its teacher, and again alone. A Korean BERT reads the reviews of NSMC without their labels.
Each is then fine-tuned beside the same BERT that has read nothing ("scratch": the same tokeniser,
and one step of pre-training at a rate of nearly nothing).

    export FLAXFORMERS_DATA=...
    python -m benchmarks.pretraining --workdir runs/pretraining

Everything goes through `python -m train run` and `repeat`, so that it can be stopped and called
again. It writes benchmarks/results/pretraining.json, a picture of the curves, and the tables in
docs/pretraining.md, with what is finished by then.
"""

import argparse
import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from matplotlib.ticker import ScalarFormatter

from benchmarks.harness import RESULTS
from benchmarks.page import ROOT, fill
from train.commands.arguments import load_config
from train.log import METRICS, read_records
from train.measure import step_flops
from train.report.style import BLUE, GREEN, VERMILLION, new_figure, save, style

PAGE, PICTURE = ROOT / "docs" / "pretraining.md", ROOT / "docs" / "images" / "pretraining.png"
FIGURE = "![Perplexity of a hidden token against compute](images/pretraining.png)"

FAMILIES = {"bert": "BERT", "albert": "ALBERT", "electra": "ELECTRA's generator"}
COLOURS = (BLUE, GREEN, VERMILLION)
CONFIGS = {
    **{family: f"wikitext/{family}_mini" for family in FAMILIES},
    "scratch": "wikitext/bert_mini",
    "domain": "finetune/bert_imdb_domain",
    "student": "wikitext/student_mini",
    "distilled": "wikitext/distil_mini",
    "korean": "korean/bert_mini",
    "korean scratch": "korean/bert_mini",
}
"""What is pre-trained, by the names of the folders."""
UNREAD = ("scratch", "korean scratch")
STEPS = {"domain": 2 / 3, "student": 1 / 2, "distilled": 1 / 2, "korean": 1.0}
"""Of the others, for each step of BERT's; the families take steps of equal compute."""
LONG_ROWS = (
    *("--batching.max-source-length", "128", "--batching.buckets", "128"),
    *("--batching.tokens-per-batch", "1024"),
)
"""The second part of the families' pre-training; it has an eighth of the first one's steps."""


@dataclasses.dataclass(frozen=True)
class Task:
    """A fine-tuning."""

    score: str
    """Of the test split or, where there is none, of the validation split."""
    steps: int
    """Of each run."""
    settings: tuple[str, ...] = ()
    """Beside those of configs/finetune."""


# Windows of a context are as long as the rows that the encoders have read.
WINDOWS = (
    *("--batching.max-source-length", "128", "--batching.tokens-per-batch", "2048"),
    *("--objective.stride", "64", "--objective.max-question-length", "32"),
)
FAST = ("--schedule.peak", "1e-3")
"""Twice the rate of the other tasks."""
TASKS = {
    "sst2": Task("accuracy", 400),
    "sst2_few": Task("accuracy", 200),
    "mrpc": Task("mean", 200),
    "wnut17": Task("f1", 800, FAST),
    "squad": Task("f1", 250, (*FAST, *WINDOWS)),
    "nsmc": Task("accuracy", 400, (*FAST, "--eval-examples", "2000")),
    "nsmc_few": Task("accuracy", 200, (*FAST, "--eval-examples", "2000")),
}
TABLES = {
    "pretraining": (("scratch", *FAMILIES), ("sst2", "sst2_few", "mrpc", "wnut17", "squad")),
    "domain": (("scratch", "bert", "domain"), ("sst2_few",)),
    "distillation": (("scratch", "student", "distilled", "bert"), ("wnut17",)),
    "korean": (("korean scratch", "korean"), ("nsmc", "nsmc_few")),
}
"""Encoders and tasks of each table."""


def train(*arguments: str) -> None:
    """`python -m train ...`, which goes on where it stood."""
    command = [sys.executable, "-m", "train", *arguments]
    print("$", " ".join(arguments), flush=True)
    subprocess.run(command, cwd=ROOT, check=True)


def flops_of_a_step(encoder: str, *, length: int = 32, rows: int = 16) -> float:
    """FLOPs of a step of a family's pre-training, in closed form."""
    experiment = load_config(f"configs/{CONFIGS[encoder]}.py")
    shapes = {name: (rows, length) for name in ("input_ids", "attention_mask", "maskable")}
    return step_flops(experiment, shapes)


def steps_of(encoder: str, steps: int) -> int:
    """Steps that an encoder takes where BERT takes `steps`: a family for the same compute."""
    if encoder in UNREAD:
        return 1
    if encoder in STEPS:
        return round(steps * STEPS[encoder])
    return round(steps * flops_of_a_step("bert") / flops_of_a_step(encoder))


def pretrain(workdir: Path, encoder: str, steps: int) -> None:
    """Trains one of the encoders, the teacher of the distilled one before it."""
    settings = every(steps_of(encoder, steps), evaluations=10)
    if encoder in UNREAD:
        settings = [*settings, "--schedule.name", "constant", "--schedule.peak", "1e-12"]
    if encoder == "distilled":
        settings = [*settings, "--teacher", str(workdir / "bert")]
    if encoder == "domain":
        settings = [*settings, "--init", str(short_rows(workdir / "bert"))]
    if encoder in ("distilled", "domain"):
        pretrain(workdir, "bert", steps)
    config, folder = f"configs/{CONFIGS[encoder]}.py", workdir / encoder.replace(" ", "-")
    if encoder in FAMILIES:
        first = short_rows(folder)
        train("run", config, "--workdir", str(first), *settings)
        settings = [
            *every(steps_of(encoder, steps) // 8, evaluations=3),
            *LONG_ROWS,
            *("--init", str(first)),
        ]
    train("run", config, "--workdir", str(folder), *settings)


def short_rows(folder: Path) -> Path:
    """Where the first part of the pre-training of a folder is."""
    return folder.with_name(f"{folder.name}-32")


def every(steps: int, *, evaluations: int) -> list[str]:
    """So many steps, a tenth of them warm-up, as options."""
    often = str(max(steps // evaluations, 1))
    return [
        *("--steps", str(steps), "--schedule.warmup-steps", str(steps // 10)),
        *("--eval-every", often, "--checkpoint-every", often),
    ]


def fine_tune(workdir: Path, task: str, encoder: str, seeds: int) -> None:
    """Fine-tunes an encoder on a task, with several seeds."""
    name = encoder.replace(" ", "-")
    train(
        *("repeat", f"configs/finetune/{task}.py", "--seeds", str(seeds)),
        *("--workdir", str(workdir / f"{task}-{name}"), "--init", str(workdir / name)),
        *every(TASKS[task].steps, evaluations=2),
        *("--schedule.peak", "5e-4", *TASKS[task].settings),
    )


def found(workdir: Path, steps: int) -> dict[str, Any]:
    """Curves and scores of what is finished."""
    curves = {}
    for encoder in CONFIGS:
        folder = workdir / encoder.replace(" ", "-")
        parts = [short_rows(folder), folder] if encoder in FAMILIES else [folder]
        if encoder not in UNREAD and (folder / METRICS).exists():
            curves[encoder] = [
                [r for r in read_records(part / METRICS) if r["kind"] == "eval"] for part in parts
            ]
    scores: dict[str, Any] = {}
    for task in TASKS:
        for encoder in CONFIGS:
            path = workdir / f"{task}-{encoder.replace(' ', '-')}" / "summary.json"
            if path.exists():
                scores.setdefault(task, {})[encoder] = json.loads(path.read_text())
    return {
        "steps": {encoder: steps_of(encoder, steps) for encoder in curves},
        "flops_of_a_step": {
            family: [flops_of_a_step(family), flops_of_a_step(family, length=128, rows=8)]
            for family in FAMILIES
        },
        "curves": curves,
        "scores": scores,
    }


def draw(result: dict[str, Any]) -> None:
    """Perplexity of a hidden token, of ELECTRA's as its generator has it, against compute.

    Dots: rows of 32 tokens; crosses: of 128, where a token has more neighbours.
    """
    with style():
        figure = new_figure(6.4, 3.6)
        axes = figure.add_subplot()
        for (family, label), colour in zip(FAMILIES.items(), COLOURS, strict=True):
            spent = 0.0
            parts = zip(
                result["curves"].get(family, []), result["flops_of_a_step"][family], strict=False
            )
            for part, (points, flops) in enumerate(parts):
                axes.plot(
                    [spent + record["step"] * flops / 1e12 for record in points],
                    [record["perplexity"] for record in points],
                    color=colour,
                    marker=(".", "x")[part],
                    label=label if part == 0 else None,
                )
                spent += points[-1]["step"] * flops / 1e12
        axes.set(
            yscale="log", xlabel="TFLOP", title="Perplexity of a hidden token, WikiText-2 held out"
        )
        for axis_formatter in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
            axis_formatter(ScalarFormatter())
        axes.legend()
        save(figure, PICTURE)


def table(result: dict[str, Any], encoders: tuple[str, ...], tasks: tuple[str, ...]) -> str:
    """Scores by task and encoder: means over the seeds, and deviations. First, what was read.

    Of ELECTRA it is the generator's perplexity, and of "domain" that of film reviews.
    """
    lines = [
        "| task | score | seeds | " + " | ".join(encoders) + " |",
        "|---" * (3 + len(encoders)) + "|",
    ]
    if all(encoder in result["curves"] for encoder in encoders if encoder not in UNREAD):
        last = {name: parts[0][-1]["perplexity"] for name, parts in result["curves"].items()}
        cells = [f"{last[encoder]:.1f}" if encoder in last else "" for encoder in encoders]
        lines.append(f"| hidden tokens, rows of 32 | perplexity | 1 | {' | '.join(cells)} |")
    for task in tasks:
        by_encoder = result["scores"].get(task, {})
        cells, seeds = [], "0"
        for encoder in encoders:
            summary = by_encoder.get(encoder)
            if summary is None:
                cells.append("not run")
                continue
            seeds = str(len(summary["seeds"]))
            numbers = final_score(summary, TASKS[task].score)
            deviation = numbers["deviation"]
            cells.append(
                f"{numbers['mean']:.3f}" + ("" if deviation is None else f" ± {deviation:.3f}")
            )
        lines.append(f"| {task} | {TASKS[task].score} | {seeds} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def final_score(summary: dict[str, Any], score: str) -> dict[str, Any]:
    """The numbers of a score on the split that a run was scored on at its end."""
    [numbers] = [n for name, n in summary["metrics"].items() if name.endswith(f"/{score}")]
    return numbers


def write(result: dict[str, Any]) -> None:
    """The results, the picture, and the tables of the page."""
    (RESULTS / "pretraining.json").write_text(json.dumps(result, indent=2) + "\n")
    draw(result)
    for name, (encoders, tasks) in TABLES.items():
        shown = table(result, encoders, tasks)
        fill(PAGE, name, f"{FIGURE}\n\n{shown}" if name == "pretraining" else shown)


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", type=Path, default=Path("runs/pretraining"))
    parser.add_argument("--steps", type=int, default=12000, help="of BERT, in short rows")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tables", nargs="*", choices=TABLES, default=list(TABLES))
    parser.add_argument("--tasks", nargs="*", choices=TASKS, default=list(TASKS))
    parser.add_argument("--encoders", nargs="*", choices=CONFIGS, default=list(CONFIGS))
    options = parser.parse_args()
    for name in options.tables:
        encoders, tasks = TABLES[name]
        encoders = tuple(encoder for encoder in encoders if encoder in options.encoders)
        for encoder in encoders:
            pretrain(options.workdir, encoder, options.steps)
        for task in (task for task in tasks if task in options.tasks):
            for encoder in encoders:
                fine_tune(options.workdir, task, encoder, options.seeds)
                write(found(options.workdir, options.steps))


if __name__ == "__main__":
    main()
