"""What a student can learn from its teacher: formulas over two models' logits, states and scores.

All of them are of the student first and the teacher second, are computed in float32, and give one
number for each place, to be added up where a place counts.

Dims: L layers, B rows, T length, S keys, H heads, D hidden size, N classes, V vocabulary.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float

from flaxformers_edu.errors import InputError
from flaxformers_edu.layers.intermediates import COLLECTION
from flaxformers_edu.objectives.losses import IGNORED_LABEL, Loss

Inputs = Mapping[str, Array]


@struct.dataclass
class Inside:
    """What a model computes on the way."""

    states_LBTD: Float[Array, "L B T D"]
    """Hidden states: what enters the first layer, and what each layer gives."""
    scores_LBHTT: Float[Array, "L B H T T"]
    """Attention's scores before mask and softmax: of each layer, so that L is one less."""


@struct.dataclass
class Seen:
    """What a model says of a batch and, where it was looked into, what is inside."""

    output: Any
    inside: Inside | None = None


def run_both(
    model: Any, params: Any, inputs: Inputs, dropout_key: Array | None, *, inside: bool = False
) -> tuple[Seen, Seen]:
    """A student and its teacher on one batch; no gradient reaches the teacher, nor does dropout.

    Args:
        model: has `alone("student")` and `alone("teacher")`.
        params: {"student": ..., "teacher": ...}.
        inputs: what encoders read.
        dropout_key: of the student; None: no dropout.
        inside: whether to look at states and scores.
    """
    student = _run(model.alone("student"), params["student"], inputs, dropout_key, inside)
    fixed = jax.lax.stop_gradient(params["teacher"])
    return student, _run(model.alone("teacher"), fixed, inputs, None, inside)


def _run(module: Any, params: Any, inputs: Inputs, key: Array | None, inside: bool) -> Seen:
    given: dict[str, Any] = {
        **inputs,
        "deterministic": key is None,
        "rngs": {} if key is None else {"dropout": key},
    }
    if not inside:
        return Seen(module.apply({"params": params}, **given))
    output, sown = module.apply({"params": params}, **given, mutable=[COLLECTION])
    sown = sown[COLLECTION]
    first_BTD, later_LBTD = sown["embedded"], sown["encoder"]["hidden_state"]
    states = jnp.concatenate([first_BTD[None], later_LBTD])
    return Seen(output, Inside(states, sown["encoder"]["attention"]["scores"]))


def real_places(inputs: Inputs) -> tuple[Bool[Array, "B T"], Bool[Array, "B T T"]]:
    """Which tokens are no padding, and which pairs of such (query, key) see each other: all.

    Rows of choices [B, C, T] are counted as so many rows, as encoders do.
    """
    ids = inputs["input_ids"]
    real_BT = (inputs.get("attention_mask", jnp.ones_like(ids)) != 0).reshape(-1, ids.shape[-1])
    return real_BT, real_BT[:, :, None] & real_BT[:, None, :]


LOGITS = {
    "sequence_classification": ("logits",),
    "multiple_choice": ("logits",),
    "token_classification": ("logits",),
    "question_answering": ("start_logits", "end_logits"),
}


def predicted_places(
    task: str, inputs: Inputs, labels: Array | None, logits: Float[Array, "*places N"]
) -> tuple[Bool[Array, "*places"], Bool[Array, "*places N"] | None]:
    """Where a task's predictions count, and which classes there are in each; None: all.

    A row counts if it has a token. Tags count where the objective has labels: at the first pieces
    of words. The classes of a span are its row's tokens, and those of a choice the filled choices.
    """
    real = inputs["attention_mask"] != 0
    if task == "token_classification":
        assert labels is not None
        return labels != IGNORED_LABEL, None
    if task == "question_answering":
        return real.any(axis=-1), real
    if task == "multiple_choice":
        return real.any(axis=(-1, -2)), real.any(axis=-1)
    return real.any(axis=-1), None


def divergence(
    student_N: Float[Array, "*shape N"], teacher_N: Float[Array, "*shape N"], temperature: float
) -> Float[Array, "*shape"]:
    """T² KL(softmax(teacher / T) ‖ softmax(student / T)), from logits (Hinton et al. 2015).

    Gradients of soft targets shrink as 1/T², which the factor makes good (section 2).
    """
    log_p_N = jax.nn.log_softmax(teacher_N.astype(jnp.float32) / temperature)
    log_q_N = jax.nn.log_softmax(student_N.astype(jnp.float32) / temperature)
    return temperature**2 * (jnp.exp(log_p_N) * (log_p_N - log_q_N)).sum(axis=-1)


def soft_cross_entropy(
    student_N: Float[Array, "*shape N"],
    teacher_N: Float[Array, "*shape N"],
    temperature: float,
    classes_N: Bool[Array, "*shape N"] | None = None,
) -> Float[Array, "*shape"]:
    """-softmax(teacher / T) · log softmax(student / T), from logits (Jiao et al. 2020, eq. 10).

    As in the released code it is the mean over the classes, not their sum, and T² is left out.
    classes: those that there are, where rows have different ones.
    """
    given_N = jnp.ones(teacher_N.shape, bool) if classes_N is None else classes_N
    lowest = jnp.finfo(jnp.float32).min

    def log_softmax(logits_N: Array) -> Array:
        scaled_N = logits_N.astype(jnp.float32) / temperature
        return jax.nn.log_softmax(jnp.where(given_N, scaled_N, lowest))

    p_N = jnp.where(given_N, jnp.exp(log_softmax(teacher_N)), 0.0)
    # Chosen before the product: 0 · -inf would be no number.
    log_q_N = jnp.where(given_N, log_softmax(student_N), 0.0)
    return -(p_N * log_q_N).sum(axis=-1) / jnp.maximum(given_N.sum(axis=-1), 1)


def cosine_distance(
    student_D: Float[Array, "*shape D"], teacher_D: Float[Array, "*shape D"]
) -> Float[Array, "*shape"]:
    """1 - cos of the angle between two states; 1e-12 in each squared length, as torch has it."""
    x_D, y_D = student_D.astype(jnp.float32), teacher_D.astype(jnp.float32)
    lengths = ((x_D**2).sum(axis=-1) + 1e-12) * ((y_D**2).sum(axis=-1) + 1e-12)
    return 1.0 - (x_D * y_D).sum(axis=-1) / jnp.sqrt(lengths)


def state_errors(
    student_LBTD: Float[Array, "L B T D"], teacher_LBTD: Float[Array, "L B T D"]
) -> Float[Array, "B T"]:
    """Mean squared error of a place's states, over all layers (eq. 8 and 9)."""
    error_LBTD = student_LBTD.astype(jnp.float32) - teacher_LBTD.astype(jnp.float32)
    return (error_LBTD**2).mean(axis=-1).sum(axis=0)


def score_errors(
    student_LBHTS: Float[Array, "L B H T S"],
    teacher_LBHTS: Float[Array, "L B H T S"],
    pairs_BTS: Bool[Array, "B T S"],
) -> Float[Array, "B T"]:
    """Mean squared error of a query's scores (heads, keys it sees), over all layers (eq. 7)."""
    error_LBHTS = jnp.where(pairs_BTS[None, :, None], student_LBHTS - teacher_LBHTS, 0.0)
    keys_BT = jnp.maximum(pairs_BTS.sum(axis=-1), 1)
    return (error_LBHTS**2).mean(axis=2).sum(axis=(0, -1)) / keys_BT


def mapped_layers(num_student: int, num_teacher: int) -> tuple[int, ...]:
    """Which of the teacher's layers each of the student's learns from: the last of its block.

    Counted from 1, the student's layer m learns from m · k, with k the teacher's layers for one
    of the student's (section 4.1: uniform); counted from 0, as here, from (m + 1) · k - 1.

    >>> mapped_layers(4, 12)
    (2, 5, 8, 11)

    Raises:
        InputError: the teacher's layers do not divide into the student's.
    """
    if num_teacher % num_student:
        raise InputError(
            f"a student of {num_student} layers cannot learn layer by layer from a teacher of "
            f"{num_teacher}: the one must divide the other"
        )
    k = num_teacher // num_student
    return tuple((m + 1) * k - 1 for m in range(num_student))


def total(values: Float[Array, "*shape"], counted: Bool[Array, "*shape"]) -> Loss:
    """The values where they count, and how many there are."""
    summed = jnp.where(counted, values, 0.0).sum(dtype=jnp.float32)
    return Loss(sum=summed, weight=counted.sum(dtype=jnp.float32), counts={})
