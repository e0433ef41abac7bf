"""Small GPTs beside n-gram models of the same text: perplexity of what neither has read.

    export FLAXFORMERS_DATA=...
    python -m benchmarks.language_models --workdir runs/language_models

Trains by `python -m train run`, so that it can be stopped and called again. The n-grams (modified
Kneser-Ney, benchmarks/ngram.py) count the same tokens that the GPT is trained on. Both are told the
first token of each held-out text and predict all others, the GPT by a window that slides over the
text. It writes benchmarks/results/language_models.json, a picture of the curves, and a table and
samples in docs/language_models.md, with what is finished by then.
"""

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.ticker import ScalarFormatter

from benchmarks.harness import RESULTS
from benchmarks.ngram import KneserNey
from benchmarks.page import ROOT, fill
from benchmarks.pretraining import train
from train.log import METRICS, read_records, write_atomically
from train.report.style import BLUE, GREY, VERMILLION, new_figure, save, style

PAGE = ROOT / "docs" / "language_models.md"
PICTURE = ROOT / "docs" / "images" / "language_models.png"
FIGURE = "![Perplexity of a held-out token by step, n-grams as lines](images/language_models.png)"
RESULT = "held_out.json"
ORDERS = (3, 5)
"""Of the n-gram models."""
MODEL = "neural"
"""Among the n-grams of a result."""


@dataclasses.dataclass(frozen=True)
class Subject:
    """A model, and what it is asked."""

    config: str
    title: str
    prompts: tuple[str, ...]
    sample_tokens: int


WIKITEXT_PROMPTS = ("The first season of the series", "The river", "In 1914, he")
SUBJECTS = {
    "gpt": Subject("configs/wikitext/gpt_mini.py", "GPT on WikiText-2", WIKITEXT_PROMPTS, 150),
    "llama": Subject(
        "configs/wikitext/llama_mini.py", "Llama's shape on WikiText-2", WIKITEXT_PROMPTS, 150
    ),
    "shakespeare": Subject(
        "configs/shakespeare.py", "GPT on tiny Shakespeare", ("ROMEO:\n", "KING HENRY"), 500
    ),
}


def pretrain(workdir: Path, name: str, steps: int | None) -> None:
    """Trains one of the models, or goes on where it stood."""
    settings: list[str] = []
    if steps is not None:
        often = str(max(steps // 8, 1))
        settings = ["--steps", str(steps), "--schedule.warmup-steps", str(max(steps // 20, 1))]
        settings += ["--eval-every", often, "--checkpoint-every", often]
    train("run", SUBJECTS[name].config, "--workdir", str(workdir / name), *settings)


def assess(folder: Path, subject: Subject, *, stride: int, limit: int | None) -> dict[str, Any]:
    """Perplexities of the held-out texts by the model and by n-grams; samples of the model.

    Args:
        folder: of the run.
        subject: what it is.
        stride: tokens by which the window moves; 0: half of what the model reads.
        limit: so many held-out texts at most.
    """
    from flaxformers_edu.prompting import Reader, Scorer, TextLikelihood
    from train.commands.language import language_model
    from train.prepare import open_finished
    from train.state import count

    source = open_finished(folder).experiment.source
    pretrained = language_model(folder, "best")
    reader = Reader.of(pretrained)
    corpus = [reader.encode(example["text"]) for example in source.load("train")]
    texts = [example["text"] for example in source.load("validation")][:limit]
    held_out = [reader.encode(text) for text in texts]

    def measures(log_likelihoods: Sequence[float]) -> dict[str, float]:
        together = sum(
            (
                TextLikelihood.of(text, [found], len(ids) - 1)
                for text, ids, found in zip(texts, held_out, log_likelihoods, strict=True)
            ),
            TextLikelihood(),
        )
        return together.measures

    scorer = Scorer(pretrained)
    found = {
        MODEL: {
            "numbers": count(pretrained.params),
            **measures(by_windows(scorer, held_out, stride or scorer.max_length // 2)),
        }
    }
    for order in ORDERS:
        ngrams = KneserNey(corpus, order=order, vocab_size=reader.tokenizer.vocab_size)
        likelihoods = [float(one[1:].sum()) for one in ngrams.log_probs(held_out)]
        found[f"{order}-gram"] = {
            "numbers": sum(len(grams.keys_G) for grams in ngrams.grams),
            **measures(likelihoods),
        }
    records = read_records(folder / METRICS)
    return {
        "config": subject.config,
        "steps": records[-1]["step"],
        "training_tokens": sum(map(len, corpus)),
        "held_out_tokens": sum(map(len, held_out)),
        "held_out": found,
        "curve": [
            {"step": r["step"], "perplexity": r["perplexity"]}
            for r in records
            if r["kind"] == "eval"
        ],
        "samples": [
            sample(pretrained, prompt, subject.sample_tokens) for prompt in subject.prompts
        ],
    }


def by_windows(scorer: Any, texts: Sequence[Sequence[int]], stride: int) -> list[float]:
    """The log-likelihood of each text, given its first token."""
    from flaxformers_edu.prompting import windows

    pieces = [
        list(windows(tuple(ids[:1]), ids[1:], length=scorer.max_length, stride=stride))
        for ids in texts
    ]
    found = iter(scorer([piece for some in pieces for piece in some]))
    return [sum(next(found)[0].log_likelihood for _ in some) for some in pieces]


def sample(pretrained: Any, prompt: str, tokens: int) -> str:
    """A text that goes on from a prompt for so many tokens, which may be more than a model reads.

    When the model has no more room, the last half of what it has read is the next prompt.
    """
    import jax

    from flaxformers_edu.decoding import generate

    tokenizer, length = pretrained.tokenizer, pretrained.config.max_length
    ids = tokenizer.encode(prompt, add_eos=False)
    begun = len(ids)
    key = jax.random.key(0)
    while len(ids) - begun < tokens:
        context = ids[-length // 2 :]
        room = length - length // 2
        output = generate(
            pretrained.model,
            pretrained.params,
            np.array([context], np.int32),
            max_new_tokens=room,
            do_sample=True,
            temperature=0.8,
            top_p=0.95,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.eos_token_id,
            rng=jax.random.fold_in(key, len(ids)),
        )
        new = np.asarray(output.sequences)[0, len(context) :].tolist()
        if tokenizer.eos_token_id in new:
            return tokenizer.decode([*ids, *new[: new.index(tokenizer.eos_token_id)]])
        ids = [*ids, *new]
    return tokenizer.decode(ids[: begun + tokens])


def draw(results: dict[str, Any]) -> None:
    """Perplexity of a held-out token while a model learns, and that of the n-grams."""
    with style():
        figure = new_figure(4.2 * len(results), 3.2)
        for axes, (name, result) in zip(
            np.atleast_1d(figure.subplots(1, len(results))), results.items(), strict=True
        ):
            steps = [point["step"] for point in result["curve"]]
            values = [point["perplexity"] for point in result["curve"]]
            axes.plot(steps, values, color=BLUE, marker=".")
            for order, colour in zip(ORDERS, (VERMILLION, GREY), strict=True):
                label = f"{order}-gram"
                height = result["held_out"][label]["token_perplexity"]
                axes.axhline(height, color=colour, linestyle="--", label=label)
            axes.set(xlabel="step", ylabel="perplexity", title=SUBJECTS[name].title, yscale="log")
            for set_formatter in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
                set_formatter(ScalarFormatter())
            axes.legend()
        save(figure, PICTURE)


def table(results: dict[str, Any]) -> str:
    """A row a model: perplexities of the held-out text by token, word and byte."""
    lines = [
        "| | numbers | a token | a word | a byte | bits per byte |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, result in results.items():
        for model, found in result["held_out"].items():
            title = SUBJECTS[name].title if model == MODEL else f"{model}, the same text"
            cells = [f"{found['numbers']:,}"]
            cells += [f"{found[f'{unit}_perplexity']:.4g}" for unit in ("token", "word", "byte")]
            lines.append(f"| {title} | {' | '.join(cells)} | {found['bits_per_byte']:.3f} |")
    return "\n".join(lines)


def samples(results: dict[str, Any]) -> str:
    """What the models write, in blocks."""
    parts = []
    for name, result in results.items():
        parts.append(f"**{SUBJECTS[name].title}**, {result['steps']:,} steps:")
        parts += [f"```text\n{text.strip()}\n```" for text in result["samples"]]
    return "\n\n".join(parts)


def write(workdir: Path) -> None:
    """The results of what is finished, the picture, and the page."""
    paths = {name: workdir / name / RESULT for name in SUBJECTS}
    results = {name: json.loads(path.read_text()) for name, path in paths.items() if path.exists()}
    (RESULTS / "language_models.json").write_text(json.dumps(results, indent=1) + "\n")
    draw(results)
    fill(PAGE, "perplexities", f"{table(results)}\n\n{FIGURE}")
    fill(PAGE, "samples", samples(results))


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", type=Path, default=Path("runs/language_models"))
    parser.add_argument(
        "--models", nargs="*", choices=SUBJECTS, default=["gpt", "shakespeare"], help="which"
    )
    parser.add_argument("--steps", type=int, help="of each run; the config's where not given")
    parser.add_argument("--stride", type=int, default=0, help="of the window; 0: half of it")
    parser.add_argument("--limit", type=int, help="held-out texts to look at; all if not given")
    options = parser.parse_args()
    for name in options.models:
        pretrain(options.workdir, name, options.steps)
        folder = options.workdir / name
        result = assess(folder, SUBJECTS[name], stride=options.stride, limit=options.limit)
        write_atomically(folder / RESULT, json.dumps(result, indent=1) + "\n")
        write(options.workdir)
        print(table({name: result}), flush=True)


if __name__ == "__main__":
    main()
