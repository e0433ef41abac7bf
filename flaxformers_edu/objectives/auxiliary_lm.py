"""A task learnt from the last token's state, and a language model beside it, as GPT-1 was tuned.

Radford et al. 2018, section 3.2, equations 3 to 5.

Dims: B rows, C texts of a row, R = B·C, T length, D hidden size, V vocabulary, N labels.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from flaxformers_edu.errors import InputError
from flaxformers_edu.objectives.base import OfLogits
from flaxformers_edu.objectives.losses import Loss, joint_loss, own_means
from flaxformers_edu.objectives.rows import Row, forward, numbers
from flaxformers_edu.objectives.several_texts import collate_several
from flaxformers_edu.objectives.token_losses import token_losses

Classify = Callable[[Array], Array]


@dataclasses.dataclass(frozen=True)
class WithLanguageModel(OfLogits):
    """The loss of a task, and lm_weight times that of a language model on the same rows.

    Of the latter it is the mean over rows of the mean over a row's tokens, as in
    openai/finetune-transformer-lm, train.py. The model must be a decoder with a `classifier`.
    """

    lm_weight: float = 0.5
    """Weight of the auxiliary loss of a language model; 0: none."""

    @property
    def num_texts(self) -> int:
        """Texts of an example."""
        raise NotImplementedError

    @property
    def auxiliary_task(self) -> str:
        """The task whose head is computed beside that of `task`, for FLOPs; empty: none."""
        return "causal_lm" if self.lm_weight else ""

    def head(self, classify: Classify, x_BCD: Float[Array, "B C D"]) -> Float[Array, "B N"]:
        """The linear layer on the states of the extract tokens; those of both orders are added."""
        return classify(x_BCD.sum(axis=1))

    def logits(
        self, model: nn.Module, params: Any, batch: Mapping[str, Array], dropout_key: Array | None
    ) -> Float[Array, "B N"]:
        """What the head says; no key means no dropout."""
        return self._read(model, params, batch, dropout_key)[0]

    def loss(
        self, model: nn.Module, params: Any, batch: Mapping[str, Array], dropout_key: Array | None
    ) -> Loss:
        """Both losses; no key means no dropout. `counts` keeps them apart: task_loss, lm_loss."""
        logits_BN, hidden_RTD = self._read(model, params, batch, dropout_key)
        task = self.loss_of(logits_BN, batch["labels"])
        if not self.lm_weight:
            return task
        logits_RTV: Any = model.apply({"params": params}, hidden_RTD, method="to_logits")
        language = language_loss(logits_RTV, *flat(batch))
        joint = joint_loss(task, language, "lm", self.lm_weight)
        return Loss(joint.sum, joint.weight, {**joint.counts, "task_loss": task.sum})

    def measures(self, means: dict[str, float]) -> dict[str, float]:
        """Their sum, each over its own weight, and the counts."""
        found = super().measures(means)
        if not self.lm_weight:
            return found
        found = own_means(found, "lm")
        return {**found, "loss": found["task_loss"] + self.lm_weight * found["lm_loss"]}

    def _read(
        self, model: nn.Module, params: Any, batch: Mapping[str, Array], dropout_key: Array | None
    ) -> tuple[Float[Array, "B N"], Float[Array, "R T D"]]:
        """The task's logits, and the states of all rows."""
        ids_RT, mask_RT = flat(batch)
        inputs = {"input_ids": ids_RT, "attention_mask": mask_RT}
        if self.task == "multiple_choice":
            inputs = {name: batch[name] for name in inputs}
        hidden = forward(model, params, inputs, dropout_key).last_hidden_state
        hidden_RTD = hidden.reshape(*ids_RT.shape, hidden.shape[-1])
        # Rows are padded on the right: their last token is the one to extract from.
        last_R = jnp.maximum(mask_RT.sum(axis=1) - 1, 0)
        x_RD = jnp.take_along_axis(hidden_RTD, last_R[:, None, None], axis=1)[:, 0]
        x_BCD = x_RD.reshape(*batch["input_ids"].shape[:2], hidden.shape[-1])
        classify = partial(classified, model, params, dropout_key)
        return self.head(classify, x_BCD), hidden_RTD

    def collate_with(self, config: Any, missing: float) -> Callable[..., dict]:
        """The function from encoded rows to a batch: ids [rows, C, length], `labels` [rows].

        missing: the label of an empty row.

        Raises:
            InputError: a model whose language the loss cannot reach.
        """
        if not hasattr(config, "tie_embeddings"):
            raise InputError(
                f"the model is a {type(config).__name__}, and GPT-1's tasks are for one that reads "
                "from left to right: take objective classification, regression or multiple_choice"
            )
        if self.lm_weight and not config.tie_embeddings and self.task != "multiple_choice":
            raise InputError(
                "objective.lm_weight needs the output layer, which a classifier has only where it "
                "is the table of tokens: set model.tie_embeddings, or objective.lm_weight to 0"
            )
        return partial(collate_task, config=config, num_texts=self.num_texts, missing=missing)


def check_weight(weight: float) -> None:
    """Raises InputError for a weight that is none."""
    if not 0 <= weight < math.inf:
        raise InputError(f"objective.lm_weight is {weight}; it must be 0 or more")


def collate_task(
    examples: Sequence[Row], rows: int, length: int, *, config: Any, num_texts: int, missing: float
) -> dict[str, np.ndarray]:
    """`collate_several` and `labels` [rows], of the type of `missing`, which empty rows have."""
    batch = collate_several(examples, rows, length, config=config, num_texts=num_texts)
    return {**batch, "labels": numbers(examples, "labels", rows, missing)}


def flat(batch: Mapping[str, Array]) -> tuple[Int[Array, "R T"], Int[Array, "R T"]]:
    """Ids and mask with all texts below each other."""
    ids_BCT, mask_BCT = batch["input_ids"], batch["attention_mask"]
    length = ids_BCT.shape[-1]
    return ids_BCT.reshape(-1, length), mask_BCT.reshape(-1, length)


def classified(
    model: nn.Module, params: Any, dropout_key: Array | None, x_BD: Float[Array, "B D"]
) -> Float[Array, "B N"]:
    """The model's own classifier on states that it is given."""

    def classify(module: Any, x_BD: Array) -> Array:
        return module.classifier(x_BD, deterministic=dropout_key is None)

    rngs = {} if dropout_key is None else {"dropout": dropout_key}
    logits_BN: Any = model.apply({"params": params}, x_BD, method=classify, rngs=rngs)
    return logits_BN


def language_loss(
    logits_RTV: Float[Array, "R T V"], ids_RT: Int[Array, "R T"], mask_RT: Int[Array, "R T"]
) -> Loss:
    """Σ over rows of the mean nll of a row's tokens but the first; the weight is the rows."""
    next_RT, real_RT = (jnp.pad(x_RT[:, 1:], ((0, 0), (0, 1))) for x_RT in (ids_RT, mask_RT != 0))
    loss_RT, _, _ = token_losses(logits_RTV, next_RT)
    tokens_R = real_RT.sum(axis=1, dtype=jnp.float32)
    means_R = jnp.where(real_RT, loss_RT, 0.0).sum(axis=1) / jnp.maximum(tokens_R, 1.0)
    return Loss(means_R.sum(), (tokens_R > 0).sum(dtype=jnp.float32), {})
