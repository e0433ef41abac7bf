"""What a config of BERT or its kin has, and what a forward pass of one costs.

Dims: B batch, T length, D hidden size, E embedding size, F intermediate size, L layers.
"""

import dataclasses
import math
from typing import ClassVar, Literal

import flax.linen as nn

from flaxformers_edu import flops
from flaxformers_edu.errors import InputError, unknown_name
from flaxformers_edu.flops import Shapes
from flaxformers_edu.layers.attention import Implementation
from flaxformers_edu.layers.mlp import activation
from flaxformers_edu.layers.stack import Layout, Remat, Share

TASKS = (
    "base",
    "masked_lm",
    "sequence_classification",
    "token_classification",
    "question_answering",
    "multiple_choice",
)
"""What every family does; some have a "pretraining" of their own, too."""


@dataclasses.dataclass(frozen=True)
class EncoderConfig:
    """What the families have in common; the defaults are BERT-base's."""

    vocab_size: int = 30522
    """Word pieces."""
    embedding_size: int | None = None
    """Size of the embeddings; None: hidden_size."""
    hidden_size: int = 768
    """d_model."""
    num_layers: int = 12
    """Layers."""
    num_heads: int = 12
    """Attention heads; each of size hidden_size / num_heads."""
    intermediate_size: int = 3072
    """d_ff, the width inside the feed-forward network."""
    activation: str = "gelu"
    """relu, gelu, gelu_tanh, quick_gelu or silu."""
    dropout: float = 0.1
    """On the embeddings and on what each sublayer adds to the residual."""
    attention_dropout: float = 0.1
    """On the attention weights."""
    classifier_dropout: float | None = None
    """Before a classifier; None: as dropout."""
    num_token_types: int = 2
    """Kinds of tokens (sentence A, sentence B); 0: none are told apart."""
    max_length: int = 512
    """Longest text."""
    norm_epsilon: float = 1e-12
    """Added to the variance in layer norms."""
    init_std: float = 0.02
    """Standard deviation that weights begin with."""
    pad_token_id: int = 0
    """Padding."""
    eos_token_id: int = 102
    """[SEP], the end of a text."""
    mask_token_id: int = 103
    """[MASK]."""
    num_labels: int = 2
    """Of a classifier of sequences or tokens; 1 is a regression."""
    layout: Layout = "scanned"
    """scanned: compile time independent of depth; unrolled: XLA sees each layer (faster on CPU)."""
    share: Share = "none"
    """Parameters shared by the layers: none, attention, ffn or all."""
    remat: Remat = "none"
    """What the backward pass recomputes: none, full, dots, dots_no_batch, offload."""
    attention_implementation: Implementation = "auto"
    """auto, reference, xla, cudnn or splash."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of the computation; parameters, softmax, norms and loss stay in float32."""

    tasks: ClassVar[tuple[str, ...]] = TASKS
    """What the family does."""
    pooled_tasks: ClassVar[tuple[str, ...]] = ("base", "sequence_classification", "multiple_choice")
    """Those that look at a pooled first token; the others' classifiers at its bare state."""
    two_layer_tasks: ClassVar[tuple[str, ...]] = ()
    """Those whose classifier has a layer between."""
    drop_attention: ClassVar[bool] = True
    """Whether dropout is on what attention adds to the residual, too."""
    span_dropout: ClassVar[float] = 0.0
    """Before the head that answers questions."""

    def __post_init__(self) -> None:
        sizes = ("vocab_size", "hidden_size", "num_layers", "num_heads", "intermediate_size")
        given = ("embedding_size",) if self.embedding_size is not None else ()
        for name in (*sizes, *given, "max_length", "num_labels"):
            if getattr(self, name) < 1:
                raise InputError(f"model.{name} is {getattr(self, name)}; it must be at least 1")
        if self.num_token_types < 0:
            raise InputError(f"model.num_token_types is {self.num_token_types}; it must not be < 0")
        if self.hidden_size % self.num_heads:
            raise InputError(
                f"model.hidden_size {self.hidden_size} does not divide into "
                f"model.num_heads {self.num_heads}"
            )
        for name in ("pad_token_id", "eos_token_id", "mask_token_id"):
            if not 0 <= getattr(self, name) < self.vocab_size:
                raise InputError(
                    f"model.{name} is {getattr(self, name)}; it must be in the vocabulary of "
                    f"{self.vocab_size}"
                )
        activation(self.activation)

    @property
    def width_of_embeddings(self) -> int:
        """Size of the embeddings, given or the states'."""
        return self.embedding_size or self.hidden_size

    @property
    def projects_embeddings(self) -> bool:
        """Whether a linear map takes the embeddings to the size of the states."""
        return self.width_of_embeddings != self.hidden_size

    @property
    def position_offset(self) -> int:
        """Rows of the table of positions before that of the first token."""
        return 0

    @property
    def copies(self) -> tuple[int, ...] | None:
        """Which parameters each layer uses, where groups of layers share them; see `Stack`."""
        return None

    @property
    def depth(self) -> int:
        """How many layers a text passes."""
        return self.num_layers if self.copies is None else len(self.copies)

    @property
    def mlm_activation(self) -> str:
        """In the head of the masked language model."""
        return self.activation

    @property
    def dropout_of_classifier(self) -> float:
        """Before a classifier, given or as everywhere."""
        return self.dropout if self.classifier_dropout is None else self.classifier_dropout

    def build(self, task: str = "base") -> nn.Module:
        """The module.

        Raises:
            InputError: a task that the family does not have.
        """
        raise NotImplementedError

    def check_task(self, task: str) -> None:
        """Raises InputError for a task that the family does not have."""
        if task not in self.tasks:
            raise unknown_name("task", task, self.tasks)

    def forward_flops(
        self, shapes: Shapes, *, masked: bool = False, task: str = "base"
    ) -> dict[str, float]:
        """FLOPs of a forward pass by part, in the conventions of `flaxformers_edu.flops`.

        Args:
            shapes: those of "input_ids" and, where a masked language model looks at these places
                only, of "predict_positions"; others are not looked at.
            masked: means nothing here, no mask hides pairs of real tokens.
            task: whose heads are counted.
        """
        self.check_task(task)
        *rows, T = shapes["input_ids"]
        B = math.prod(rows)
        D, F, L = self.hidden_size, self.intermediate_size, self.depth
        attention = flops.attention(B, T, T, hidden_size=D, num_heads=self.num_heads)
        parts = {
            **flops.within("encoder/attention", attention, L),
            "encoder/mlp": L * flops.feed_forward(B * T, D, F),
        }
        if self.projects_embeddings:
            parts["embedding_projection"] = flops.linear(B * T, self.width_of_embeddings, D)
        if task in self.pooled_tasks:
            parts["pooler"] = flops.linear(B, D, D)
        places = math.prod(shapes.get("predict_positions", (B, T)))
        return parts | self.head_flops(task, B, B * T, places)

    def head_flops(self, task: str, rows: int, tokens: int, places: int) -> dict[str, float]:
        """FLOPs of a task's heads, by part, for so many rows, tokens and predicted places."""
        D, E = self.hidden_size, self.width_of_embeddings
        if task == "masked_lm":
            return {
                "mlm_head": flops.linear(places, D, E),
                "output": flops.linear(places, E, self.vocab_size),
            }
        if task == "question_answering":
            return {"span_head": flops.linear(tokens, D, 2)}
        if task == "token_classification":
            return {"classifier": flops.linear(tokens, D, self.num_labels)}
        if task not in ("sequence_classification", "multiple_choice"):
            return {}
        labels = 1 if task == "multiple_choice" else self.num_labels
        between = flops.linear(rows, D, D) if task in self.two_layer_tasks else 0.0
        return {"classifier": between + flops.linear(rows, D, labels)}


def parameter_count(config: EncoderConfig) -> int:
    """The number of parameters of the body, and of its pooler where it has one, in closed form.

    With V, P and Y rows in the tables of tokens, positions and types, E = embedding size,
    D = hidden_size, F = intermediate_size and biases everywhere: the embeddings and their norm have
    (V + P + Y)E + 2E, their projection ED + D, attention 4(D² + D), the feed-forward network
    2DF + F + D, each with a norm of 2D; the pooler D² + D. So tables that are factorised
    (Lan et al. 2019, section 3.1) cost VE + ED in place of VD.
    """
    c = config
    D, E, F = c.hidden_size, c.width_of_embeddings, c.intermediate_size
    rows = c.vocab_size + c.max_length + c.position_offset + c.num_token_types
    copies = c.num_layers if c.copies is None else max(c.copies) + 1
    attention, mlp, norm = 4 * (D * D + D), 2 * D * F + F + D, 2 * D
    attentions = 1 if c.share in ("attention", "all") and c.copies is None else copies
    mlps = 1 if c.share in ("ffn", "all") and c.copies is None else copies
    layers = attentions * (attention + norm) + mlps * (mlp + norm)
    projection = E * D + D if c.projects_embeddings else 0
    pooler = D * D + D if "base" in c.pooled_tasks else 0
    return rows * E + 2 * E + projection + layers + pooler
