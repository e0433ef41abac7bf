"""Three ways for a student to learn from a finished teacher, each around another objective.

The objective `of` says what examples are, how they become batches, and how predictions are scored;
here is only another loss, over the module of `models/distillation.py` and parameters
{"student": ..., "teacher": ...}. Evaluation is of the student.

Dims: B batch, T length, P predicted places, V vocabulary.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array

from flaxformers_edu.errors import InputError, unknown_name
from flaxformers_edu.objectives.base import JudgedByLoss
from flaxformers_edu.objectives.losses import (
    IGNORED_LABEL,
    Loss,
    cross_entropy,
    joint_loss,
    own_means,
    perplexity,
)
from flaxformers_edu.objectives.masking import for_dropout
from flaxformers_edu.objectives.rows import MODEL_INPUTS
from flaxformers_edu.objectives.teaching import (
    LOGITS,
    cosine_distance,
    divergence,
    mapped_layers,
    predicted_places,
    real_places,
    run_both,
    score_errors,
    soft_cross_entropy,
    state_errors,
    total,
)

Batch = Mapping[str, Array]
SoftTargets = Literal["tokens", "masked"]


@dataclasses.dataclass(frozen=True)
class Distillation:
    """What is not said here is as in the objective `of`: all but the loss."""

    of: Any
    """The objective whose examples, and whose scores, are used."""

    def __getattr__(self, name: str) -> Any:
        # Called for what is not found here. While a copy is being built, not even `of` is.
        if name == "of" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.of, name)

    def collate(self, config: Any, *, packed: bool = False) -> Callable[..., dict]:
        """As the objective's, for a pair of models.

        Raises:
            InputError: the model is not a pair, or the pair does not fit together.
        """
        if not (hasattr(config, "student") and hasattr(config, "teacher")):
            raise InputError(
                f"{type(self).__name__} needs a student and a teacher, but the model is a "
                f"{type(config).__name__}: make it a DistillationConfig"
            )
        self.check(config)
        return self.of.collate(config, packed=packed)

    def check(self, config: Any) -> None:
        """Refuses a pair that cannot be compared."""

    def inputs(self, batch: Batch, config: Any, key: Array | None) -> tuple[Batch, Any]:
        """What both models read, and labels; a masked language model's tokens are masked here."""
        if hasattr(self.of, "mask"):
            return self.of.mask(batch, config, key)
        read = {name: batch[name] for name in MODEL_INPUTS if name in batch}
        return read, batch.get("labels")

    def measures(self, means: dict[str, float]) -> dict[str, float]:
        """The means as they are."""
        return means


@dataclasses.dataclass(frozen=True)
class DistilMLM(JudgedByLoss, Distillation):
    """DistilBERT's triple loss: soft targets, the masked language model, cosine of last states.

    Sanh et al. 2019, section 2; the weights are those of the released training command. Its masking
    favours rare words: `masking.smoothing` of the objective `of`.
    """

    soft_weight: float = 5.0
    """Of the divergence from the teacher's soft targets, which is scaled by temperature²."""
    mlm_weight: float = 2.0
    """Of the cross-entropy of masked tokens."""
    cosine_weight: float = 1.0
    """Of 1 - cos between the last states of both, over all tokens."""
    temperature: float = 2.0
    """By which the logits of both are divided before the softmax."""
    soft_targets: SoftTargets = "tokens"
    """Where soft targets count: at all tokens, as in the released command, or at masked ones only
    (its --restrict_ce_to_mask), which needs logits for these alone."""

    def __post_init__(self) -> None:
        check_temperature(self.temperature)
        for name in ("soft_weight", "mlm_weight", "cosine_weight"):
            if not getattr(self, name) >= 0:
                raise InputError(f"objective.{name} is {getattr(self, name)}; it must be 0 or more")
        if self.soft_targets not in get_args(SoftTargets):
            raise unknown_name("objective.soft_targets", self.soft_targets, get_args(SoftTargets))
        if not hasattr(self.of, "mask"):
            raise InputError("objective.of of DistilMLM must be a masked language model")

    def loss(self, model: Any, params: Any, batch: Batch, dropout_key: Array | None) -> Loss:
        """The three means with their weights, added up; see `joint_loss`."""
        masked, labels_BP = self.inputs(batch, model.config, dropout_key)
        places_BP, inputs = masked["predict_positions"], masked
        if self.soft_targets == "tokens":
            inputs = {name: x for name, x in masked.items() if name != "predict_positions"}
        student, teacher = run_both(model, params, inputs, for_dropout(dropout_key))
        real_BT, _ = real_places(inputs)
        soft = divergence(student.output.logits, teacher.output.logits, self.temperature)
        logits_BPV = student.output.logits
        if self.soft_targets == "tokens":
            counted = real_BT
            logits_BPV = jnp.take_along_axis(logits_BPV, places_BP[:, :, None], axis=1)
        else:
            counted = labels_BP != IGNORED_LABEL
        fitted = model.apply({"params": params}, student.output.last_hidden_state, method="fit")
        cosine_BT = cosine_distance(fitted, teacher.output.last_hidden_state)
        mlm = cross_entropy(logits_BPV, labels_BP)
        loss = dataclasses.replace(mlm, sum=self.mlm_weight * mlm.sum)
        loss = joint_loss(loss, total(soft, counted), "soft", self.soft_weight)
        return joint_loss(loss, total(cosine_BT, real_BT), "cosine", self.cosine_weight)

    def shapes(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        """What the models read, from the shapes of a batch."""
        return dict(shapes) if self.soft_targets == "tokens" else self.of.shapes(shapes)

    def measures(self, means: dict[str, float]) -> dict[str, float]:
        """The three losses over their own weights, and the perplexity of a hidden token."""
        found = own_means(own_means(means, "soft"), "cosine")
        loss = self.mlm_weight * found["nll"] + self.soft_weight * found["soft_loss"]
        loss += self.cosine_weight * found["cosine_loss"]
        return {**found, "loss": loss, "perplexity": perplexity(found["nll"])}


@dataclasses.dataclass(frozen=True)
class HiddenDistillation(JudgedByLoss, Distillation):
    """TinyBERT's first stage: embeddings, attention scores and states as the teacher has them.

    Jiao et al. 2020, section 3.1. Around a masked language model it is general distillation, around
    a task's objective the first half of task distillation. Layer m of M learns from layer
    m · N / M of N. Mean squared errors are per token and, of scores, per pair that sees each other:
    unlike in the released code, padding does not count among the places that are averaged.
    """

    def labelled(self, example: Mapping[str, Any]) -> bool:
        """Whether an example can be learned from: labels are not looked at."""
        return True

    def check(self, config: Any) -> None:
        """Refuses pairs with other numbers of heads, or layers that do not divide."""
        heads = (config.student.num_heads, config.teacher.num_heads)
        if heads[0] != heads[1]:
            raise InputError(
                f"model.student.num_heads is {heads[0]} and the teacher has {heads[1]}: their "
                "attention scores are compared head by head"
            )
        mapped_layers(config.student.depth, config.teacher.depth)

    def loss(self, model: Any, params: Any, batch: Batch, dropout_key: Array | None) -> Loss:
        """The sum of both errors over the layers, for each token."""
        inputs, _ = self.inputs(batch, model.config, dropout_key)
        student, teacher = run_both(model, params, inputs, for_dropout(dropout_key), inside=True)
        ours, theirs = student.inside, teacher.inside
        assert ours is not None and theirs is not None
        layers = jnp.array(mapped_layers(len(ours.scores_LBHTT), len(theirs.scores_LBHTT)))
        # Of the states the first is what the embeddings give: layer m is at m + 1.
        states = jnp.concatenate([jnp.zeros_like(layers[:1]), layers + 1])
        real_BT, pairs_BTT = real_places(inputs)
        fitted = model.apply({"params": params}, ours.states_LBTD, method="fit")
        hidden_BT = state_errors(fitted, theirs.states_LBTD[states])
        scores_BT = score_errors(ours.scores_LBHTT, theirs.scores_LBHTT[layers], pairs_BTT)
        hidden, scores = total(hidden_BT, real_BT), total(scores_BT, real_BT)
        counts = {"hidden": hidden.sum, "attention": scores.sum}
        return Loss(sum=hidden.sum + scores.sum, weight=hidden.weight, counts=counts)

    def shapes(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        """What the models read, from the shapes of a batch: nothing is predicted."""
        return {**shapes, "predict_positions": (shapes["input_ids"][0], 0)}


@dataclasses.dataclass(frozen=True)
class PredictionDistillation(Distillation):
    """TinyBERT's second stage: the teacher's predictions as soft targets of a task.

    Jiao et al. 2020, eq. 10, with the mean over classes of the released code. Labels are not
    learned from, but for a regression's numbers, as there.
    """

    temperature: float = 1.0
    """By which the logits of both are divided before the softmax."""

    def __post_init__(self) -> None:
        check_temperature(self.temperature)

    @property
    def regression(self) -> bool:
        """Whether there are no classes."""
        return self.of.task == "sequence_classification" and self.of.num_labels == 1

    def check(self, config: Any) -> None:
        """A language model has no labels that a stage of its own could predict."""
        if hasattr(self.of, "mask"):
            raise InputError(
                "objective.of of PredictionDistillation must be a task with labels; for a masked "
                "language model take DistilMLM"
            )

    def loss(self, model: Any, params: Any, batch: Batch, dropout_key: Array | None) -> Loss:
        """Soft cross-entropy, and for the log how far it is above the teacher's own entropy."""
        if self.regression:
            return self.of.loss(model.alone("student"), params["student"], batch, dropout_key)
        inputs, labels = self.inputs(batch, model.config, None)
        student, teacher = run_both(model, params, inputs, dropout_key)
        found = []
        for name in LOGITS[self.of.task]:
            theirs = getattr(teacher.output, name)
            counted, classes = predicted_places(self.of.task, inputs, labels, theirs)
            soft = soft_cross_entropy(
                getattr(student.output, name), theirs, self.temperature, classes
            )
            least = soft_cross_entropy(theirs, theirs, self.temperature, classes)
            loss = total(soft, counted)
            above = loss.sum - total(least, counted).sum
            found.append(dataclasses.replace(loss, counts={"divergence": above}))
        # The beginnings and ends of spans are two predictions of one row: their mean, as in BERT.
        return jax.tree.map(lambda *values: sum(values) / len(values), *found)

    def predict(self, model: Any, params: Any, batch: Batch, **settings: Any) -> dict[str, Array]:
        """What the student predicts."""
        return self.of.predict(model.alone("student"), params["student"], batch, **settings)


def check_temperature(temperature: float) -> None:
    """Raises InputError for a temperature that is not above 0."""
    if not temperature > 0:
        raise InputError(f"objective.temperature is {temperature}; it must be above 0")
