"""An experiment: everything that decides a run, as one tree of frozen dataclasses.

A config file composes one; the command line overrides its fields; the run's folder keeps it as
JSON (train/saved.py), from which `evaluate`, `generate` and a resumed run build it again.
"""

import dataclasses
import math
from functools import partial
from typing import Any, Literal, get_args

from flaxformers_edu.errors import InputError, unknown_name
from flaxformers_edu.optim.optimizers import Optimizer
from flaxformers_edu.optim.schedules import Schedule
from flaxformers_edu.sharding import MeshShape
from train.bad_steps import BadSteps
from train.pipeline import Batching
from train.profiling import parse_steps
from train.protocols import carries

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
