"""What a config of a decoder-only family has, and what a forward pass of one costs.

Dims: B batch, T length, D hidden size, K head_dim.
"""

import dataclasses
import math
from typing import ClassVar, Literal, get_args

import flax.linen as nn

from flaxformers_edu import flops
from flaxformers_edu.errors import InputError, unknown_name
from flaxformers_edu.flops import Shapes
from flaxformers_edu.layers.attention import Implementation
from flaxformers_edu.layers.mlp import activation
from flaxformers_edu.layers.positions import RopeScaling
from flaxformers_edu.layers.stack import Layout, Remat, Share

TASKS = (
    "base",
    "causal_lm",
    "sequence_classification",
    "multiple_choice",
    "token_classification",
    "question_answering",
)
"""What every family does."""
LANGUAGE_TASKS = ("causal_lm", "multiple_choice")
"""Those that have an output layer, where it is not the table of tokens."""
HIDDEN_MATRICES = r"^decoder/.*kernel$"
"""Both sides of these grow with the width."""

Span = Literal["global", "local"]
"""What a layer's attention sees: all tokens before, or those in its window."""
CHOICES = {
    "norm": ("layer", "rms"),
    "norm_position": ("pre", "post"),
    "positions": ("learned", "rotary"),
    "attention_bias": ("all", "output", "none"),
}


@dataclasses.dataclass(frozen=True)
class DecoderConfig:
    """What the families have in common; the defaults are those of the smallest GPT-2."""

    vocab_size: int = 50257
    """Pieces, and the end of a text."""
    hidden_size: int = 768
    """d_model."""
    num_layers: int = 12
    """Layers."""
    num_heads: int = 12
    """Attention heads."""
    head_dim: int | None = None
    """Size of a head; hidden_size / num_heads where it is not given."""
    num_kv_heads: int | None = None
    """Heads of keys and values, shared by groups of the others (Ainslie et al. 2023); None: all."""
    intermediate_size: int = 3072
    """d_ff, the width inside the feed-forward network."""
    activation: str = "gelu_tanh"
    """relu, gelu, gelu_tanh, quick_gelu or silu."""
    gated: bool = False
    """Whether a second way up multiplies the activation (Shazeer 2020)."""
    norm: Literal["layer", "rms"] = "layer"
    """layer: mean and variance (Ba et al. 2016); rms: the scale alone (Zhang & Sennrich 2019)."""
    norm_position: Literal["pre", "post"] = "pre"
    """pre: before each sublayer, and once more at the end; post: after each residual."""
    norm_epsilon: float = 1e-5
    """Added to the variance in norms."""
    positions: Literal["learned", "rotary"] = "learned"
    """learned: a table, added to the tokens; rotary: queries and keys turn (Su et al. 2021)."""
    rope_theta: float = 10000.0
    """Base of the rates at which rotary positions turn."""
    rope_scaling: RopeScaling | None = None
    """How rotary positions were stretched to a longer context than they were trained in."""
    attention_bias: Literal["all", "output", "none"] = "all"
    """Which maps of attention have biases: all, the last one alone, or none."""
    mlp_bias: bool = True
    """Whether those of the feed-forward network have."""
    scale_attention: bool = True
    """Whether the scores are divided by √head_dim."""
    attention_pattern: tuple[Span, ...] = ("global",)
    """What the layers see, in turn: global (all before) or local (a band of `window` tokens)."""
    window: int = 256
    """Width of the band, the token itself included."""
    tie_embeddings: bool = True
    """Whether the output layer is the table of tokens."""
    dropout: float = 0.1
    """On what each sublayer adds to the residual."""
    embedding_dropout: float = 0.1
    """On what enters the first layer."""
    attention_dropout: float = 0.1
    """On the attention weights."""
    classifier_dropout: float = 0.1
    """Before a classifier."""
    init_std: float = 0.02
    """Standard deviation that weights begin with."""
    scale_residual_init: bool = True
    """Whether what writes to the residual begins with 1/√(2 num_layers) of it (GPT-2, sec. 2.3)."""
    mup_base_width: int = 0
    """Above 0: muP (Yang et al. 2022, Tensor Programs V, table 8), by which a learning rate found
    at this hidden_size serves every other. The optimiser needs `mup_rate_factors`. At this width
    itself the model is the standard one."""
    mup_base_head_dim: int = 0
    """With muP: size of a head at the base width; 0: as here, wider models have more heads."""
    max_length: int = 1024
    """The longest text: rows of the table of positions, where there is one."""
    pad_token_id: int = 50256
    """Padding; most of the published models have no token of its own for it."""
    eos_token_id: int = 50256
    """End of a text."""
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

    def __post_init__(self) -> None:
        sizes = ("vocab_size", "hidden_size", "num_layers", "num_heads", "intermediate_size")
        given = [n for n in ("head_dim", "num_kv_heads") if getattr(self, n) is not None]
        for name in (*sizes, *given, "max_length", "window", "num_labels"):
            if getattr(self, name) < 1:
                raise InputError(f"model.{name} is {getattr(self, name)}; it must be at least 1")
        self._check_heads()
        for name in ("pad_token_id", "eos_token_id"):
            if not 0 <= getattr(self, name) < self.vocab_size:
                raise InputError(
                    f"model.{name} is {getattr(self, name)}; it must be in the vocabulary of "
                    f"{self.vocab_size}"
                )
        for name in ("mup_base_width", "mup_base_head_dim"):
            if getattr(self, name) < 0:
                raise InputError(f"model.{name} is {getattr(self, name)}; it must be 0 or more")
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise unknown_name(f"model.{name}", getattr(self, name), allowed)
        if not self.attention_pattern:
            raise InputError("model.attention_pattern is empty; it must name one layer or more")
        for span in self.attention_pattern:
            if span not in get_args(Span):
                raise unknown_name("model.attention_pattern", span, get_args(Span))
        activation(self.activation)

    def _check_heads(self) -> None:
        if self.head_dim is None and self.hidden_size % self.num_heads:
            raise InputError(
                f"model.hidden_size {self.hidden_size} does not divide into "
                f"model.num_heads {self.num_heads}; give model.head_dim, or change one of them"
            )
        if self.num_heads % self.kv_heads:
            raise InputError(
                f"model.num_heads {self.num_heads} does not divide into "
                f"model.num_kv_heads {self.num_kv_heads} groups"
            )
        if self.positions == "rotary" and self.width_of_heads % 2:
            raise InputError(
                f"rotary positions turn pairs of features, and heads of {self.width_of_heads} are "
                "odd; give an even model.head_dim, or model.positions 'learned'"
            )

    @property
    def width_of_heads(self) -> int:
        """Size of a head, given or derived."""
        return self.head_dim or self.hidden_size // self.num_heads

    @property
    def kv_heads(self) -> int:
        """Heads of keys and values, given or all."""
        return self.num_kv_heads or self.num_heads

    @property
    def windows(self) -> tuple[int | None, ...]:
        """The window of each layer in turn; None: all tokens before."""
        return tuple(self.window if s == "local" else None for s in self.attention_pattern)

    @property
    def windows_of_layers(self) -> tuple[int | None, ...]:
        """The same, one for each layer."""
        return tuple(self.windows[i % len(self.windows)] for i in range(self.num_layers))

    @property
    def base_ratio(self) -> float:
        """MuP's base width over this one; 1 without muP."""
        return self.mup_base_width / self.hidden_size if self.mup_base_width else 1.0

    @property
    def attention_scale(self) -> float | None:
        """1/√K (None: the default); in muP √K_base/K, for queries and keys grow aligned."""
        base = self.mup_base_head_dim if self.mup_base_width else 0
        K = self.width_of_heads
        factor = (base / K) ** 0.5 if base else 1.0
        if not self.scale_attention:
            return factor
        return factor * K**-0.5 if base else None

    @property
    def mup_rate_factors(self) -> tuple[tuple[str, float], ...]:
        """For `Optimizer.rate_factors` under Adam: hidden matrices learn at base over width.

        Empty without muP. Vectors, embeddings and positions keep their rate (table 8).
        """
        return ((HIDDEN_MATRICES, self.base_ratio),) if self.mup_base_width else ()

    def build(self, task: str = "causal_lm") -> nn.Module:
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
        self, shapes: Shapes, *, masked: bool = False, task: str = "causal_lm"
    ) -> dict[str, float]:
        """FLOPs of a forward pass by part, in the conventions of `flaxformers_edu.flops`.

        Args:
            shapes: that of "input_ids"; others are not looked at.
            masked: count pairs that the causal mask and windows hide, too.
            task: whose heads are counted.
        """
        self.check_task(task)
        *rows, T = shapes["input_ids"]
        B, D = math.prod(rows), self.hidden_size
        parts: dict[str, float] = {}
        for window in dict.fromkeys(self.windows_of_layers):
            attention = flops.attention(
                *(B, T, T),
                hidden_size=D,
                num_heads=self.num_heads,
                num_kv_heads=self.num_kv_heads,
                head_dim=self.head_dim,
                causal=True,
                window=window,
                masked=masked,
            )
            layers = self.windows_of_layers.count(window)
            for name, count in flops.within("decoder/attention", attention, layers).items():
                parts[name] = parts.get(name, 0.0) + count
        mlp = flops.feed_forward(B * T, D, self.intermediate_size, gated=self.gated)
        parts["decoder/mlp"] = self.num_layers * mlp
        match task:
            case "causal_lm":
                parts["output"] = flops.linear(B * T, D, self.vocab_size)
            case "sequence_classification":
                parts["classifier"] = flops.linear(B, D, self.num_labels)
            case "multiple_choice":
                parts["classifier"] = flops.linear(B, D, 1)
            case "token_classification":
                parts["classifier"] = flops.linear(B * T, D, self.num_labels)
            case "question_answering":
                parts["span_head"] = flops.linear(B * T, D, 2)
        return parts
