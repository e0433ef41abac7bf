"""What a config of ELMo has, what a forward pass costs, and how many parameters there are.

Dims: N words, C characters of a word, W width of a filter, F filters, P size of a word's vector,
H units of a cell, V vocabulary.
"""

import dataclasses
import math
from typing import TYPE_CHECKING, ClassVar, Literal

from flaxformers_edu import flops
from flaxformers_edu.errors import InputError, unknown_name
from flaxformers_edu.flops import Shapes
from flaxformers_edu.layers.mlp import activation
from flaxformers_edu.text.characters import MAX_CHARACTERS, NUM_CHARACTERS

if TYPE_CHECKING:
    from flaxformers_edu.models.elmo import Elmo

LANGUAGE, TOKENS, SEQUENCE = "bidirectional_lm", "token_classification", "sequence_classification"
TASKS = ("base", LANGUAGE, TOKENS, SEQUENCE)
FEATURES = ("mixed", "top", "none")
Filters = tuple[tuple[int, int], ...]


def check_filters(field: str, filters: Filters) -> None:
    """Raises InputError for convolutions that cannot be."""
    for width, number in filters:
        if not 1 <= width <= MAX_CHARACTERS or number < 1:
            raise InputError(
                f"{field} has ({width}, {number}); a width must be 1 to {MAX_CHARACTERS} and a "
                "number at least 1"
            )


@dataclasses.dataclass(frozen=True)
class TaskModel:
    """What reads ELMo's vectors in a task: bidirectional LSTMs, beside characters of its own."""

    features: Literal["mixed", "top", "none"] = "mixed"
    """Of the biLM: all layers mixed, the top one alone, or none, for comparison."""
    mix_norm: bool = False
    """Whether layers are normalised before they are mixed."""
    filters: Filters = ((1, 16), (2, 32), (3, 64))
    """(width, number) of the convolutions over characters that the task learns by itself; empty:
    it reads the biLM alone."""
    word_size: int = 64
    """Size of the vectors that these make of words."""
    hidden_size: int = 128
    """Units of each LSTM, in each direction."""
    num_layers: int = 1
    """Bidirectional layers."""
    dropout: float = 0.5
    """On what the LSTMs read and on what they say (paper, section 3.4)."""

    def __post_init__(self) -> None:
        if self.features not in FEATURES:
            raise unknown_name("model.head.features", self.features, FEATURES)
        for name in ("word_size", "hidden_size", "num_layers"):
            if getattr(self, name) < 1:
                raise InputError(f"model.head.{name} is {getattr(self, name)}; it must be >= 1")
        if not self.filters and self.features == "none":
            raise InputError("model.head has features 'none' and no filters: it reads nothing")
        check_filters("model.head.filters", self.filters)


@dataclasses.dataclass(frozen=True)
class ElmoConfig:
    """The defaults are the original model's, of 93.6 million parameters."""

    vocab_size: int = 793471
    """Words that the language model predicts; only its output layer has a row for each."""
    character_size: int = 16
    """Size of a character's embedding."""
    filters: Filters = ((1, 32), (2, 32), (3, 64), (4, 128), (5, 256), (6, 512), (7, 1024))
    """(width, number) of the convolutions over characters."""
    num_highway: int = 2
    """Highway layers between convolutions and projection."""
    activation: str = "relu"
    """After the convolutions: relu or tanh."""
    projection_size: int = 512
    """Size of a word's vector and of each LSTM's output; ELMo's vectors are twice as wide."""
    hidden_size: int = 4096
    """Units of each LSTM's cell."""
    num_layers: int = 2
    """LSTMs of each direction."""
    residual: bool = True
    """Whether each LSTM but the lowest adds its input to its output."""
    cell_clip: float | None = 3.0
    """Bound of the cell's state; None: none."""
    projection_clip: float | None = 3.0
    """Bound of the projected output; None: none."""
    dropout: float = 0.1
    """On what each LSTM reads and on what the output layer does, of the language model alone: in
    other tasks the biLM has none."""
    num_labels: int = 2
    """Of a classifier of sequences or tokens."""
    head: TaskModel = TaskModel()
    """What reads ELMo's vectors in a task."""
    pad_token_id: int = 0
    """The character of which padding consists."""
    eos_token_id: int = 1
    """</S> in the vocabulary."""
    unroll: int = 1
    """Steps of an LSTM that are written out in each round of its loop."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of the computation; parameters, cells and loss stay in float32."""

    layout: ClassVar[str] = "unrolled"
    """Of the layers' parameters."""
    max_characters: ClassVar[int] = MAX_CHARACTERS
    """Numbers of a word."""
    num_characters: ClassVar[int] = NUM_CHARACTERS
    """Rows of the table of characters."""

    def __post_init__(self) -> None:
        sizes = ("vocab_size", "character_size", "projection_size", "hidden_size", "num_layers")
        for name in (*sizes, "num_labels", "unroll"):
            if getattr(self, name) < 1:
                raise InputError(f"model.{name} is {getattr(self, name)}; it must be at least 1")
        if self.num_highway < 0:
            raise InputError(f"model.num_highway is {self.num_highway}; it must not be negative")
        for name in ("cell_clip", "projection_clip"):
            bound = getattr(self, name)
            if bound is not None and bound <= 0:
                raise InputError(f"model.{name} is {bound}; it must be above 0, or None")
        if not self.filters:
            raise InputError("model.filters is empty; give (width, number) of each convolution")
        check_filters("model.filters", self.filters)
        activation(self.activation)

    @property
    def output_size(self) -> int:
        """Size of ELMo's vectors: both directions."""
        return 2 * self.projection_size

    def build(self, task: str = "base") -> "Elmo":
        """The module.

        Raises:
            InputError: a task that the family does not have.
        """
        from flaxformers_edu.models.elmo import Elmo  # whose module needs this one

        if task not in TASKS:
            raise unknown_name("task", task, TASKS)
        return Elmo(self, task)

    def reads_language_model(self, task: str) -> bool:
        """Whether a task has use for the biLM."""
        return task in ("base", LANGUAGE) or self.head.features != "none"

    def forward_flops(
        self, shapes: Shapes, *, masked: bool = False, task: str = "base"
    ) -> dict[str, float]:
        """FLOPs of a forward pass by part, in the conventions of `flaxformers_edu.flops`.

        Args:
            shapes: that of "input_ids", [rows, length, characters]; with "compared_words", [words],
                a place of the language model is compared with so many and not with all.
            masked: means nothing here.
            task: whose heads are counted.
        """
        B, T = shapes["input_ids"][:2]
        N, P, H, head = B * T, self.projection_size, self.hidden_size, self.head
        parts: dict[str, float] = {}
        if self.reads_language_model(task):
            cell = 2 * flops.linear(N, P, 4 * H) + flops.linear(N, H, P)
            parts = flops.within("token_embedder", self._cnn_flops(N))
            parts |= dict.fromkeys(("forward_lm", "backward_lm"), self.num_layers * cell)
        if task == LANGUAGE:
            (words,) = shapes.get("compared_words", (self.vocab_size,))
            parts["output"] = 2 * flops.linear(N, P, words)
        if task not in (TOKENS, SEQUENCE):
            return parts
        size = self.output_size if self.reads_language_model(task) else 0
        if head.filters:
            width = sum(number for _, number in head.filters)
            parts["own_words"] = convolution_flops(N, self.character_size, head.filters)
            parts["own_words"] += flops.linear(N, width, head.word_size)
            size += head.word_size
        units = head.hidden_size
        lstm = [
            2 * flops.linear(N, inputs + units, 4 * units)
            for inputs in (size, *[2 * units] * (head.num_layers - 1))
        ]
        places = N if task == TOKENS else B
        classifier = flops.linear(places, 2 * units, self.num_labels)
        return parts | {"task_encoder": math.fsum(lstm), "classifier": classifier}

    def _cnn_flops(self, words: int) -> dict[str, float]:
        """Of the biLM's reading of characters."""
        width = sum(number for _, number in self.filters)
        return {
            "convolutions": convolution_flops(words, self.character_size, self.filters),
            "highway": 2 * self.num_highway * flops.linear(words, width, width),
            "projection": flops.linear(words, width, self.projection_size),
        }


def convolution_flops(words: int, character_size: int, filters: Filters) -> float:
    """FLOPs of all windows of all widths."""
    return math.fsum(
        flops.linear(words * (MAX_CHARACTERS - width + 1), width * character_size, number)
        for width, number in filters
    )


def parameter_count(config: ElmoConfig, task: str = "base") -> int:
    """The number of parameters of the biLM, and of its output layer, in closed form.

    With E = character_size, F filters in all, P = projection_size, H = hidden_size: the table of
    characters has 262 E, convolutions Σ WEf + F, each highway layer 2(F² + F), the projection
    FP + P; each LSTM 4H · 2P + 4H + HP; the output layer, which both directions share, V(P + 1).
    """
    c = config
    E, F, P, H = c.character_size, sum(n for _, n in c.filters), c.projection_size, c.hidden_size
    characters = c.num_characters * E + sum(w * E * n for w, n in c.filters) + F
    highway = 2 * c.num_highway * (F * F + F)
    lstm = 4 * H * 2 * P + 4 * H + H * P
    output = c.vocab_size * (P + 1) if task == LANGUAGE else 0
    return characters + highway + F * P + P + 2 * c.num_layers * lstm + output
