"""German to English on Multi30k: what attention is worth, and what searching and teaching are.

Recurrent models of one size, without attention and with each kind, beside the Transformer of as
many parameters: the same data, steps, optimiser and vocabulary. BLEU over all sentences of
test_2016_flickr, and by the length of the source. Then the search (greedy, beams, with and without
division by the length) and the teaching (teacher forcing, scheduled sampling) of one of them.

    export FLAXFORMERS_DATA=...
    python -m benchmarks.seq2seq --workdir runs/seq2seq

Everything goes through `python -m train run`, `evaluate` and `generate`, so that it can be stopped
and called again. It writes benchmarks/results/seq2seq.json, docs/images/seq2seq*.png and the tables
in docs/seq2seq.md, with what is finished by then.
"""

import argparse
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.harness import RESULTS
from benchmarks.page import ROOT, fill
from flaxformers_edu.metrics.bleu import bleu_by_length
from flaxformers_edu.models import count_params
from train.commands.arguments import load_config
from train.report.style import BLUE, GREEN, GREY, VERMILLION, new_figure, save, style

PAGE, IMAGES = ROOT / "docs" / "seq2seq.md", ROOT / "docs" / "images"

MODELS = {
    "none": ("configs/seq2seq/none.py", GREY, ":"),
    "reversed": ("configs/seq2seq/reversed.py", GREY, "--"),
    "dot": ("configs/seq2seq/dot.py", BLUE, ":"),
    "general": ("configs/seq2seq_multi30k.py", BLUE, "-"),
    "concat": ("configs/seq2seq/concat.py", BLUE, "--"),
    "bahdanau": ("configs/seq2seq/bahdanau.py", GREEN, "-"),
    "transformer": ("configs/seq2seq/transformer.py", VERMILLION, "-"),
    "sampling": ("configs/seq2seq/sampling.py", BLUE, "-."),
}
"""Configs, and how their lines are drawn."""
COMPARED = tuple(name for name in MODELS if name != "sampling")
SEARCHED = ("general", "sampling")
SEARCHES = ((1, 1.0), *itertools.product((2, 5, 10), (1.0, 0.0)))
"""Beams, and the exponent on the length; for one beam it says nothing."""
EDGES = (7, 10, 13, 16, 20)
"""Longest sources of the groups, in words; the last group has the longer ones."""
INVERTED = "Ein Hund, der einen Mantel trägt, läuft im Schnee."
"""Of the test set; the relative clause has its verb at its end, and in English at its beginning."""


def train(*arguments: str) -> None:
    """`python -m train ...`, which goes on where it stood."""
    print("$", " ".join(arguments), flush=True)
    subprocess.run([sys.executable, "-m", "train", *arguments], cwd=ROOT, check=True)


def answer(*arguments: str) -> str:
    """What `python -m train ...` writes to standard output."""
    print("$", " ".join(arguments), flush=True)
    command = [sys.executable, "-m", "train", *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def trained(options: argparse.Namespace, name: str) -> Path:
    """The folder of a finished run."""
    often, folder = str(max(options.steps // 6, 1)), options.workdir / name
    settings = [
        *("--steps", str(options.steps), "--schedule.warmup-steps", often),
        *("--eval-every", often, "--checkpoint-every", often, "--eval-examples", "200"),
    ]
    train("run", MODELS[name][0], "--workdir", str(folder), *settings)
    return folder


def searched(options: argparse.Namespace, folder: Path, beams: int, penalty: float) -> float:
    """BLEU on the test split by one kind of search; the translations stay in the folder."""
    known_in = folder / "searches.json"
    known = json.loads(known_in.read_text()) if known_in.exists() else {}
    key = search_name(beams, penalty)
    if key not in known:
        settings = ["--num-beams", str(beams), "--length-penalty", str(penalty)]
        settings += ["--output", str(folder / f"{key}.txt")]
        settings += ["--limit", str(options.limit)] if options.limit else []
        scores = json.loads(answer("evaluate", str(folder), *settings).splitlines()[-1])
        known["greedy"] = scores["bleu_greedy"]
        known[key] = scores["bleu_greedy" if beams == 1 else f"bleu_beam{beams}"]
        known_in.write_text(json.dumps(known))
    return known[key]


def search_name(beams: int, penalty: float) -> str:
    """What a search is called in files and in the results."""
    return "greedy" if beams == 1 else f"beam{beams}-{'normalised' if penalty else 'plain'}"


def by_length(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """BLEU of the greedy translations by the length of the source."""
    examples = load_config(MODELS["general"][0]).source.load("test")
    pairs = [examples[i] for i in range(options.limit or len(examples))]
    found = bleu_by_length(
        (folder / "greedy.txt").read_text(encoding="utf-8").split("\n")[:-1],
        [pair["target"] for pair in pairs],
        lengths=[len(pair["source"].split()) for pair in pairs],
        edges=EDGES,
    )
    return [
        {"longest": group.longest, "bleu": group.score, "sentences": group.num_segments}
        for group in found
    ]


def measured(options: argparse.Namespace, name: str) -> dict[str, Any]:
    """All that is shown of a model."""
    folder = trained(options, name)
    searches = SEARCHES if name in SEARCHED else ((1, 1.0), (5, 1.0))
    scores = {search_name(*search): searched(options, folder, *search) for search in searches}
    model = load_config(MODELS[name][0]).model
    return {
        "parameters": count_params(model, "seq2seq_lm"),
        "bleu": scores,
        "by_length": by_length(options, folder),
    }


def draw_alignment(folder: Path) -> None:
    """The alignment of a sentence whose words stand in another order."""
    text = folder / "inverted.txt"
    text.write_text(INVERTED + "\n", encoding="utf-8")
    picture = IMAGES / "seq2seq_alignment.png"
    settings = ["--input", str(text), "--num-beams", "1", "--attention", str(picture)]
    train("generate", str(folder), *settings)


def draw_lengths(result: dict[str, Any]) -> None:
    """BLEU by the length of the source, a line a model."""
    with style():
        figure = new_figure(6.4, 3.8)
        axes: Any = figure.add_subplot()
        for name in COMPARED:
            if name not in result["models"]:
                continue
            groups = result["models"][name]["by_length"]
            _, colour, line = MODELS[name]
            axes.plot(
                range(len(groups)),
                [group["bleu"] for group in groups],
                color=colour,
                linestyle=line,
                marker=".",
                label=name,
            )
            labels = [f"≤ {g['longest']}\nn={g['sentences']}" for g in groups]
            axes.set_xticks(range(len(groups)), labels)
        axes.set(ylim=(0, None), xlabel="words of the source; n sentences", ylabel="BLEU, greedy")
        axes.set_title("BLEU by the length of the source")
        axes.legend(ncols=2)
        save(figure, IMAGES / "seq2seq.png")


def attention_table(result: dict[str, Any]) -> str:
    """BLEU of each model, over all sentences and by length."""
    known = [name for name in COMPARED if name in result["models"]]
    groups = result["models"][known[0]]["by_length"] if known else []
    heads = ["model", "parameters", "greedy", "beam 5", *(f"≤ {g['longest']}" for g in groups)]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for name in known:
        found = result["models"][name]
        bleu = found["bleu"]
        cells = [f"{found['parameters'] / 1e6:.2f}M"]
        cells += [f"{bleu['greedy']:.1f}", f"{bleu['beam5-normalised']:.1f}"]
        cells += [f"{group['bleu']:.1f}" for group in found["by_length"]]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def search_table(result: dict[str, Any]) -> str:
    """BLEU by search and by teaching."""
    known = [name for name in SEARCHED if name in result["models"]]
    taught = {"general": "teacher forcing", "sampling": "scheduled sampling"}
    heads = ["search", *(taught[name] for name in known)]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for beams, penalty in SEARCHES:
        key = search_name(beams, penalty)
        by_name = [f"{result['models'][name]['bleu'][key]:.1f}" for name in known]
        said = "divided by the length" if penalty else "plain sums"
        row = "greedy" if beams == 1 else f"beam {beams}, {said}"
        lines.append(f"| {row} | " + " | ".join(by_name) + " |")
    return "\n".join(lines)


def write(options: argparse.Namespace, result: dict[str, Any]) -> None:
    """The results, the picture, and the tables of the page."""
    (options.results / "seq2seq.json").write_text(json.dumps(result, indent=1) + "\n")
    draw_lengths(result)
    figure = "![BLEU by the length of the source](images/seq2seq.png)"
    fill(PAGE, "attention", f"{attention_table(result)}\n\n{figure}")
    if any(name in result["models"] for name in SEARCHED):
        fill(PAGE, "search", search_table(result))
    if "general" in result["models"]:
        fill(PAGE, "alignment", f"![Alignment of: {INVERTED}](images/seq2seq_alignment.png)")


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", type=Path, default=Path("runs/seq2seq"))
    parser.add_argument("--steps", type=int, default=2000, help="of each model")
    parser.add_argument("--models", nargs="*", choices=MODELS, default=list(MODELS))
    parser.add_argument("--limit", type=int, default=0, help="test sentences; 0: all")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    options.workdir = options.workdir.resolve()
    result: dict[str, Any] = {"steps": options.steps, "models": {}}
    for name in options.models:
        result["models"][name] = measured(options, name)
        if name == "general":
            draw_alignment(options.workdir / name)
        write(options, result)


if __name__ == "__main__":
    main()
