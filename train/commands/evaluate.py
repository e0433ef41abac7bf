"""The command `evaluate`: scores of a finished run on a split."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from flaxformers_edu.errors import InputError
from flaxformers_edu.sharding import MeshShape
from train.evaluate import Evaluator, encode_split
from train.examples import Examples
from train.experiment import Decoding
from train.log import write_atomically
from train.prepare import Run, open_finished
from train.restore import load_params
from train.splits import check_labelled


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Scores a run's predictions on a split."""

    split: str = "test"
    """train, validation or test."""
    checkpoint: str = "best"
    """best, last, or a step."""
    num_beams: int | None = None
    """Beam width; the experiment's when not given. Greedy is reported beside it."""
    length_penalty: float | None = None
    """Exponent on the length; the experiment's when not given."""
    limit: int | None = None
    """Only the first so many examples."""
    output: Path | None = None
    """File for the predictions, one a line: texts, or else JSON."""
    beside: tuple[Path, ...] = ()
    """Folders of other runs with the same labels: what all of them say together is scored."""

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise InputError(f"--limit is {self.limit}; it must be at least 1")


def evaluate(workdir: Path, options: Evaluate) -> int:
    """The command: prints one JSON object, and keeps it in DIR/evaluation-SPLIT.json."""
    run = open_finished(workdir)
    objective = run.experiment.objective
    if options.output is not None and not objective.predicts:
        raise InputError(f"{workdir} is judged by its loss alone: there is nothing for --output")
    decoding = decoding_of(run, options)
    examples = run.experiment.source.load(options.split)
    check_labelled(objective, examples, options.split)
    split = encode_split(run, examples).first(options.limit)
    mesh = MeshShape().build(jax.devices()[:1])
    params, step = load_params(run, options.checkpoint, mesh)
    if options.beside:
        outcomes = said_together([workdir, *options.beside], examples, options)
        scores = objective.score(outcomes, [examples[i] for i in range(len(outcomes))])
    else:
        scores, outcomes = Evaluator(run, mesh).scores(params, split, decoding)
    text = as_json({"split": options.split, "step": step, **scores})
    print(text)
    if options.output is not None:
        lines = outcomes if objective.generates else [as_json(outcome) for outcome in outcomes]
        options.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_atomically(workdir / f"evaluation-{options.split}.json", text + "\n")
    return 0


def said_together(folders: Sequence[Path], examples: Examples, options: Any) -> list[Any]:
    """The outcomes of several runs for the same examples, averaged: an ensemble.

    Each reads with its own tokeniser, in its own direction. `options` has `checkpoint`, and may
    have `limit`.

    Raises:
        InputError: a run cannot be averaged, or has other labels than the first.
    """
    mesh, found, first = MeshShape().build(jax.devices()[:1]), [], None
    for folder in folders:
        run = open_finished(folder)
        objective = run.experiment.objective
        if not hasattr(objective, "averaged"):
            raise InputError(f"{folder} gives no probabilities of labels: it cannot be averaged")
        first = objective if first is None else first
        if objective.labels != first.labels:
            raise InputError(
                f"{folder} has the labels {', '.join(objective.labels)}, and {folders[0]} "
                f"{', '.join(first.labels)}: only the same can be averaged"
            )
        split = encode_split(run, examples).first(getattr(options, "limit", None))
        params, _ = load_params(run, options.checkpoint, mesh)
        found.append(Evaluator(run, mesh).predict(params, split, run.experiment.decoding))
    assert first is not None
    return first.averaged(found)


def as_json(value: Any) -> str:
    """A line of JSON."""
    return json.dumps(value, ensure_ascii=False)


def decoding_of(run: Run, options: Any) -> Decoding:
    """The experiment's decoding with what the command line says instead.

    Raises:
        InputError: a value that cannot be.
    """
    names = [field.name for field in dataclasses.fields(Decoding)]
    given: dict[str, Any] = {name: getattr(options, name, None) for name in names}
    said = {name: value for name, value in given.items() if value is not None}
    return dataclasses.replace(run.experiment.decoding, **said)
