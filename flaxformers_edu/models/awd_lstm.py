"""AWD-LSTM (Merity et al. 2017, "Regularizing and optimizing LSTM language models"), and ULMFiT's
(Howard & Ruder 2018): their sizes, and what a forward pass costs. The module is in `recurrent_lm`.

Dims: B batch, T length, D inputs and H units of a layer, E embedding size, F hidden layer of a
classifier, V vocabulary.
"""

import dataclasses
from typing import ClassVar, Literal

from flaxformers_edu import flops
from flaxformers_edu.errors import InputError, unknown_name
from flaxformers_edu.flops import Shapes
from flaxformers_edu.models.recurrent_lm import RecurrentLM

__all__ = ["PRESETS", "TASKS", "AWDLSTMConfig", "parameter_count"]

TASKS = ("base", "causal_lm", "sequence_classification")
RATES = ("embedding", "input", "weight", "hidden", "output", "classifier")
"""What has a rate of dropout."""


@dataclasses.dataclass(frozen=True)
class AWDLSTMConfig:
    """The defaults are those of Merity et al. 2017, section 5, for the Penn Treebank."""

    vocab_size: int = 10_000
    """Tokens."""
    embedding_size: int = 400
    """Of a token, and of the last layer's states, which are compared with tokens."""
    hidden_size: int = 1150
    """Units of each layer but the last."""
    num_layers: int = 3
    """LSTM layers."""
    embedding_dropout: float = 0.1
    """Words that are left out of a batch wherever they stand."""
    input_dropout: float = 0.4
    """Features of the embeddings, the same at all places of a text, as the next two."""
    hidden_dropout: float = 0.3
    """On what goes from layer to layer."""
    output_dropout: float = 0.4
    """On what the output layer reads; of a classifier, on the pooled text."""
    weight_dropout: float = 0.5
    """Entries of the matrices from state to state (DropConnect)."""
    classifier_dropout: float = 0.1
    """On a classifier's hidden layer."""
    classifier_size: int = 50
    """Units of a classifier's hidden layer."""
    chunk_length: int = 72
    """A text to classify is read in chunks; gradients do not go from one into the one before."""
    pooled_length: int = 1440
    """Tokens at the end of a text that its pooled vector is made of; a multiple of chunk_length."""
    unroll: int = 2
    """Steps that are written out in each round of the loop over time: on a CPU two take less time
    than one by one (`python -m benchmarks.awd_lstm_step`)."""
    pad_token_id: int = 1
    """Padding."""
    eos_token_id: int = 0
    """End of a text."""
    num_labels: int = 2
    """Of a classifier."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of the computation; parameters, cells and loss stay in float32."""

    tasks: ClassVar[tuple[str, ...]] = TASKS
    layout: ClassVar[str] = "unrolled"
    max_length: ClassVar[int] = 1_000_000
    """There is no longest text; so much is made room for when prompts are padded."""

    def __post_init__(self) -> None:
        sizes = ("vocab_size", "embedding_size", "hidden_size", "num_layers", "classifier_size")
        for name in (*sizes, "chunk_length", "pooled_length", "unroll", "num_labels"):
            if getattr(self, name) < 1:
                raise InputError(f"model.{name} is {getattr(self, name)}; it must be at least 1")
        for name in (f"{rate}_dropout" for rate in RATES):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(
                    f"model.{name} is {getattr(self, name)}; it must be at least 0 and below 1"
                )
        for name in ("pad_token_id", "eos_token_id"):
            if not 0 <= getattr(self, name) < self.vocab_size:
                raise InputError(
                    f"model.{name} is {getattr(self, name)}; it must be in the vocabulary of "
                    f"{self.vocab_size}"
                )
        if self.pooled_length % self.chunk_length:
            raise InputError(
                f"model.pooled_length {self.pooled_length} is no multiple of model.chunk_length "
                f"{self.chunk_length}"
            )

    def scaled_dropout(self, factor: float) -> "AWDLSTMConfig":
        """All rates but the classifier's times one factor, as ULMFiT sets them (drop_mult)."""
        rates = {f"{rate}_dropout": getattr(self, f"{rate}_dropout") for rate in RATES[:-1]}
        return dataclasses.replace(self, **{name: rate * factor for name, rate in rates.items()})

    @property
    def layer_sizes(self) -> tuple[tuple[int, int], ...]:
        """Inputs and units of each layer."""
        units = (*[self.hidden_size] * (self.num_layers - 1), self.embedding_size)
        return tuple(zip((self.embedding_size, *units), units, strict=False))

    def build(self, task: str = "causal_lm") -> RecurrentLM:
        """The module.

        Raises:
            InputError: a task that the family does not have.
        """
        self.check_task(task)
        return RecurrentLM(self, task)

    def check_task(self, task: str) -> None:
        """Raises InputError for a task that the family does not have."""
        if task not in self.tasks:
            raise unknown_name("task", task, self.tasks)

    def forward_flops(
        self, shapes: Shapes, *, masked: bool = False, task: str = "causal_lm"
    ) -> dict[str, float]:
        """FLOPs of a forward pass by part, in the conventions of `flaxformers_edu.flops`.

        Args:
            shapes: that of "input_ids"; others are not looked at.
            masked: there is nothing masked here.
            task: whose heads are counted.
        """
        self.check_task(task)
        B, T = shapes["input_ids"]
        parts = {
            "layers/input": sum(flops.linear(B * T, d, 4 * h) for d, h in self.layer_sizes),
            "layers/recurrent": sum(flops.linear(B * T, h, 4 * h) for _, h in self.layer_sizes),
        }
        if task == "causal_lm":
            parts["output"] = flops.linear(B * T, self.embedding_size, self.vocab_size)
        if task == "sequence_classification":
            F = self.classifier_size
            first, second = ((3 * self.embedding_size, F), (F, self.num_labels))
            parts["classifier"] = flops.linear(B, *first) + flops.linear(B, *second)
        return parts


def parameter_count(config: AWDLSTMConfig, task: str = "causal_lm") -> int:
    """The number of parameters, in closed form.

    VE for the table; 4H (D + H + 2) for a layer of H units on D inputs, which has two biases as in
    torch; V for the output's bias. A classifier's norms have 2 · 3E and 2F, its matrices
    (3E + 1) F and (F + 1) labels.
    """
    c = config
    layers = sum(4 * h * (d + h + 2) for d, h in c.layer_sizes)
    pooled, F = 3 * c.embedding_size, c.classifier_size
    head = 2 * pooled + (pooled + 1) * F + 2 * F + (F + 1) * c.num_labels
    heads = {"causal_lm": c.vocab_size, "sequence_classification": head}
    return c.vocab_size * c.embedding_size + layers + heads.get(task, 0)


PRESETS = {
    "awd-lstm-ptb": AWDLSTMConfig(),
    "awd-lstm-wikitext2": AWDLSTMConfig(vocab_size=33_278, input_dropout=0.65),
    "ulmfit": AWDLSTMConfig(  # as fastai released it: 1,152 units, where the paper says 1,150
        vocab_size=60_000,
        hidden_size=1152,
        embedding_dropout=0.02,
        input_dropout=0.25,
        hidden_dropout=0.15,
        output_dropout=0.1,
        weight_dropout=0.2,
    ),
}
