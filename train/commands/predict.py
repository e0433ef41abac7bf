"""The command `predict`: what a run says of examples that nobody has labelled."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from flaxformers_edu.errors import InputError
from flaxformers_edu.sharding import MeshShape
from train.commands.evaluate import as_json, said_together
from train.evaluate import Evaluator, encode_split
from train.prepare import open_finished
from train.restore import load_params
from train.sources.files import json_objects, read_lines


@dataclasses.dataclass(frozen=True)
class Predict:
    """Writes a JSON object for each example: its fields, and under "prediction" what the run says.

    Examples have the fields that the run's objective reads, such as "text" and "text_pair", or
    "question" and "context"; labels may be there, and are not looked at.
    """

    input: Path
    """File of examples: .jsonl (an object a line) or .tsv (the first line names the fields)."""
    output: Path | None = None
    """File for the predictions (.jsonl); standard output when not given."""
    checkpoint: str = "best"
    """best, last, or a step."""
    beside: tuple[Path, ...] = ()
    """Folders of other runs with the same labels, whose probabilities are averaged with these."""


def predict(workdir: Path, options: Predict) -> int:
    """The command: one line for each example, in their order."""
    run = open_finished(workdir)
    objective = run.experiment.objective
    if not objective.predicts:
        raise InputError(
            f"{workdir} was not trained to answer for examples (its objective predicts nothing)"
        )
    if objective.generates:
        raise InputError(f"{workdir} writes texts: use `generate {workdir}`")
    examples = read_examples(options.input)
    check_fields(objective, examples, options.input)
    if options.beside:
        outcomes = said_together([workdir, *options.beside], examples, options)
    else:
        split = encode_split(run, examples)
        mesh = MeshShape().build(jax.devices()[:1])
        params, _ = load_params(run, options.checkpoint, mesh)
        outcomes = Evaluator(run, mesh).predict(params, split, run.experiment.decoding)
    lines = [
        as_json({**example, "prediction": outcome})
        for example, outcome in zip(examples, outcomes, strict=True)
    ]
    text = "\n".join(lines) + "\n"
    if options.output is None:
        sys.stdout.write(text)
    else:
        options.output.write_text(text, encoding="utf-8")
    return 0


def read_examples(path: Path) -> Sequence[dict[str, Any]]:
    """The examples of a file, by its ending: objects of jsonl, or rows of tsv under its header.

    Raises:
        InputError: another kind of file, one that is not what its name says, or an empty one.
    """
    name = path.name.removesuffix(".gz")
    if name.endswith(".jsonl"):
        return json_objects(path, {})
    if not name.endswith(".tsv"):
        raise InputError(f"--input {path} must be a .jsonl or a .tsv file")
    header, *lines = read_lines(path)
    if not lines:
        raise InputError(f"{path} has a header line but no rows")
    fields = header.split("\t")
    examples = []
    for number, line in enumerate(lines, start=2):
        values = line.split("\t")
        if len(values) != len(fields):
            raise InputError(
                f"{path}, line {number} has {len(values)} tab-separated columns, and the header "
                f"{len(fields)}"
            )
        examples.append(dict(zip(fields, values, strict=True)))
    return examples


def check_fields(objective: Any, examples: Sequence[dict[str, Any]], path: Path) -> None:
    """Raises InputError for an example without a text that the objective reads."""
    for index, example in enumerate(examples):
        try:
            objective.texts(example)
        except KeyError as error:
            raise InputError(
                f"{path}, example {index} has no field {error.args[0]!r}, but "
                f"{', '.join(map(repr, example))}"
            ) from error
        except InputError as error:
            raise InputError(f"{path}, example {index}: {error}") from error
