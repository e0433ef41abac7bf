"""A student beside its teacher: Hinton et al. 2015; DistilBERT (Sanh et al. 2019), TinyBERT (Jiao
et al. 2020).

Both are encoders of any family, with one tokeniser. Their parameters lie side by side, so that one
training state and one checkpoint hold both; what is learned from the comparison is the objective's.

Dims: D width of the student's states, U of the teacher's.
"""

import dataclasses
from typing import Any

import flax.linen as nn
from jaxtyping import Array, Float

from flaxformers_edu import flops
from flaxformers_edu.errors import InputError
from flaxformers_edu.flops import Shapes
from flaxformers_edu.layers.linear import Linear
from flaxformers_edu.models.encoder_config import EncoderConfig
from flaxformers_edu.models.student_layers import Tree, begun


@dataclasses.dataclass(frozen=True)
class DistillationConfig:
    """Two encoders. To a trainer it looks like the student, for whom text and labels are."""

    student: EncoderConfig
    """Who learns; alone it is what is evaluated and exported."""
    teacher: EncoderConfig
    """Who is finished, and does not change."""
    layers: tuple[int, ...] = ()
    """Layers of the teacher that the student begins from, one for each of its own, beside its
    embeddings and heads; none: the student begins from chance, or as it was given."""

    def __post_init__(self) -> None:
        s, t = self.student, self.teacher
        for name in ("vocab_size", "pad_token_id", "eos_token_id", "mask_token_id"):
            if getattr(s, name) != getattr(t, name):
                raise InputError(
                    f"model.student.{name} is {getattr(s, name)} and model.teacher.{name} is "
                    f"{getattr(t, name)}: student and teacher must share a tokeniser"
                )
        if s.num_labels != t.num_labels:
            raise InputError(
                f"model.student.num_labels is {s.num_labels}, but the teacher knows {t.num_labels}"
            )
        if self.layers:
            self._check_layers()

    def _check_layers(self) -> None:
        s, t = self.student, self.teacher
        for who, config in (("student", s), ("teacher", t)):
            if config.share != "none" or config.copies is not None:
                raise InputError(
                    f"model.layers is set, but the layers of model.{who} share their parameters: "
                    "they cannot be taken one by one"
                )
        if len(self.layers) != s.num_layers:
            raise InputError(
                f"model.layers names {len(self.layers)} layers of the teacher for a student of "
                f"{s.num_layers}: give as many, or none"
            )
        if not all(0 <= layer < t.num_layers for layer in self.layers):
            raise InputError(
                f"model.layers is {list(self.layers)}, but the teacher's layers are 0 to "
                f"{t.num_layers - 1}"
            )

    @property
    def vocab_size(self) -> int:
        """Word pieces, of both."""
        return self.student.vocab_size

    @property
    def pad_token_id(self) -> int:
        """Padding, of both."""
        return self.student.pad_token_id

    @property
    def eos_token_id(self) -> int:
        """The end of a text, of both."""
        return self.student.eos_token_id

    @property
    def mask_token_id(self) -> int:
        """[MASK], of both."""
        return self.student.mask_token_id

    @property
    def num_labels(self) -> int:
        """Of a classifier, of both."""
        return self.student.num_labels

    @property
    def num_token_types(self) -> int:
        """Types that batches must have: a student without any does not look at its teacher's."""
        return max(self.student.num_token_types, self.teacher.num_token_types)

    @property
    def max_length(self) -> int:
        """Longest text that both can read."""
        return min(self.student.max_length, self.teacher.max_length)

    @property
    def dtype(self) -> str:
        """Of the student's computation."""
        return self.student.dtype

    @property
    def fits(self) -> bool:
        """Whether the student's states must be mapped to the width of the teacher's."""
        return self.student.hidden_size != self.teacher.hidden_size

    def build(self, task: str = "base") -> "Distillation":
        """The module.

        Raises:
            InputError: a task that one of the two does not have.
        """
        self.student.check_task(task)
        self.teacher.check_task(task)
        return Distillation(self, task)

    def forward_flops(
        self, shapes: Shapes, *, masked: bool = False, task: str = "base"
    ) -> dict[str, float]:
        """FLOPs of both, by part, of which training costs `flops.TRAINING` times as many.

        That is so for the student. The teacher is only run forwards, and counts a part of it.
        """
        student = self.student.forward_flops(shapes, masked=masked, task=task)
        teacher = self.teacher.forward_flops(shapes, masked=masked, task=task)
        forwards = {name: count / flops.TRAINING for name, count in teacher.items()}
        return flops.within("student", student) | flops.within("teacher", forwards)

    def start(self, params: Tree) -> Tree:
        """The parameters that training begins with, once the teacher's are in their place.

        Raises:
            InputError: a parameter that the student takes from its teacher has another shape.
        """
        if not self.layers:
            return params
        return {**params, "student": begun(params["student"], params["teacher"], self.layers)}


class Distillation(nn.Module):
    """The parameters {"student": ..., "teacher": ...}; called, it is the student.

    Where the widths of the two differ, `fit_dense` maps states of the student to the teacher's:
    one linear map for all layers (Jiao et al. 2020, eq. 8 and 9, and the released code).
    Objectives apply `alone("student")` and `alone("teacher")` to their parts of the parameters.
    """

    config: DistillationConfig
    task: str = "base"
    is_encoder_decoder = False

    def setup(self) -> None:
        c = self.config
        self.student = c.student.build(self.task)
        self.teacher = c.teacher.build(self.task)
        if c.fits:
            init = nn.initializers.normal(c.student.init_std)
            self.fit_dense = Linear(
                (c.teacher.hidden_size,), ("embed",), ("features",), True, init, c.student.dtype
            )

    @nn.nowrap
    def alone(self, who: str) -> nn.Module:
        """The module of "student" or "teacher", for its own part of the parameters."""
        return {"student": self.config.student, "teacher": self.config.teacher}[who].build(
            self.task
        )

    @nn.nowrap
    def dummy_inputs(self) -> dict[str, Array]:
        """The smallest inputs that initialise every parameter."""
        return self.alone("student").dummy_inputs()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The student's output; arguments are those of an encoder."""
        output = self.student(*args, **kwargs)
        if self.is_initializing():
            self.teacher(*args, **kwargs)
            self.fit(output.last_hidden_state)
        return output

    def fit(self, states: Float[Array, "*shape D"]) -> Float[Array, "*shape U"]:
        """The student's states in the width of the teacher's."""
        return self.fit_dense(states) if self.config.fits else states
