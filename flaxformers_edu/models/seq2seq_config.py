"""The sizes of recurrent encoder-decoders: Sutskever et al. 2014, Bahdanau et al. 2014, Luong et
al. 2015.

Dims: B batch, S source length, T target length.
"""

import dataclasses
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from flaxformers_edu import flops
from flaxformers_edu.errors import InputError, unknown_name
from flaxformers_edu.flops import Shapes
from flaxformers_edu.layers.alignment import Score
from flaxformers_edu.layers.recurrent import GATES, Kind
from flaxformers_edu.layers.recurrent_decoder_cell import Wiring

if TYPE_CHECKING:
    from flaxformers_edu.models.seq2seq import Seq2Seq

Attention = Literal["none", "dot", "general", "concat"]


@dataclasses.dataclass(frozen=True)
class Seq2SeqConfig:
    """A recurrent encoder-decoder; the defaults are Luong's global attention with input feeding."""

    vocab_size: int = 50000
    """Tokens of the target, and of the source unless source_vocab_size says otherwise."""
    source_vocab_size: int | None = None
    """Tokens of the source, with a table of their own; None: one table serves both."""
    embedding_size: int = 1000
    """Width of the embeddings."""
    hidden_size: int = 1000
    """Units of each layer of the decoder."""
    encoder_size: int | None = None
    """Units of each layer and direction of the encoder; None: hidden_size, shared out over the
    directions."""
    num_layers: int = 4
    """Layers of the encoder, and of the decoder."""
    kind: Kind = "lstm"
    """lstm, or gru with torch's reset gate, behind the product."""
    bidirectional: bool = False
    """Whether the encoder reads in both directions."""
    reverse_source: bool = True
    """Whether the encoder reads from the last real token to the first (Sutskever, section 3.3)."""
    attention: Attention = "general"
    """none: the source is what the encoder remembers at its end; else the score of the states that
    are looked at: dot, general or concat (Luong, eq. 8)."""
    wiring: Wiring = "luong"
    """luong: attention after the step; bahdanau: its context enters the step."""
    input_feeding: bool = True
    """luong: whether the attentional vector is a part of the next step's input (section 3.3)."""
    readout_size: int | None = None
    """What the output layer reads, with attention: Luong's attentional vector or Bahdanau's maxout;
    None: hidden_size."""
    tie_embeddings: bool = False
    """Whether the output layer is the target's table of embeddings."""
    dropout: float = 0.2
    """On embeddings, between layers, and before the output layer (Zaremba et al. 2014)."""
    pad_token_id: int = 0
    """Padding."""
    eos_token_id: int = 1
    """End of a sentence."""
    decoder_start_token_id: int = 0
    """What the decoder reads first."""
    unroll: int = 1
    """Steps that are written out in each round of a scan."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of the computation; parameters, cells, softmax and loss stay in float32."""

    packs: ClassVar[bool] = False
    """A row is one sentence: a state would run on from one into the next."""

    def __post_init__(self) -> None:
        for name in ("vocab_size", "embedding_size", "hidden_size", "num_layers", "unroll"):
            if getattr(self, name) < 1:
                raise InputError(f"model.{name} is {getattr(self, name)}; it must be at least 1")
        for name, allowed in (("kind", GATES), ("attention", get_args(Attention))):
            if getattr(self, name) not in allowed:
                raise unknown_name(f"model.{name}", getattr(self, name), allowed)
        if self.wiring not in get_args(Wiring):
            raise unknown_name("model.wiring", self.wiring, get_args(Wiring))
        for name in ("pad_token_id", "eos_token_id", "decoder_start_token_id"):
            if not 0 <= getattr(self, name) < self.vocab_size:
                raise InputError(
                    f"model.{name} is {getattr(self, name)}; it must be in the vocabulary of "
                    f"{self.vocab_size}"
                )
        if not 0 <= self.dropout < 1:
            raise InputError(f"model.dropout is {self.dropout}; it must be at least 0 and below 1")
        self._check_parts()

    def _check_parts(self) -> None:
        """Refuses parts that do not fit each other."""
        if self.bidirectional and self.reverse_source:
            raise InputError(
                "model.reverse_source changes nothing for an encoder that reads in both "
                "directions: set it, or model.bidirectional, to false"
            )
        if self.bidirectional and self.encoder_size is None and self.hidden_size % 2:
            raise InputError(
                f"model.hidden_size {self.hidden_size} does not divide into two directions: make "
                "it even, or give model.encoder_size"
            )
        if self.attention == "dot" and self.source_size != self.hidden_size:
            raise InputError(
                f"model.attention 'dot' compares states of one size, and the encoder's have "
                f"{self.source_size}, the decoder's {self.hidden_size}: use 'general'"
            )
        if self.attention == "none" and self.readout_size not in (None, self.hidden_size):
            raise InputError(
                f"model.readout_size is {self.readout_size}, but without attention the output "
                f"layer reads the highest layer itself: leave it away"
            )
        if self.tie_embeddings and self.reads != self.embedding_size:
            raise InputError(
                f"model.tie_embeddings: the output layer reads {self.reads} numbers and embeddings "
                f"have {self.embedding_size}; give model.readout_size or model.hidden_size"
            )

    @property
    def directions(self) -> int:
        """In which the encoder reads."""
        return 2 if self.bidirectional else 1

    @property
    def encoder_units(self) -> int:
        """Of each layer and direction."""
        return self.encoder_size or self.hidden_size // self.directions

    @property
    def source_size(self) -> int:
        """Of a state of the encoder, both directions side by side."""
        return self.directions * self.encoder_units

    @property
    def score(self) -> Score | None:
        """How states are compared; None: not at all."""
        return None if self.attention == "none" else self.attention

    @property
    def reads(self) -> int:
        """Numbers that the output layer reads."""
        return self.readout_size or self.hidden_size

    @property
    def fed(self) -> int:
        """Numbers that enter a step of the decoder beside the word's embedding."""
        if self.attention == "none":
            return 0
        if self.wiring == "bahdanau":
            return self.source_size
        return self.reads if self.input_feeding else 0

    def build(self, task: str = "seq2seq_lm") -> "Seq2Seq":
        """The module.

        Raises:
            InputError: a task other than "seq2seq_lm" (or "base", the same).
        """
        from flaxformers_edu.models.seq2seq import Seq2Seq

        if task not in TASKS:
            raise unknown_name("task", task, TASKS)
        return Seq2Seq(self)

    def forward_flops(
        self, shapes: Shapes, *, masked: bool = False, task: str = "seq2seq_lm"
    ) -> dict[str, float]:
        """FLOPs of a forward pass by part, in the conventions of `flaxformers_edu.flops`.

        Args:
            shapes: those of "input_ids" and "decoder_input_ids"; others are not looked at.
            masked: of no account: nothing is hidden.
            task: of no account; both are the same model.
        """
        (B, S), (_, T) = shapes["input_ids"], shapes["decoder_input_ids"]
        D, H, E, G = self.embedding_size, self.hidden_size, self.source_size, len(GATES[self.kind])
        units, linear = self.encoder_units, flops.linear
        encoder_inputs = D + (self.num_layers - 1) * E
        decoder_inputs = D + self.fed + (self.num_layers - 1) * H
        recurrent = self.num_layers * linear(B * S, units, G * units)
        bridged = 0 if E == H else self.num_layers * (2 if self.kind == "lstm" else 1)
        parts = {
            "encoder/input": linear(B * S, encoder_inputs, self.directions * G * units),
            "encoder/recurrent": self.directions * recurrent,
            "bridge": bridged * linear(B, E, H),
            "decoder/input": linear(B * T, decoder_inputs, G * H),
            "decoder/recurrent": self.num_layers * linear(B * T, H, G * H),
            "output": linear(B * T, self.reads, self.vocab_size),
        }
        if self.attention != "none":
            keys = 0.0 if self.attention == "dot" else linear(B * S, E, H)
            queries = linear(B * T, H, H) if self.attention == "concat" else 0.0
            parts["cross_attention/projections"] = keys + queries
            parts["cross_attention/products"] = 2.0 * B * T * S * (H + E)
            width = E + H if self.wiring == "luong" else 2 * (H + D + E)
            parts["readout"] = linear(B * T, width, self.reads)
        return parts


TASKS = ("base", "seq2seq_lm")

PRESETS = {
    "seq2seq-sutskever": Seq2SeqConfig(
        vocab_size=80_000, source_vocab_size=160_000, attention="none", dropout=0.0
    ),
    "seq2seq-rnnsearch": Seq2SeqConfig(
        vocab_size=30_000,
        source_vocab_size=30_000,
        embedding_size=620,
        encoder_size=1000,
        num_layers=1,
        kind="gru",
        bidirectional=True,
        reverse_source=False,
        attention="concat",
        wiring="bahdanau",
        readout_size=500,
        dropout=0.0,
    ),
    "seq2seq-luong": Seq2SeqConfig(source_vocab_size=50_000),
}


def parameter_count(config: Seq2SeqConfig) -> int:
    """The number of parameters, from the papers' equations.

    A recurrent layer of U units that reads I numbers has, for each of its G gates, U(I + U) weights
    and two biases of U: four gates of an LSTM, three of a GRU. With E the size of the source's
    states, H units of the decoder and F numbers that the output layer reads: `general` has EH,
    `concat` EH + H² + H; Luong's attentional vector (E + H)F, Bahdanau's maxout 2F(H + D + E).
    """
    c, G = config, len(GATES[config.kind])
    D, H, E, F = c.embedding_size, c.hidden_size, c.source_size, c.reads

    def layer(inputs: int, units: int) -> int:
        return G * units * (inputs + units + 2)

    above = c.num_layers - 1
    units = c.encoder_units
    encoder = c.directions * (layer(D, units) + above * layer(E, units))
    decoder = layer(D + c.fed, H) + above * layer(H, H)
    bridge = 0 if E == H else c.num_layers * (2 if c.kind == "lstm" else 1) * (E + 1) * H
    score = {"none": 0, "dot": 0, "general": E * H, "concat": E * H + H * H + H}[c.attention]
    readout = 0
    if c.attention != "none":
        readout = (E + H) * F if c.wiring == "luong" else 2 * F * (H + D + E)
    tables = (c.vocab_size + (c.source_vocab_size or 0)) * D
    output = 0 if c.tie_embeddings else F * c.vocab_size
    return tables + encoder + bridge + decoder + score + readout + output
