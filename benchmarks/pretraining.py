"""What pre-training is worth: three encoders at equal compute, then fine-tuned on real tasks.

BERT, ALBERT and ELECTRA of one size read WikiText-2 for the same number of FLOPs. Each is then
fine-tuned, with several seeds, beside the same BERT that has read nothing ("scratch": the same
tokeniser, and one step of pre-training at a rate of nearly nothing).

    export FLAXFORMERS_DATA=...
    python -m benchmarks.pretraining --workdir runs/pretraining

Everything goes through `python -m train run` and `repeat`, so that it can be stopped and called
again. It writes benchmarks/results/pretraining.json, a picture of the curves, and the tables in
docs/pretraining.md, with what is finished by then.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import RESULTS
from train.commands.arguments import load_config
from train.log import METRICS, read_records
from train.measure import step_flops
from train.report.style import BLUE, GREEN, VERMILLION, new_figure, save, style

ROOT = Path(__file__).parents[1]
PAGE, PICTURE = ROOT / "docs" / "pretraining.md", ROOT / "docs" / "images" / "pretraining.png"
BEGIN, END = "<!-- pretraining -->\n", "<!-- end of pretraining -->\n"

FAMILIES = ("bert", "albert", "electra")
SCRATCH = "scratch"
TASKS = {
    "sst2": ("accuracy", 600),
    "mrpc": ("mean", 300),
    "wnut17": ("f1", 300),
    "squad": ("f1", 600),
}
"""The score that is shown, and the steps of a fine-tuning."""


def train(*arguments: str) -> None:
    """`python -m train ...`, which goes on where it stood."""
    command = [sys.executable, "-m", "train", *arguments]
    print("$", " ".join(arguments), flush=True)
    subprocess.run(command, cwd=ROOT, check=True)


def flops_of_a_step(family: str) -> float:
    """FLOPs of a step of pre-training, in closed form."""
    experiment = load_config(f"configs/wikitext/{family}_mini.py")
    batching = experiment.batching
    length = batching.max_source_length
    rows = batching.tokens_per_batch // length
    shapes = {name: (rows, length) for name in ("input_ids", "attention_mask", "maskable")}
    return step_flops(experiment, shapes)


def pretrain(workdir: Path, steps: int) -> dict[str, int]:
    """Trains the families for the compute that BERT takes for `steps`; the steps of each."""
    budget = steps * flops_of_a_step("bert")
    taken = {family: round(budget / flops_of_a_step(family)) for family in FAMILIES}
    for family, number in taken.items():
        settings = every(number, evaluations=10)
        train(*config_of(family), "--workdir", str(workdir / family), *settings)
    unread = ("--workdir", str(workdir / SCRATCH), "--steps", "1", "--schedule.name", "constant")
    train(*config_of("bert"), *unread, "--schedule.warmup-steps", "0", "--schedule.peak", "1e-12")
    return taken


def config_of(family: str) -> tuple[str, str]:
    """The arguments that name a family's pre-training."""
    return "run", f"configs/wikitext/{family}_mini.py"


def every(steps: int, *, evaluations: int) -> list[str]:
    """So many steps, a tenth of them warm-up, as options."""
    often = str(max(steps // evaluations, 1))
    return [
        *("--steps", str(steps), "--schedule.warmup-steps", str(steps // 10)),
        *("--eval-every", often, "--checkpoint-every", often),
    ]


def fine_tune(workdir: Path, task: str, seeds: int) -> None:
    """Fine-tunes every encoder on a task, with several seeds."""
    for family in (SCRATCH, *FAMILIES):
        train(
            *("repeat", f"configs/finetune/{task}.py", "--seeds", str(seeds)),
            *("--workdir", str(workdir / f"{task}-{family}"), "--init", str(workdir / family)),
            *every(TASKS[task][1], evaluations=3),
        )


def found(workdir: Path, tasks: Sequence[str], taken: dict[str, int]) -> dict[str, Any]:
    """Curves and scores of what is finished."""
    curves, scores = {}, {}
    for family in FAMILIES:
        path = workdir / family / METRICS
        records = read_records(path) if path.exists() else []
        curves[family] = [r for r in records if r["kind"] == "eval"]
    for task in tasks:
        paths = {f: workdir / f"{task}-{f}" / "summary.json" for f in (SCRATCH, *FAMILIES)}
        scores[task] = {f: json.loads(p.read_text()) for f, p in paths.items() if p.exists()}
    flops = {family: flops_of_a_step(family) for family in FAMILIES}
    return {"steps": taken, "flops_of_a_step": flops, "curves": curves, "scores": scores}


def draw(result: dict[str, Any]) -> None:
    """Perplexity of a hidden token, of ELECTRA's as its generator has it, against compute."""
    with style():
        figure = new_figure(6.4, 3.6)
        axes = figure.add_subplot()
        for family, colour in zip(FAMILIES, (BLUE, GREEN, VERMILLION), strict=True):
            flops = result["flops_of_a_step"][family]
            points = result["curves"][family]
            axes.plot(
                [record["step"] * flops / 1e15 for record in points],
                [record["perplexity"] for record in points],
                color=colour,
                marker=".",
                label="ELECTRA's generator" if family == "electra" else family.upper(),
            )
        axes.set(
            yscale="log", xlabel="PFLOP", title="Perplexity of a hidden token, WikiText-2 held out"
        )
        axes.legend()
        save(figure, PICTURE)


def table(result: dict[str, Any]) -> str:
    """Scores by task and encoder: means over the seeds, and deviations."""
    names = (SCRATCH, *FAMILIES)
    lines = [
        "| task | score | seeds | " + " | ".join(names) + " |",
        "|---" * (3 + len(names)) + "|",
    ]
    for task, by_family in result["scores"].items():
        metric, cells, seeds = TASKS[task][0], [], "?"
        for name in names:
            summary = by_family.get(name)
            if summary is None:
                cells.append("not run")
                continue
            seeds = str(len(summary["seeds"]))
            [numbers] = [n for key, n in summary["metrics"].items() if key.endswith(f"/{metric}")]
            deviation = numbers["deviation"]
            cells.append(f"{numbers['mean']:.3f}" + (f" ± {deviation:.3f}" if deviation else ""))
        lines.append(f"| {task} | {metric} | {seeds} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", type=Path, default=Path("runs/pretraining"))
    parser.add_argument("--steps", type=int, default=4000, help="of BERT's pre-training")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tasks", nargs="*", choices=TASKS, default=list(TASKS))
    options = parser.parse_args()
    taken = pretrain(options.workdir, options.steps)
    for task in [None, *options.tasks]:
        if task is not None:
            fine_tune(options.workdir, task, options.seeds)
        result = found(options.workdir, options.tasks, taken)
        (RESULTS / "pretraining.json").write_text(json.dumps(result, indent=2) + "\n")
        draw(result)
        before, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(before + BEGIN + "\n" + table(result) + "\n" + END + rest.partition(END)[2])


if __name__ == "__main__":
    main()
