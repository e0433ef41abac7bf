"""From an experiment to what a run works with: tokeniser, model, examples, checked together."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import flax.linen as nn

from flaxformers_edu.errors import InputError
from flaxformers_edu.text.sentencepiece import train_sentencepiece
from flaxformers_edu.text.tokenizer import Tokenizer, load_tokenizer
from train.experiment import Experiment, check_same_run, from_json, to_json
from train.log import write_atomically
from train.pipeline import Batching, EncodedExamples, encode_examples

CONFIG = "config.json"
TOKENIZER = "tokenizer"


@dataclasses.dataclass(frozen=True)
class Run:
    """A run's folder, opened: what is decided, before any array exists."""

    workdir: Path
    experiment: Experiment
    tokenizer: Tokenizer
    model: nn.Module

    def encode(self, examples: Any, batching: Batching) -> EncodedExamples:
        """Examples of the source as token ids."""
        objective = self.experiment.objective
        return encode_examples(
            examples, lambda example: objective.encode(example, self.tokenizer), batching
        )


def check_writable(workdir: Path) -> None:
    """Makes the folder, and finds out now whether it can be written.

    Raises:
        InputError: it cannot.
    """
    probe = workdir / ".writable"
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"\0" * 4096)
        probe.unlink()
    except OSError as error:
        raise InputError(f"cannot write to {workdir}: {error.strerror}") from error


def open_for_training(experiment: Experiment, workdir: Path, train_split: Any) -> Run:
    """A new run with a tokeniser trained for it, or the one that the folder holds; writes nothing.

    Raises:
        InputError: the folder holds another run, or parts that do not belong together.
    """
    if (workdir / CONFIG).exists():
        saved = read_config(workdir)
        check_same_run(saved["experiment"], to_json(experiment), workdir)
        tokenizer = _saved_tokenizer(workdir, saved)
    else:
        tokenizer = make_tokenizer(experiment, train_split)
    check_tokenizer(experiment.model, tokenizer)
    return Run(workdir, experiment, tokenizer, experiment.model.build(experiment.objective.task))


def write_config(run: Run) -> None:
    """Makes the folder a run's: tokeniser first, for without config.json nothing counts."""
    if not (run.workdir / CONFIG).exists():
        run.tokenizer.save(run.workdir / TOKENIZER)
    config = {"experiment": to_json(run.experiment), "tokenizer": run.tokenizer.fingerprint}
    text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
    write_atomically(run.workdir / CONFIG, text)


def open_finished(workdir: Path) -> Run:
    """Opens a run's folder to use it.

    Raises:
        InputError: there is no run, or its parts do not belong together.
    """
    saved = read_config(workdir)
    experiment = from_json(saved["experiment"])
    tokenizer = _saved_tokenizer(workdir, saved)
    check_tokenizer(experiment.model, tokenizer)
    return Run(workdir, experiment, tokenizer, experiment.model.build(experiment.objective.task))


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
        config["experiment"], config["tokenizer"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not the config of a run: {error}") from error
    return config


def _saved_tokenizer(workdir: Path, saved: dict[str, Any]) -> Tokenizer:
    tokenizer = load_tokenizer(workdir / TOKENIZER)
    if tokenizer.fingerprint != saved["tokenizer"]:
        raise InputError(
            f"{workdir / TOKENIZER} is not the tokeniser that this model was trained with (its "
            f"fingerprint is {tokenizer.fingerprint[:12]}, the run's {saved['tokenizer'][:12]}); "
            "put the run's own back"
        )
    return tokenizer


def make_tokenizer(experiment: Experiment, train_split: Any) -> Tokenizer:
    """Trains the experiment's tokeniser on the training split, or loads the one it names."""
    spec, objective = experiment.tokenizer, experiment.objective
    if spec.kind == "folder":
        if not spec.folder:
            raise InputError("tokenizer.kind is 'folder': set tokenizer.folder")
        return load_tokenizer(Path(os.path.expandvars(spec.folder)).expanduser())
    stride = -(-len(train_split) // spec.max_examples)
    texts = (
        text for i in range(0, len(train_split), stride) for text in objective.texts(train_split[i])
    )
    return train_sentencepiece(
        texts,
        vocab_size=experiment.model.vocab_size,
        model_type=spec.kind,
        byte_fallback=spec.byte_fallback,
    )


def check_tokenizer(model: Any, tokenizer: Tokenizer) -> None:
    """Raises InputError unless tokeniser and model agree on sizes and special ids."""
    if tokenizer.vocab_size > model.vocab_size:
        raise InputError(
            f"the tokeniser has {tokenizer.vocab_size} pieces, more than "
            f"model.vocab_size={model.vocab_size}: it is not this model's"
        )
    for name in ("pad_token_id", "eos_token_id"):
        ours, theirs = getattr(model, name), getattr(tokenizer, name)
        if theirs is not None and ours != theirs:
            raise InputError(
                f"the tokeniser's {name} is {theirs}, the model's {ours}: they do not belong together"
            )
