"""The forms in which the same numbers are stored here and there: axes split, joined, transposed.

Our kernels are [inputs..., outputs...] and keep heads apart, [D, H, K] or [H, K, D]. PyTorch's
Linear stores [outputs, inputs], OpenAI's Conv1D [inputs, outputs], heads side by side in both; and
GPT-2 has queries, keys and values side by side in one tensor.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Form:
    """How a tensor of theirs holds a leaf of ours. It is read both ways, and copies nothing."""

    order: Literal["same", "flat", "in_out", "out_in"]
    """Theirs: as ours, or as one axis, or as a matrix with the inputs first or last."""
    num_inputs: int = 1
    """Axes of ours, from the first, that are inputs of the matrix."""
    part: tuple[int, int] = (0, 1)
    """Which of how many equal parts of their outputs is ours."""

    def their_shape(self, shape: Shape) -> Shape:
        """The shape of theirs that a leaf of `shape` needs."""
        parts = self.part[1]
        if self.order == "same":
            return shape
        if self.order == "flat":
            return (parts * math.prod(shape),)
        matrix = (math.prod(shape[: self.num_inputs]), parts * math.prod(shape[self.num_inputs :]))
        return matrix if self.order == "in_out" else matrix[::-1]

    def to_ours(self, theirs: np.ndarray, shape: Shape) -> np.ndarray:
        """Our leaf as a view of theirs: a memory map stays one."""
        if self.order == "same":
            return theirs
        index, parts = self.part
        oriented = theirs.T if self.order == "out_in" else theirs
        width = oriented.shape[-1] // parts
        return oriented[..., index * width : (index + 1) * width].reshape(shape)

    def to_theirs(self, leaves: Sequence[np.ndarray]) -> np.ndarray:
        """Their tensor of the leaves that are its parts, in order."""
        if self.order == "same":
            return leaves[0]
        if self.order == "flat":
            return np.concatenate([leaf.reshape(-1) for leaf in leaves])
        inputs = math.prod(leaves[0].shape[: self.num_inputs])
        matrix = np.concatenate([leaf.reshape(inputs, -1) for leaf in leaves], axis=-1)
        return np.ascontiguousarray(matrix if self.order == "in_out" else matrix.T)


Kind = tuple[tuple[str, str, Form], ...]
"""The leaves of a module of ours, what theirs are called, and their forms."""

FLAT, SAME = Form("flat"), Form("same")

TABLE: Kind = (("embedding", "weight", SAME),)
NORM: Kind = (("scale", "weight", FLAT), ("bias", "bias", FLAT))
BIAS: Kind = (("bias", "bias", FLAT),)
LINEAR: Kind = (("kernel", "weight", Form("out_in")), ("bias", "bias", FLAT))
"""A torch.nn.Linear; its outputs may be split into heads."""
FROM_HEADS: Kind = (("kernel", "weight", Form("out_in", num_inputs=2)), ("bias", "bias", FLAT))
"""A torch.nn.Linear that joins heads."""
CONV1D: Kind = (("kernel", "weight", Form("in_out")), ("bias", "bias", FLAT))
CONV1D_FROM_HEADS: Kind = (
    ("kernel", "weight", Form("in_out", num_inputs=2)),
    ("bias", "bias", FLAT),
)


def conv1d_part(index: int, parts: int) -> Kind:
    """One of several Conv1D whose outputs are stored side by side."""
    part = (index, parts)
    return (
        ("kernel", "weight", Form("in_out", part=part)),
        ("bias", "bias", Form("flat", part=part)),
    )
