"""The model that commands let go on from a text."""

from pathlib import Path

import jax

from flaxformers_edu import interop
from flaxformers_edu.errors import InputError
from flaxformers_edu.sharding import MeshShape
from train.commands.export import exported
from train.prepare import CONFIG, Run, is_run, open_finished
from train.restore import load_params

TASK = "causal_lm"


def language_model(folder: Path, checkpoint: str) -> interop.Pretrained:
    """A model that continues texts, from a run's folder or one of Hugging Face.

    Raises:
        InputError: the folder is neither, or its model has not learnt it.
    """
    if is_run(folder):
        run = open_finished(folder)
        check_continues(run)
        params, _ = load_params(run, checkpoint, MeshShape().build(jax.devices()[:1]))
        return exported(run, params)
    if not (folder / CONFIG).is_file():
        raise InputError(f"{folder} is not the folder of a model: it has no {CONFIG}")
    found = interop.from_pretrained(folder, TASK)
    if found.initialised:
        raise InputError(f"{folder} has no weights for {', '.join(found.initialised)}")
    return found


def check_continues(run: Run) -> None:
    """Raises InputError where a run's model has not learnt to continue texts."""
    task = run.experiment.objective.task
    if task != TASK:
        raise InputError(f"{run.workdir} was not trained to continue texts: its task is {task}")
