"""What ELMo's vectors know: two senses of a word, and what they are worth in tagging.

A small biLM reads WikiText-2. Then a bidirectional LSTM learns WNUT-17 (tags) and SST-2 (labels of
sentences), with several seeds: with the frozen biLM's layers mixed, with its top layer alone, with
the biLM tuned along, and without it.

    export FLAXFORMERS_DATA=...
    python -m benchmarks.elmo --workdir runs/elmo

Everything goes through `python -m train run` and `repeat`, so that it can be stopped and called
again. It writes benchmarks/results/elmo.json, docs/images/elmo.png and the tables of docs/elmo.md,
with what is finished by then.
"""

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.harness import RESULTS
from benchmarks.page import ROOT, fill
from benchmarks.pretraining import every, final_score, train
from flaxformers_edu.sharding import MeshShape
from train.prepare import open_finished
from train.report.style import BLUE, GREEN, GREY, VERMILLION, new_figure, save, style
from train.restore import load_params

PAGE, PICTURE = ROOT / "docs" / "elmo.md", ROOT / "docs" / "images" / "elmo.png"
RESULT = RESULTS / "elmo.json"
FIGURE = "![Cosines of a word's vectors by layer, and the learned mixtures](images/elmo.png)"
CONFIG = "configs/wikitext/elmo_mini.py"

TASKS = {"wnut17": "f1", "sst2": "accuracy"}
"""The score of each task."""
STEPS = {"wnut17": 2400, "sst2": 800}
WITHOUT = ("--model.head.features", "none", "--optimizer.frozen", "--optimizer.no-decay")
VARIANTS: dict[str, tuple[str, ...]] = {
    "without": WITHOUT,
    "mixed": (),
    "top layer": ("--model.head.features", "top", "--optimizer.no-decay"),
    "mixed, tuned": ("--optimizer.frozen", "--schedule.peak", "1e-3"),
}
"""What differs from configs/finetune/elmo_TASK.py."""

SENSES = {
    "season": (
        ("The team won ten games in its first season .",
         "He scored twelve goals for the club last season .",
         "They lost the final game of the season ."),
        ("The rainy season begins in June and brings heavy storms .",
         "Birds build their nests in the breeding season .",
         "The wet season lasts from May to October ."),
    ),
    "star": (
        ("The star is twice as massive as the Sun .",
         "A planet moves around the star once in four days .",
         "The light of the star reaches Earth after ten years ."),
        ("The film made the actress a star in the United States .",
         "He became a pop star after his first album .",
         "The star of the show sang two songs with the band ."),
    ),
    "record": (
        ("The band signed with a record label in London .",
         "Her first record sold one million copies .",
         "The record was released as a single in March ."),
        ("The runner set a new world record in the final .",
         "He holds the record for the most goals in a season .",
         "The team finished with a record of ten wins and six losses ."),
    ),
}  # fmt: skip
"""A word, and sentences in which it has one meaning, and another."""


def folder_of(workdir: Path, task: str, variant: str) -> Path:
    """Where the runs of all seeds are."""
    return workdir / f"{task}-{variant.replace(', ', '-').replace(' ', '-')}"


def run_all(options: argparse.Namespace) -> None:
    """The biLM, then every task and variant; results are written after each."""
    workdir = options.workdir
    bilm = workdir / "bilm"
    train("run", CONFIG, "--workdir", str(bilm), *every(options.steps, evaluations=4))
    write(found(workdir))
    for variant, task in itertools.product(options.variants, TASKS):
        beginning = () if variant == "without" else ("--init", str(bilm))
        steps = max(round(options.share * STEPS[task]), 1)
        train(
            *("repeat", f"configs/finetune/elmo_{task}.py", "--seeds", str(options.seeds)),
            *("--workdir", str(folder_of(workdir, task, variant)), *beginning),
            *every(steps, evaluations=3),
            *VARIANTS[variant],
        )
        write(found(workdir))


def senses(bilm: Path) -> dict[str, Any]:
    """Mean cosines of each word's vectors by layer: of one sense, and of two."""
    run = open_finished(bilm)
    params, _ = load_params(run, "best", MeshShape().build(jax.devices()[:1]))
    body = {name: module for name, module in params.items() if name != "output"}
    model = run.experiment.model.build("base")
    forward = jax.jit(lambda params, **inputs: model.apply({"params": params}, **inputs))
    result: dict[str, Any] = {}
    for word, groups in SENSES.items():
        texts = [text for group in groups for text in group]
        sense = np.array([number for number, group in enumerate(groups) for _ in group])
        states = np.asarray(forward(body, **run.tokenizer(texts)).hidden_states)
        places = [1 + text.split().index(word) for text in texts]  # behind <S>
        layers = [layer[np.arange(len(texts)), places] for layer in states]
        pairs = ~np.eye(len(texts), dtype=bool)
        same = sense[:, None] == sense[None]
        result[word] = []
        for vectors in layers:
            unit = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
            cosines = unit @ unit.T
            values = {"same": cosines[pairs & same].mean(), "other": cosines[~same].mean()}
            result[word].append({name: round(float(value), 4) for name, value in values.items()})
    return result


def mixture(folder: Path) -> dict[str, Any] | None:
    """The mean over the seeds of the share that each layer has, and of γ; None where not run."""
    shares, gammas = [], []
    for path in sorted(folder.glob("seed-*")):
        params, _ = load_params(open_finished(path), "best", MeshShape().build(jax.devices()[:1]))
        shares.append(np.asarray(jax.nn.softmax(params["mix"]["weights"])))
        gammas.append(float(params["mix"]["gamma"]))
    if not shares:
        return None
    return {"shares": np.mean(shares, 0).tolist(), "gamma": float(np.mean(gammas))}


def found(workdir: Path) -> dict[str, Any]:
    """What is finished."""
    result: dict[str, Any] = {"senses": senses(workdir / "bilm"), "scores": {}, "mixtures": {}}
    for task in TASKS:
        for variant in VARIANTS:
            path = folder_of(workdir, task, variant) / "summary.json"
            if path.exists():
                summary = json.loads(path.read_text())
                result["scores"].setdefault(task, {})[variant] = summary
        if "mixed" in result["scores"].get(task, {}):
            result["mixtures"][task] = mixture(folder_of(workdir, task, "mixed"))
    return result


def draw(result: dict[str, Any]) -> None:
    """Cosines by layer on the left, shares of the layers on the right."""
    with style():
        figure = new_figure(8.0, 3.4)
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        names = ["words"]
        colours = (BLUE, VERMILLION, GREEN)
        for (word, layers), colour in zip(result["senses"].items(), colours, strict=True):
            names = ["words", *(f"LSTM {i}" for i in range(1, len(layers)))]
            for kind, dashes in (("same", "-"), ("other", "--")):
                values = [layer[kind] for layer in layers]
                label = f"{word}, {'one sense' if kind == 'same' else 'two senses'}"
                left.plot(names, values, dashes, color=colour, marker=".", label=label)
        left.set(title="Mean cosine of a word's vectors", ylim=(None, 1.02))
        lines = left.get_legend_handles_labels()
        figure.legend(*lines, loc="outside lower left", ncols=3, handlelength=4, fontsize=8)
        width = 0.38
        for number, (task, mixed) in enumerate(result["mixtures"].items()):
            at = np.arange(len(mixed["shares"])) + (number - 0.5) * width
            right.bar(at, mixed["shares"], width, label=task, color=(BLUE, GREY)[number % 2])
        right.set_xticks(range(len(names)), names)
        right.set(title="Shares of the layers in the mixture")
        if result["mixtures"]:
            right.legend()
        save(figure, PICTURE)


def table_of_senses(result: dict[str, Any]) -> str:
    """Cosines by word and layer."""
    lines = [
        "| word | layer | one sense | two senses | difference |",
        "|---|---|---|---|---|",
    ]
    for word, layers in result["senses"].items():
        for number, layer in enumerate(layers):
            name = "words (before)" if number == 0 else f"LSTM {number}"
            same, other = layer["same"], layer["other"]
            lines.append(f"| {word} | {name} | {same:.3f} | {other:.3f} | {same - other:.3f} |")
    return "\n".join(lines) + "\n"


def table_of_scores(result: dict[str, Any]) -> str:
    """Means over the seeds, and deviations, by task and variant."""
    lines = [
        "| task | score | seeds | " + " | ".join(VARIANTS) + " | mixture of layers | γ |",
        "|---" * (5 + len(VARIANTS)) + "|",
    ]
    for task, score in TASKS.items():
        cells, seeds = [], "0"
        for variant in VARIANTS:
            summary = result["scores"].get(task, {}).get(variant)
            if summary is None:
                cells.append("not run")
                continue
            seeds = str(len(summary["seeds"]))
            numbers = final_score(summary, score)
            deviation = numbers["deviation"]
            cells.append(f"{numbers['mean']:.3f}" + (f" ± {deviation:.3f}" if deviation else ""))
        mixed = result["mixtures"].get(task)
        shares = " ".join(f"{share:.2f}" for share in mixed["shares"]) if mixed else "not run"
        cells += [shares, f"{mixed['gamma']:.2f}" if mixed else "not run"]
        lines.append(f"| {task} | {score} | {seeds} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def write(result: dict[str, Any]) -> None:
    """The results, the picture, and the tables of the page."""
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    draw(result)
    fill(PAGE, "senses", f"{FIGURE}\n\n{table_of_senses(result)}")
    fill(PAGE, "scores", table_of_scores(result))


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", type=Path, default=Path("runs/elmo"))
    parser.add_argument("--steps", type=int, default=1100, help="of the biLM: about one epoch")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--share", type=float, default=1.0, help="of the steps of each task")
    parser.add_argument("--variants", nargs="*", choices=VARIANTS, default=list(VARIANTS))
    run_all(parser.parse_args())


if __name__ == "__main__":
    main()
