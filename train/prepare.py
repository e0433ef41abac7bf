"""From an experiment to what a run works with: folder, tokeniser, model, examples, checked."""

import contextlib
import dataclasses
import json
import os
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Any

import flax.linen as nn

from flaxformers_edu.errors import InputError
from flaxformers_edu.text.task_tokens import TASK_TOKENS
from flaxformers_edu.text.tokenizer import Tokenizer, load_tokenizer
from flaxformers_edu.text.training import train_tokenizer
from train.encoding import encode_examples
from train.examples import EncodedExamples, Examples
from train.experiment import Experiment, TokenizerSpec
from train.lock import check_free
from train.log import write_atomically
from train.pipeline import Batching
from train.protocols import carries
from train.saved import check_same_run, from_json, to_json

CONFIG = "config.json"
TOKENIZER = "tokenizer"


@dataclasses.dataclass(frozen=True)
class Run:
    """A run's folder, opened: what is decided, before any array exists."""

    workdir: Path
    experiment: Experiment
    tokenizer: Tokenizer
    model: nn.Module
    rows_multiple_of: int = 0
    """What the rows of its batches are a multiple of, decided by the mesh that it began on and kept
    on any other, so that its batches stay what they were; 0: it is new."""

    def encode(self, examples: Examples, batching: Batching) -> EncodedExamples:
        """Examples of the source as rows of numbers.

        Raises:
            InputError: one that is over the maximum length, where batching does not allow it, or
                that is not as the objective needs it.
        """
        objective, limit = self.experiment.objective, batching.max_source_length
        if carries(objective):  # texts of any length are read window by window
            batching = Batching(max_source_length=sys.maxsize)
        if hasattr(objective, "encode_corpus"):
            rows = objective.encode_corpus(
                examples, self.tokenizer, max_length=limit, seed=self.experiment.seed
            )
            return encode_examples(rows, dict, batching)
        encode = partial(objective.encode, tokenizer=self.tokenizer, max_length=limit)
        return encode_examples(examples, encode, batching)


def check_writable(workdir: Path) -> None:
    """Finds out now whether the folder can be made and written to; leaves nothing behind.

    Raises:
        InputError: it cannot.
    """
    made = [folder for folder in (workdir, *workdir.parents) if not folder.exists()]
    probe = workdir / ".writable"
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"\0" * 4096)
        probe.unlink()
    except OSError as error:
        raise InputError(
            f"cannot write to {workdir}: {error.strerror}; give another --workdir"
        ) from error
    finally:
        for folder in made:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def check_folder(experiment: Experiment, workdir: Path) -> None:
    """Refuses a folder that cannot be written to, is in use, or holds a run of something else.

    Raises:
        InputError: naming the process that trains there, or the field that differs.
    """
    check_writable(workdir)
    check_free(workdir)
    if (workdir / CONFIG).exists():
        check_same_run(read_config(workdir)["experiment"], experiment, workdir)


def open_for_training(experiment: Experiment, workdir: Path, train_split: Examples) -> Run:
    """A new run with a tokeniser trained for it, or with the one the folder holds; writes nothing.

    Raises:
        InputError: tokeniser and model do not belong together, or there is no tokeniser to be had.
    """
    if not (workdir / CONFIG).exists():
        return _opened(workdir, experiment, make_tokenizer(experiment, train_split))
    saved = read_config(workdir)
    opened = _opened(workdir, experiment, _saved_tokenizer(workdir, saved))
    return dataclasses.replace(opened, rows_multiple_of=saved.get("rows_multiple_of", 0))


def write_config(run: Run) -> None:
    """Makes the folder a run's: tokeniser first, for without config.json nothing counts.

    Raises:
        OSError: the disk is full; what was begun is removed.
    """
    new = not (run.workdir / CONFIG).exists()
    config = {
        "experiment": to_json(run.experiment),
        "tokenizer": run.tokenizer.fingerprint,
        "rows_multiple_of": run.rows_multiple_of,
    }
    text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
    try:
        run.workdir.mkdir(parents=True, exist_ok=True)
        if new:
            run.tokenizer.save(run.workdir / TOKENIZER)
        write_atomically(run.workdir / CONFIG, text)
    except OSError as error:
        if new:
            shutil.rmtree(run.workdir / TOKENIZER, ignore_errors=True)
            with contextlib.suppress(OSError):
                run.workdir.rmdir()
        raise OSError(error.errno, error.strerror, str(run.workdir)) from error


def open_finished(workdir: Path) -> Run:
    """Opens a run's folder to use it.

    Raises:
        InputError: there is no run, or its parts do not belong together.
    """
    saved = read_config(workdir)
    try:
        experiment = from_json(saved["experiment"])
    except InputError as error:
        raise InputError(f"{workdir / CONFIG} is damaged or of another version: {error}") from error
    if not isinstance(experiment, Experiment):
        raise InputError(f"{workdir / CONFIG} holds no experiment")
    return _opened(workdir, experiment, _saved_tokenizer(workdir, saved))


def is_run(folder: Path) -> bool:
    """Whether a folder's config.json is that of a run, rather than, say, Hugging Face's."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and "experiment" in config


def read_config(workdir: Path) -> dict[str, Any]:
    """DIR/config.json.

    Raises:
        InputError: it is absent or unreadable.
    """
    path = workdir / CONFIG
    if not path.exists():
        raise InputError(f"{workdir} is not the folder of a run: it has no {CONFIG}")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        config["experiment"], config["tokenizer"][:1]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is damaged ({error}); put it back, or give another --workdir"
        ) from error
    return config


def make_tokenizer(experiment: Experiment, train_split: Examples) -> Tokenizer:
    """Trains the experiment's tokeniser on the training split, or loads the one it names."""
    spec, objective = experiment.tokenizer, experiment.objective
    if spec.kind == "folder":
        return tokenizer_in(spec)
    stride = -(-len(train_split) // spec.max_examples) or 1
    texts = (
        text for i in range(0, len(train_split), stride) for text in objective.texts(train_split[i])
    )
    trained = train_tokenizer(
        spec.kind,
        texts,
        vocab_size=experiment.model.vocab_size - len(TASK_TOKENS) * spec.task_tokens,
        byte_fallback=spec.byte_fallback,
        lower_case=spec.lower_case,
        strip_accents=spec.strip_accents,
    )
    return trained.with_task_tokens() if spec.task_tokens else trained


def tokenizer_in(spec: TokenizerSpec) -> Tokenizer:
    """The tokeniser of the folder that it names.

    Raises:
        InputError: there is none, or a broken one.
    """
    found = load_tokenizer(Path(os.path.expandvars(spec.folder)).expanduser())
    return found.with_task_tokens() if spec.task_tokens else found


def check_tokenizer(model: Any, tokenizer: Tokenizer) -> None:
    """Refuses a tokeniser that is not the model's.

    Raises:
        InputError: their sizes or special ids do not agree.
    """
    if tokenizer.vocab_size > model.vocab_size:
        raise InputError(
            f"the tokeniser has {tokenizer.vocab_size} pieces, more than "
            f"model.vocab_size={model.vocab_size}: set that to {tokenizer.vocab_size}, or give "
            "the model's own tokeniser"
        )
    for name in ("pad_token_id", "eos_token_id", "mask_token_id"):
        ours, theirs = getattr(model, name, None), getattr(tokenizer, name)
        if None not in (ours, theirs) and ours != theirs:
            raise InputError(
                f"the tokeniser's {name} is {theirs}, the model's {ours}: set model.{name} to "
                f"{theirs}, or give the model's own tokeniser"
            )


def _opened(workdir: Path, experiment: Experiment, tokenizer: Tokenizer) -> Run:
    check_tokenizer(experiment.model, tokenizer)
    model = experiment.model.build(experiment.objective.task)
    return Run(workdir, experiment, tokenizer, model)


def _saved_tokenizer(workdir: Path, saved: dict[str, Any]) -> Tokenizer:
    tokenizer = load_tokenizer(workdir / TOKENIZER)
    if tokenizer.fingerprint != saved["tokenizer"]:
        raise InputError(
            f"{workdir / TOKENIZER} is not the tokeniser that this model was trained with (its "
            f"fingerprint is {tokenizer.fingerprint[:12]}, the run's {saved['tokenizer'][:12]}); "
            "put the run's own back"
        )
    return tokenizer
