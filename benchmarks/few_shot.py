"""Zero-, one- and few-shot curves of three sizes of GPT, as figure 1.2 of the GPT-3 paper has them.

The models of configs/few_shot learn from documents that demonstrate made-up mappings; here they are
asked for pairs that no training document had (train/sources/mappings.py). Greedy answers count; a
document's form alone gives none.

    python -m benchmarks.few_shot --workdir runs/few_shot

Everything that takes long goes through `python -m train run`, so that it can be stopped and called
again. It writes benchmarks/results/few_shot.json, docs/images/few_shot.png and the table in
docs/prompting.md.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import RESULTS, device_name
from benchmarks.page import ROOT, fill

PAGE, PICTURE = ROOT / "docs" / "prompting.md", ROOT / "docs" / "images" / "few_shot.png"
FIGURE = "![Right answers against the number of demonstrations](images/few_shot.png)"
SIZES = ("small", "medium", "large")
SHOTS = (0, 1, 2, 4, 8)
KINDS = {
    "translation": "held-out translations",
    "labels": "held-out labels",
    "dictionary": "dictionaries made up on the spot",
}


def train(size: str, workdir: Path, steps: int | None) -> None:
    """Trains a size, or goes on where it stood."""
    words = ["run", f"configs/few_shot/{size}.py", "--workdir", str(workdir / size)]
    if steps is not None:
        often = str(max(steps // 2, 1))
        words += ["--steps", str(steps), "--schedule.warmup-steps", str(steps // 10)]
        words += ["--eval-every", often, "--checkpoint-every", often]
    print("$ python -m train", *words, flush=True)
    subprocess.run([sys.executable, "-m", "train", *words], cwd=ROOT, check=True)


def evaluate(folder: Path, shots: Sequence[int], examples: int, seed: int) -> dict[str, Any]:
    """Accuracies by kind and shots, and what they belong to."""
    import jax

    from flaxformers_edu.prompting import Cloze, evaluate_prompts
    from train.commands.language import language_model
    from train.sources.mappings import mapping_examples

    pretrained = language_model(folder, "last")
    found: dict[str, Any] = {
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(pretrained.params)),
        "width": pretrained.config.hidden_size,
        "layers": pretrained.config.num_layers,
        "accuracy": {},
    }
    for kind in KINDS:
        task = Cloze(name=kind, prompt="; {x}", answer="{y}", separator=" ", group="mapping")
        pool, asked = mapping_examples(kind, number=examples, seed=seed)
        results = evaluate_prompts(
            pretrained, task, asked, train=pool, shots=shots, seed=seed, batch_size=64
        )
        found["accuracy"][kind] = [one.metrics["accuracy"] for one in results]
    found["accuracy"]["mean"] = [
        sum(found["accuracy"][kind][i] for kind in KINDS) / len(KINDS) for i in range(len(shots))
    ]
    return found


def draw(result: dict[str, Any], path: Path) -> None:
    """A panel a kind and one for their mean: accuracy against shots, a line a size."""
    from train.report.style import BLUE, GREEN, VERMILLION, new_figure, save, style

    with style():
        figure = new_figure(9.6, 3.0)
        panels = figure.subplots(1, len(KINDS) + 1, sharey=True)
        titles = {**KINDS, "mean": "mean of the three"}
        for axes, (kind, title) in zip(panels, titles.items(), strict=True):
            for (size, found), colour in zip(
                result["sizes"].items(), (BLUE, GREEN, VERMILLION), strict=False
            ):
                axes.plot(
                    range(len(result["shots"])),
                    [100 * accuracy for accuracy in found["accuracy"][kind]],
                    color=colour,
                    marker=".",
                    label=f"{size}, {found['parameters'] / 1e3:.0f}k",
                )
            axes.set_title(title, fontsize=9)
            axes.set(xticks=range(len(result["shots"])), xlabel="demonstrations", ylim=(0, 100))
            axes.set_xticklabels([str(number) for number in result["shots"]])
        panels[0].set_ylabel("right answers, %")
        panels[0].legend()
        save(figure, path)


def table(result: dict[str, Any]) -> str:
    """Markdown: a row a size and kind, a column a number of shots."""
    shots = result["shots"]
    lines = [
        "| model | parameters | task | " + " | ".join(f"{n}-shot" for n in shots) + " |",
        "|---" * (3 + len(shots)) + "|",
    ]
    for size, found in result["sizes"].items():
        for kind, accuracies in found["accuracy"].items():
            cells = " | ".join(f"{100 * accuracy:.1f}" for accuracy in accuracies)
            lines.append(f"| {size} | {found['parameters']:,} | {kind} | {cells} |")
    return "\n".join(lines) + "\n"


def write(result: dict[str, Any]) -> None:
    """The numbers, the picture, and the table in the page."""
    (RESULTS / "few_shot.json").write_text(json.dumps(result, indent=1) + "\n")
    draw(result, PICTURE)
    fill(PAGE, "few-shot", f"{FIGURE}\n\n{table(result)}")


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", type=Path, default=Path("runs/few_shot"))
    parser.add_argument("--sizes", nargs="*", choices=SIZES, default=list(SIZES))
    parser.add_argument("--steps", type=int, help="instead of the configs'; nothing is written")
    parser.add_argument("--examples", type=int, default=500, help="questions a kind")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    result: dict[str, Any] = {
        "name": "few_shot",
        "device": device_name(),
        "shots": list(SHOTS),
        "examples": options.examples,
        "seed": options.seed,
        "sizes": {},
    }
    for size in options.sizes:
        start = time.perf_counter()
        train(size, options.workdir, options.steps)
        seconds = time.perf_counter() - start
        found = evaluate(options.workdir / size, SHOTS, options.examples, options.seed)
        result["sizes"][size] = found
        print(f"{size}: {seconds:.0f} s", {k: v for k, v in found["accuracy"].items()}, flush=True)
    print(table(result))
    if options.steps is None and options.sizes == list(SIZES):
        write(result)


if __name__ == "__main__":
    main()
