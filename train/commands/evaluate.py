"""The command `evaluate`: scores of a finished run on a split."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax

from flaxformers_edu.errors import InputError
from flaxformers_edu.sharding import MeshShape
from train.evaluate import Evaluator, encode_split
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
    scores, outcomes = Evaluator(run, mesh).scores(params, split, decoding)
    text = as_json({"split": options.split, "step": step, **scores})
    print(text)
    if options.output is not None:
        lines = outcomes if objective.generates else [as_json(outcome) for outcome in outcomes]
        options.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_atomically(workdir / f"evaluation-{options.split}.json", text + "\n")
    return 0


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
