"""What a run begins from: the folder of another run, or one in Hugging Face's format.

It is looked at twice. Before options are parsed, `based_on` gives the experiment the sizes and the
tokeniser of the folder. Before anything compiles, `load` reads the weights, and moves by name what
the new model has, too. A resumed run has all of this in its own folder.
"""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from flaxformers_edu import interop
from flaxformers_edu.errors import InputError
from flaxformers_edu.layers.stack import stack_layers, unstack_layers
from train.experiment import Experiment, TokenizerSpec
from train.growth import Rows, grown, laid_over, told_of_growth
from train.prepare import CONFIG, TOKENIZER, Run, is_run, open_finished, tokenizer_in
from train.restore import load_params
from train.state import TrainState

OWN = (
    *("num_labels", "dropout", "embedding_dropout", "attention_dropout", "classifier_dropout"),
    *("layout", "remat", "attention_implementation", "dtype", "unroll", "head"),
    *("input_dropout", "weight_dropout", "hidden_dropout", "output_dropout", "classifier_size"),
    *("chunk_length", "pooled_length"),
)
"""Fields of a model's config that are the task's or the machine's: they stay as they were."""

OF_TEACHER = ("vocab_size", "pad_token_id", "eos_token_id", "mask_token_id", "num_labels")
"""What a student has in common with its teacher."""

TASK_HEADS = ("classifier", "span_head")
"""Heads that are taken over from the same task only, and only if they have the same labels."""


@dataclasses.dataclass(frozen=True)
class Origin:
    """A folder that a run begins from."""

    folder: Path
    config: Any
    """Of its model."""
    task: str
    tokenizer: Path
    """Folder of its tokeniser."""
    run: Run | None
    """None where the folder is in Hugging Face's format."""


@dataclasses.dataclass(frozen=True)
class Beginning:
    """Parameters that are not random numbers."""

    params: Mapping[str, jax.Array]
    """By their paths. A table of tokens that has grown is as it was: its new rows are random."""
    told: str
    """What was moved, what is new, and what stayed behind, in a line a folder."""

    def of(self, state: TrainState, config: Any) -> TrainState:
        """The state of step 0 with these parameters in it, and an average that begins from them.

        A config that has `start(params) -> params` has the last word: a student may take layers of
        its teacher.
        """
        params = jax.tree_util.tree_map_with_path(
            lambda path, leaf: laid_over(leaf, self.params.get(_name(path))), state.params
        )
        if hasattr(config, "start"):
            started = config.start(params)
            params = jax.tree.map(lambda new, old: _put(new, old.sharding), started, params)
        average = None if state.ema is None else jax.tree.map(jnp.copy, params)
        return dataclasses.replace(state, params=params, ema=average)


def look(folder: str, task: str) -> Origin:
    """What is in a folder; no weights are read.

    Raises:
        InputError: it is neither the folder of a run nor one of Hugging Face.
    """
    path = Path(os.path.expandvars(folder)).expanduser()
    if is_run(path):
        run = open_finished(path)
        config = getattr(run.experiment.model, "student", run.experiment.model)
        return Origin(path, config, run.experiment.objective.task, path / TOKENIZER, run)
    if not (path / CONFIG).is_file() and not interop.is_elmo(path):
        raise InputError(f"{folder} is no folder to begin from: it has no {CONFIG}")
    return Origin(path, interop.pretrained_config(path, task), task, path, None)


def based_on(experiment: Experiment, workdir: Path | None = None) -> Experiment:
    """The experiment with the sizes and the tokeniser of what it begins from, if anything.

    Where `workdir` holds a run that began from the same, its own config has them.

    Raises:
        InputError: a folder that is not there or not known, or a teacher without a student.
    """
    if not experiment.init and not experiment.teacher:
        return experiment
    if workdir is not None and is_run(workdir):
        saved = open_finished(workdir).experiment
        if (saved.init, saved.teacher) == (experiment.init, experiment.teacher):
            return dataclasses.replace(experiment, model=saved.model, tokenizer=saved.tokenizer)
    model, task = experiment.model, experiment.objective.task
    labels = getattr(experiment.objective, "num_labels", None)
    if experiment.teacher:
        if not hasattr(model, "teacher"):
            raise InputError(
                f"--teacher is for distillation, and the model is a {type(model).__name__}"
            )
        origin = look(experiment.teacher, task)
        shared = {name: getattr(origin.config, name) for name in OF_TEACHER}
        student = dataclasses.replace(model.student, **shared)
        model = dataclasses.replace(model, student=student, teacher=origin.config)
    if experiment.init:
        origin = look(experiment.init, task)
        if hasattr(model, "student"):
            student = adapted(origin.config, model.student, labels)
            model = dataclasses.replace(model, student=student)
        else:
            model = adapted(origin.config, model, labels)
    added = experiment.tokenizer.task_tokens
    tokenizer = TokenizerSpec(kind="folder", folder=str(origin.tokenizer), task_tokens=added)
    if added:
        rows = max(model.vocab_size, tokenizer_in(tokenizer).vocab_size)
        model = dataclasses.replace(model, vocab_size=rows)
    return dataclasses.replace(experiment, model=model, tokenizer=tokenizer)


def adapted(found: Any, ours: Any, num_labels: int | None) -> Any:
    """The config of a folder, with what is the task's own from `ours`."""
    known = {field.name for field in dataclasses.fields(found)}
    own = {name: getattr(ours, name) for name in OWN if name in known and hasattr(ours, name)}
    if num_labels is not None and "num_labels" in known:
        own["num_labels"] = num_labels
    return dataclasses.replace(found, **own)


def load(experiment: Experiment, abstract: TrainState, mesh: Mesh) -> Beginning | None:
    """The parameters that come from folders, in their places on the mesh; None where none do.

    Raises:
        InputError: weights that are damaged, missing, or of another architecture.
    """
    model, params = experiment.model, abstract.params
    if hasattr(model, "teacher") and not experiment.teacher:
        raise InputError("the model has a teacher: give the folder of a finished one, --teacher")
    folders = [
        (experiment.init, "student" if hasattr(model, "student") else ""),
        (experiment.teacher, "teacher"),
    ]
    taken: dict[str, jax.Array] = {}
    told = []
    for folder, key in folders:
        if not folder:
            continue
        config, wanted = (getattr(model, key), params[key]) if key else (model, params)
        origin = look(folder, experiment.objective.task)
        there = weights_of(origin, mesh, layout=getattr(config, "layout", "scanned"))
        if "discriminator" in there and "discriminator" not in wanted:
            there = there["discriminator"]
        if origin.task != experiment.objective.task:
            there = {name: module for name, module in there.items() if name not in TASK_HEADS}
        vocabularies = (origin.config.vocab_size, config.vocab_size)
        rows = vocabularies if experiment.tokenizer.task_tokens else None
        fitting, new = match(there, wanted, origin.folder, rows=rows)
        if new and key == "teacher":
            raise InputError(f"teacher {folder} lacks {', '.join(new)}: a teacher is finished")
        left = sorted(there.keys() - wanted.keys())
        told.append(
            f"from {folder}: {', '.join(sorted(set(wanted) - set(new)))}"
            + told_of_growth(rows)
            + (f"; new: {', '.join(new)}" if new else "")
            + (f"; left there: {', '.join(left)}" if left else "")
        )
        taken |= {f"{key}/{name}" if key else name: leaf for name, leaf in fitting.items()}
    return Beginning(taken, "\n".join(told)) if told else None


def weights_of(origin: Origin, mesh: Mesh, *, layout: str) -> dict[str, Any]:
    """The parameters in a folder, layers stacked or apart; without heads that it does not have."""
    if origin.run is not None:
        params, _ = load_params(origin.run, "best", mesh)
        params = params.get("student", params)
    else:
        found = interop.from_pretrained(origin.folder, origin.task, mesh=mesh)
        params = {
            name: module
            for name, module in found.params.items()
            if not any(f"{new}/".startswith(f"{name}/") for new in found.initialised)
        }
    return stack_layers(params) if layout == "scanned" else unstack_layers(params)


def match(
    there: Mapping[str, Any],
    wanted: Mapping[str, Any],
    folder: Path,
    *,
    rows: Rows | None = None,
) -> tuple[dict[str, jax.Array], list[str]]:
    """What the model takes, by path, in its shardings; and its modules that are new.

    rows: tokens there and in the model, where the vocabulary may have grown; what has fewer rows
    for that stays where it lies.

    Raises:
        InputError: a module that both have, but not alike, or none that both have.
    """
    taken: dict[str, jax.Array] = {}
    new = []
    for module, leaves in wanted.items():
        ours, theirs = _flat(leaves), _flat(there.get(module, {}))
        wrong = [
            name
            for name in sorted(ours.keys() | theirs.keys())
            if name not in ours
            or name not in theirs
            or ours[name].shape not in (theirs[name].shape, grown(theirs[name].shape, rows))
        ]
        if not theirs or (wrong and module in TASK_HEADS):
            new.append(module)
            continue
        if wrong:
            shapes = [list(side[wrong[0]].shape) if wrong[0] in side else "absent"
                      for side in (theirs, ours)]  # fmt: skip
            raise InputError(
                f"{folder} is of another architecture: {module}/{wrong[0]} is {shapes[0]} there "
                f"and {shapes[1]} in the model; leave the model's sizes to the folder"
            )
        for name, leaf in theirs.items():
            same = leaf.shape == ours[name].shape
            taken[f"{module}/{name}"] = _put(leaf, ours[name].sharding) if same else leaf
    if not taken:
        raise InputError(
            f"{folder} is of another architecture: it has {', '.join(sorted(there))}, and the "
            f"model {', '.join(sorted(wanted))}"
        )
    return taken, new


def _put(leaf: jax.Array, sharding: Any) -> jax.Array:
    return leaf if leaf.sharding == sharding else jax.device_put(leaf, sharding)


def _flat(tree: Any) -> dict[str, Any]:
    return {_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")
