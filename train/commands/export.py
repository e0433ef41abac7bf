"""The command `export`: a run's model as a folder that Hugging Face's transformers loads."""

import dataclasses
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import tyro

from flaxformers_edu import interop
from flaxformers_edu.sharding import MeshShape
from train.experiment import Experiment
from train.log import METRICS, read_records
from train.placement import on_host
from train.prepare import Run, open_finished
from train.restore import load_params
from train.saved import to_json
from train.state import count

CARD = "README.md"


@dataclasses.dataclass(frozen=True)
class Export:
    """Writes a run's model, its tokeniser and a model card in Hugging Face's format."""

    folder: Annotated[Path, tyro.conf.Positional]
    """New folder for config.json, model.safetensors, the tokeniser's files and README.md."""
    checkpoint: str = "best"
    """best, last, or a step."""


def export(workdir: Path, options: Export) -> int:
    """The command; says what was written."""
    run = open_finished(workdir)
    mesh = MeshShape().build(jax.devices()[:1])
    params, step = load_params(run, options.checkpoint, mesh)
    pretrained = exported(run, on_host(params))
    interop.save_pretrained(options.folder, pretrained)
    card = model_card(run, step, count(pretrained.params), options)
    (options.folder / CARD).write_text(card, encoding="utf-8")
    print(f"{options.folder}: {count(pretrained.params):,} parameters of step {step}, and {CARD}")
    return 0


def exported(run: Run, params: Any) -> interop.Pretrained:
    """What of a run others can use: of a student and a teacher the student, of ELECTRA's two
    networks the discriminator; with the names of its labels, where it has some.
    """
    experiment, task = run.experiment, run.experiment.objective.task
    config = experiment.model
    if "student" in params:
        config, params = config.student, params["student"]
    elif "discriminator" in params:
        task, params = "pretraining", params["discriminator"]
    labels: Mapping[str, Any] = {}
    if names := getattr(experiment.objective, "labels", ()):
        labels = {
            "id2label": {str(i): name for i, name in enumerate(names)},
            "label2id": {name: i for i, name in enumerate(names)},
        }
    return interop.Pretrained(
        model=config.build(task),
        params=jax.tree.map(np.asarray, params),
        tokenizer=run.tokenizer,
        config=config,
        task=task,
        original=labels,
    )


def model_card(run: Run, step: int, parameters: int, options: Export) -> str:
    """Markdown: what the model is, what it learnt from, how, and how well it does."""
    experiment = run.experiment
    kind, objective = type(experiment.model).__name__, type(experiment.objective)
    sections = [
        f"# {experiment.name}",
        f"A {kind.removesuffix('Config')} of {parameters:,} parameters, trained with "
        f"flaxformers_edu. {first_line(objective.__doc__)}",
        "## Data\n\n" + fields(experiment.source),
        f"## Training\n\nCheckpoint of step {step:,} of {experiment.steps:,}.\n\n"
        + how_made(experiment),
        "## Scores\n\n" + scores(run.workdir),
        "## How this folder was made\n\n```\n"
        + shlex.join(
            ["python", "-m", "train", "export", run.workdir.name, options.folder.name,
             "--checkpoint", options.checkpoint]
        )
        + "\n```",
    ]  # fmt: skip
    return "\n\n".join(sections) + "\n"


def how_made(experiment: Experiment) -> str:
    """What decided the training, field by field."""
    beginning = {"init": experiment.init, "teacher": experiment.teacher}
    lines = [f"- {name}: {Path(folder).name}" for name, folder in beginning.items() if folder]
    lines += [f"- seed: {experiment.seed}"]
    for name in ("objective", "batching", "optimizer", "schedule"):
        lines.append(f"- {name}:\n" + indented(fields(getattr(experiment, name))))
    return "\n".join(lines)


def fields(config: Any) -> str:
    """A dataclass as a list: its name, and what differs from its defaults."""
    given = [
        f"- {field.name}: {json.dumps(to_json(getattr(config, field.name)), ensure_ascii=False)}"
        for field in dataclasses.fields(config)
        if getattr(config, field.name) != field.default
    ]
    return "\n".join([f"- {type(config).__name__}", *given])


def indented(text: str) -> str:
    """Every line two spaces further in."""
    return "\n".join(f"  {line}" for line in text.splitlines())


def scores(workdir: Path) -> str:
    """A table of what the finished run found; a sentence where it is not finished."""
    records = read_records(workdir / METRICS)
    if not records or not records[-1].get("final"):
        return "The run is not finished: there are none yet."
    found = {name: value for name, value in records[-1].items() if "/" in name}
    rows = [f"| {name} | {value:.4g} |" for name, value in found.items() if value is not None]
    of = f"Of the checkpoint of step {records[-1]['best_step']:,}, the best in validation."
    return "\n".join([of, "", "| metric | value |", "|---|---|", *rows])


def first_line(text: str | None) -> str:
    """Of a docstring."""
    return (text or "").partition("\n")[0]
