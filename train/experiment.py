"""An experiment: everything that decides a run, as one tree of frozen dataclasses.

A config file composes one; the command line overrides its fields; the run's folder keeps it as
JSON, from which `evaluate`, `generate` and a resumed run build it again.
"""

import dataclasses
import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import flax.linen as nn
import numpy as np
from jaxtyping import Array

from flaxformers_edu.errors import InputError, unknown_name
from flaxformers_edu.optim.optimizers import Optimizer
from flaxformers_edu.optim.schedules import Schedule
from flaxformers_edu.sharding import MeshShape
from flaxformers_edu.text.tokenizer import Tokenizer
from train.bad_steps import BadSteps
from train.examples import EncodedExamples
from train.pipeline import Batching
from train.profiling import parse_steps


class ModelConfig(Protocol):
    """What the trainer knows of a family: how to build it, and what text must agree with."""

    vocab_size: int
    pad_token_id: int
    eos_token_id: int
    dtype: str
    """Of the computation."""

    def build(self, task: str) -> nn.Module: ...

    def forward_flops(
        self, shapes: Mapping[str, tuple[int, ...]], *, masked: bool = False, task: str = "base"
    ) -> dict[str, float]:
        """FLOPs of a forward pass by part, in the conventions of `flaxformers_edu.flops`."""
        ...


EncodedRow = dict[str, list[int]] | dict[str, list[float]] | dict[str, list[int] | list[float]]


class Objective(Protocol):
    """What the trainer knows of a training idea."""

    task: str
    metric: str
    higher_is_better: bool
    predicts: bool
    """Whether it is judged by what the model says of examples: then it is a PredictingObjective."""
    generates: bool
    """Whether the model says it in a text of its own: then it is a GenerativeObjective."""

    def texts(self, example: Mapping[str, Any]) -> list[str]: ...

    def encode(
        self, example: Mapping[str, Any], tokenizer: Tokenizer, *, max_length: int
    ) -> EncodedRow | list[EncodedRow]:
        """An example as numbers: one row, or several where one row of max_length cannot hold it.

        Where the objective has `encode_corpus(examples, tokenizer, *, max_length, seed)`, which
        yields rows made of the whole corpus, that is used instead.
        """
        ...

    def collate(self, config: Any, *, packed: bool = False) -> Callable[..., dict]: ...

    def loss(
        self, model: nn.Module, params: Any, batch: Mapping[str, Array], dropout_key: Array | None
    ) -> Any: ...

    def measures(self, means: dict[str, float]) -> dict[str, float]:
        """What the mean loss and its counts say, in the terms of this objective.

        An objective whose batches are to move the parameters more or less than others has
        `update_factor(batch)`, too: a number that multiplies the learning rate. One whose training
        changes as it goes on has `scheduled(batch, updates)`: the batch with what depends on the
        number of updates made, in arrays whose first axis is the rows.
        """
        ...


class CarryingObjective(Objective, Protocol):
    """What the trainer knows of an objective whose batches follow each other.

    A corpus is read as parallel streams (`train/streams.py`): row b of a batch goes on where row b
    of the batch before ended, with what the model remembers. That is part of the training state.
    """

    def start(self, model: nn.Module, rows: int) -> Any:
        """What is remembered before the first batch: a tree of arrays whose first axis is rows."""
        ...

    def carried_loss(
        self,
        model: nn.Module,
        params: Any,
        batch: Mapping[str, Array],
        dropout_key: Array | None,
        carried: Any,
    ) -> tuple[Any, Any]:
        """The loss, and what is remembered after the batch; batch["begins"] says which rows forget
        what is before them.
        """
        ...

    def lengths(self, rng: np.random.Generator, longest: int, number: int) -> np.ndarray:
        """Lengths of the windows of so many batches in turn, [number], from 1 to longest."""
        ...


def carries(objective: Any) -> bool:
    """Whether an objective is a CarryingObjective."""
    return hasattr(objective, "carried_loss")


class PredictingObjective(Objective, Protocol):
    """What the trainer knows of an objective whose predictions are compared with the truth."""

    def predict(
        self, model: nn.Module, params: Any, batch: Mapping[str, Array], **settings: Any
    ) -> dict[str, Array]:
        """What the model says of each row of a batch: arrays whose first axis is the rows."""
        ...

    def outcomes(
        self,
        rows: Sequence[Mapping[str, np.ndarray]],
        encoded: EncodedExamples,
        examples: Sequence[Mapping[str, Any]],
        tokenizer: Tokenizer,
    ) -> list[Any]:
        """One outcome an example, fit for JSON.

        rows[i] is what `predict` said of encoded[i], which came from the example
        encoded.origins[i].
        """
        ...

    def score(
        self, outcomes: Sequence[Any], examples: Sequence[Mapping[str, Any]]
    ) -> dict[str, float]: ...


class GenerativeObjective(PredictingObjective, Protocol):
    """What the trainer knows of one whose predictions are texts, found by `decoding.generate`.

    `predict` is given the settings of the search; outcomes are texts.
    """

    def alignment(
        self, model: nn.Module, params: Any, source_ids: Sequence[int], target_ids: Sequence[int]
    ) -> Array: ...


TokenizerKind = Literal[
    "unigram", "bpe", "albert", "wordpiece", "byte_bpe", "gpt2", "characters", "elmo", "folder"
]


@dataclasses.dataclass(frozen=True)
class TokenizerSpec:
    """Where the tokeniser comes from. Its size is model.vocab_size."""

    kind: TokenizerKind = "unigram"
    """Trained on the training split: unigram, bpe (sentencepiece), albert (unigram with ALBERT's
    template), wordpiece (BERT's), byte_bpe (RoBERTa's), gpt2 (the same with <|endoftext|> alone, as
    id 0), characters (after <|endoftext|> and <unk>), elmo (words spelt in
    characters, and a vocabulary of words for the output); folder: taken as it is."""
    folder: str = ""
    """For kind folder: where spm.model, tokenizer.json, vocab.txt or vocab.json lies."""
    max_examples: int = 1_000_000
    """Examples that it is trained on at most, taken evenly from the training split."""
    byte_fallback: bool = False
    """Characters outside the vocabulary become bytes instead of the unknown token."""
    lower_case: bool = True
    """For wordpiece and albert: whether text is lower-cased."""
    strip_accents: bool = False
    """For wordpiece and albert: whether accents are taken off, which takes Hangul apart."""
    task_tokens: bool = False
    """Whether GPT-1's start, delimiter and extract tokens are added, and lay out its texts. With
    init the table of tokens grows by as many rows."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(TokenizerKind):
            raise unknown_name("tokenizer.kind", self.kind, get_args(TokenizerKind))
        if self.kind == "folder" and not self.folder:
            raise InputError("tokenizer.kind is 'folder': set tokenizer.folder")
        if self.max_examples < 1:
            raise InputError(
                f"tokenizer.max_examples is {self.max_examples}; it must be at least 1"
            )


@dataclasses.dataclass(frozen=True)
class Decoding:
    """How predictions are made when a run is evaluated."""

    num_beams: int = 5
    """Beam width of the final evaluation (greedy is reported beside it)."""
    length_penalty: float = 1.0
    """Exponent on the length that divides a hypothesis' log-probability."""
    max_new_tokens: int = 128
    """Longest prediction."""

    def __post_init__(self) -> None:
        for field in ("num_beams", "max_new_tokens"):
            if getattr(self, field) < 1:
                raise InputError(
                    f"decoding.{field} is {getattr(self, field)}; it must be at least 1"
                )
        if not math.isfinite(self.length_penalty):
            raise InputError(f"decoding.length_penalty is {self.length_penalty}; it must be finite")


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One run. Every field can be overridden: --steps 500 --model.num-layers 2 --mesh.data 4."""

    name: str
    """What the run is called in its report."""
    model: Any
    """The family's config."""
    objective: Any
    """The training idea."""
    source: Any
    """Where examples come from."""
    tokenizer: TokenizerSpec = TokenizerSpec()
    """How text becomes ids."""
    batching: Batching = Batching()
    """How examples become batches."""
    optimizer: Optimizer = Optimizer()
    """How gradients become updates."""
    schedule: Schedule = Schedule()
    """How the learning rate moves."""
    mesh: MeshShape = MeshShape()
    """How devices are arranged."""
    decoding: Decoding = Decoding()
    """How predictions are made for evaluation."""
    steps: int = 1000
    """Updates of the whole run."""
    accumulation: int = 1
    """Parts into which a batch is split; gradients are added up, weighted by tokens."""
    ema_decay: float = 0.0
    """Evaluate an exponential moving average of the parameters with this decay; 0: the last ones.
    It stands in for the paper's averaging of checkpoints (section 6.1)."""
    nt_asgd: int = 0
    """Averaging that is triggered (NT-ASGD; Merity et al. 2017, section 3.1): once an evaluation is
    no better than the best of those more than so many before it, the mean of all parameters from
    there on is evaluated and kept; 0: never."""
    noise_scale: bool = False
    """Measure the gradient noise scale (the critical batch size, in tokens) from the parts of an
    accumulated step, and log it; accumulation must be 2 or more."""
    bad_steps: BadSteps = BadSteps()
    """What happens to a step that is not finite, or a spike."""
    log_every: int = 20
    """Steps between lines of the log."""
    eval_every: int = 200
    """Steps between evaluations on the validation split."""
    eval_examples: int = 200
    """Validation examples for which texts are generated and scored then, 0: none. The loss, and
    the scores of objectives that generate nothing, are over all."""
    checkpoint_every: int = 200
    """Steps between checkpoints; the best by the objective's metric is kept, and the last."""
    keep_last: int = 2
    """Newest checkpoints that are kept."""
    keep_every: int = 0
    """Besides, checkpoints of steps that are a multiple of this are kept for ever; 0: none."""
    init: str = ""
    """Folder of a run, or of Hugging Face, that the body begins from; its sizes and its tokeniser
    are taken, the task's head is new. Empty: random numbers."""
    teacher: str = ""
    """Folder of a run, or of Hugging Face, that the student of a distillation learns from."""
    patience: int = 0
    """Evaluations in a row without a better metric after which the run ends; 0: never."""
    seed: int = 0
    """Of parameters, dropout and the order of the data."""
    profile: str = ""
    """Steps whose trace is written to DIR/profile, first and last: 10:13."""

    def __post_init__(self) -> None:
        every = ("log_every", "eval_every", "checkpoint_every")
        for field in ("steps", "accumulation", *every, "keep_last"):
            if getattr(self, field) < 1:
                raise InputError(f"{field} is {getattr(self, field)}; it must be at least 1")
        for field in ("seed", "eval_examples", "keep_every", "patience", "nt_asgd"):
            if getattr(self, field) < 0:
                raise InputError(f"{field} is {getattr(self, field)}; it must be 0 or more")
        parse_steps(self.profile)
        if not 0 <= self.ema_decay < 1:
            raise InputError(f"ema_decay is {self.ema_decay}; it must be at least 0 and below 1")
        if self.noise_scale and self.accumulation < 2:
            raise InputError(
                f"noise_scale compares parts of a batch and accumulation is {self.accumulation}; "
                "it must be at least 2"
            )

        if self.nt_asgd and self.ema_decay:
            raise InputError(
                f"nt_asgd is {self.nt_asgd} and ema_decay {self.ema_decay}: there is one average; "
                "set one of the two to 0"
            )
        self._check_streams()
        full = self.batching.ramp.full
        if self.accumulation % full and full % self.accumulation:
            raise InputError(
                f"accumulation is {self.accumulation}; it must divide the growth of the batch, "
                f"{full}, or be a multiple of it"
            )

    def _check_streams(self) -> None:
        """Refuses what streams of text cannot have."""
        if not carries(self.objective):
            return
        batching = self.batching
        for field, given in (("packing", batching.packing), ("a ramp", batching.ramp.full > 1)):
            if given:
                raise InputError(f"batching has {field}, but text is read as streams: unset it")
        if self.accumulation > 1 and self.streams % self.accumulation:
            raise InputError(
                f"accumulation is {self.accumulation}; it must divide the {self.streams} streams "
                "(batching.tokens_per_batch / max_source_length)"
            )
        if self.streams < 1:
            raise InputError(
                f"batching.tokens_per_batch={batching.tokens_per_batch} is not one window of "
                f"max_source_length={batching.max_source_length}"
            )

    @property
    def streams(self) -> int:
        """Rows of a batch where text is read as streams; 0 for other objectives."""
        if not carries(self.objective):
            return 0
        return self.batching.tokens_per_batch // self.batching.max_source_length

    @property
    def state_parts(self) -> dict[str, Any]:
        """The optional parts of its training state, as `create_state` takes them."""
        start = partial(self.objective.start, rows=self.streams) if self.streams else None
        return {
            "ema": self.ema_decay > 0 or self.nt_asgd > 0,
            "triggered": self.nt_asgd > 0,
            "guard": self.bad_steps.guarded,
            "noise": self.noise_scale,
            "start": start,
        }


MAY_CHANGE = (
    *("name", "steps", "mesh", "decoding"),
    *("log_every", "eval_every", "eval_examples", "checkpoint_every", "keep_last", "keep_every"),
    *("patience", "profile"),
    *("bad_steps.max_in_a_row", "bad_steps.leave_out", "bad_steps.max_rollbacks"),
)
"""Fields that a resumed run may change: all others decide what its numbers mean. The limits of
`bad_steps` are the way on for a run that they have stopped."""


def to_json(value: Any) -> Any:
    """A tree of dataclasses as JSON values; each dataclass says which it is under "class"."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kind = f"{type(value).__module__}:{type(value).__qualname__}"
        fields = {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"class": kind, **fields}
    if isinstance(value, (tuple, list)):
        return [to_json(v) for v in value]
    if isinstance(value, Path):
        return str(value)
    return value


def from_json(value: Any) -> Any:
    """The inverse of `to_json`; builds dataclasses of this project only.

    Raises:
        InputError: a class or a field that this version does not know, or that is missing.
    """
    if isinstance(value, list):
        return tuple(from_json(v) for v in value)
    if not isinstance(value, dict):
        return value
    kind = _class_named(value.get("class"))
    known = {f.name for f in dataclasses.fields(kind)}
    fields = {name: from_json(v) for name, v in value.items() if name != "class"}
    for name in sorted(fields.keys() - known):
        raise unknown_name(f"field of {kind.__name__}", name, known)
    try:
        return kind(**fields)
    except TypeError as error:  # a field is missing, or its value is of another type
        raise InputError(f"{kind.__name__} cannot be built: {error}") from error


def _class_named(name: Any) -> Any:
    module, _, kind_name = str(name).partition(":")
    if module.partition(".")[0] not in ("flaxformers_edu", "train"):
        raise InputError(f"class {name!r} is not of this project")
    try:
        kind = getattr(importlib.import_module(module), kind_name, None)
    except ModuleNotFoundError:
        kind = None
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        raise InputError(f"class {name!r} is unknown to this version")
    return kind


def differences(old: Any, new: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    """Leaves of two JSON trees that differ, as (dotted path, old, new)."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return [] if old == new else [(path, old, new)]
    found = []
    for key in sorted(old.keys() | new.keys()):
        inner = f"{path}.{key}" if path else key
        found += differences(old.get(key), new.get(key), inner)
    return found


def with_newer_fields(saved: Any, now: Any) -> Any:
    """What an earlier version wrote, with the defaults of fields that it did not know.

    Classes are those of `now`, the experiment that it is compared with: those of a config file of
    the user's own cannot be looked up by the names that are written.
    """
    if isinstance(saved, list) and isinstance(now, (tuple, list)) and len(saved) == len(now):
        return [with_newer_fields(old, new) for old, new in zip(saved, now, strict=True)]
    if not (isinstance(saved, dict) and dataclasses.is_dataclass(now)):
        return saved
    known = dict(saved)
    for field in dataclasses.fields(now):
        if field.name in saved:
            known[field.name] = with_newer_fields(saved[field.name], getattr(now, field.name))
        elif field.default is not dataclasses.MISSING:
            known[field.name] = to_json(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            known[field.name] = to_json(field.default_factory())
    return known


def check_same_run(saved: Any, experiment: Experiment, workdir: Path) -> None:
    """Refuses to resume a run, of which a folder has `saved`, as another experiment.

    Raises:
        InputError: naming the first field that differs and may not.
    """
    old = with_newer_fields(saved, experiment)
    for path, before, after in differences(old, to_json(experiment)):
        if path not in MAY_CHANGE and path.partition(".")[0] not in MAY_CHANGE:
            raise InputError(
                f"{workdir} holds a run with {path}={before!r}, and now it is {after!r}; "
                "resume it with the same value, or give another --workdir"
            )
