"""What models of one stack return, encoders and decoders alike.

Dims: B batch, C choices, T length, D hidden size, N labels.
"""

from flax import struct
from jaxtyping import Array, Float


@struct.dataclass
class BaseOutput:
    """The states of the last layer and, where the family has a pooler, the first one pooled."""

    last_hidden_state: Float[Array, "B T D"]
    pooler_output: Float[Array, "B D"] | None


@struct.dataclass
class ClassifierOutput:
    """Logits of labels: of a text [B, N], of each token [B, T, N]; or of choices [B, C]."""

    logits: Float[Array, "*B N"]
    last_hidden_state: Float[Array, "*B T D"]


@struct.dataclass
class SpanOutput:
    """Logits of each token to be the first of a span, and the last."""

    start_logits: Float[Array, "B T"]
    end_logits: Float[Array, "B T"]
    last_hidden_state: Float[Array, "B T D"]
