"""Translation: predict each target token from the source and the target before it.

Dims: L layers, H heads, S source length, T target length.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from flaxformers_edu.decoding import generate
from flaxformers_edu.errors import InputError
from flaxformers_edu.metrics.bleu import sacrebleu_score
from flaxformers_edu.objectives.base import JudgedByScore
from flaxformers_edu.objectives.losses import Loss, check_loss_chunks, next_token_loss
from flaxformers_edu.text.batching import collate_translation, collate_translation_packed
from flaxformers_edu.text.tokenizer import Tokenizer


@dataclasses.dataclass(frozen=True)
class Translation(JudgedByScore):
    """Teacher forcing with label smoothing (Vaswani et al. 2017, section 5.4); scored by BLEU."""

    label_smoothing: float = 0.1
    """Probability taken from the label and spread over the whole vocabulary."""
    loss_chunks: int = 1
    """Parts of the length whose logits are computed one after the other: less memory."""

    task = "seq2seq_lm"
    metric = "bleu"
    generates = True

    def __post_init__(self) -> None:
        check_loss_chunks(self.loss_chunks)
        if not 0 <= self.label_smoothing < 1:
            raise InputError(
                f"objective.label_smoothing={self.label_smoothing} must be at least 0 and below 1"
            )

    def texts(self, example: Mapping[str, Any]) -> list[str]:
        """What a tokeniser is trained on: both sides, for they share one vocabulary."""
        return [example["source"], example["target"]]

    def encode(
        self, example: Mapping[str, Any], tokenizer: Tokenizer, *, max_length: int
    ) -> dict[str, list[int]]:
        """A pair {"source", "target"} as token ids, each with its end token, however long."""
        return {
            "input_ids": tokenizer.encode(example["source"]),
            "labels": tokenizer.encode(example["target"]),
        }

    def collate(self, config: Any, *, packed: bool = False) -> Callable[..., dict]:
        """The function from encoded examples to a batch: padded pairs, or several pairs a row.

        Raises:
            InputError: several pairs a row, for a model that reads one.
        """
        if packed and not getattr(config, "packs", True):
            raise InputError(
                "batching.packing puts several sentences into a row, and this model would read "
                "them as one: unset it"
            )
        return partial(
            collate_translation_packed if packed else collate_translation,
            pad_token_id=config.pad_token_id,
            decoder_start_token_id=config.decoder_start_token_id,
        )

    def loss(
        self, model: nn.Module, params: Any, batch: Mapping[str, Array], dropout_key: Array | None
    ) -> Loss:
        """Cross-entropy over the target tokens; no key means no dropout and no label smoothing."""
        return next_token_loss(
            model,
            params,
            batch,
            dropout_key,
            label_smoothing=0.0 if dropout_key is None else self.label_smoothing,
            chunks=self.loss_chunks,
        )

    def measures(self, means: dict[str, float]) -> dict[str, float]:
        """The means as they are: the loss is smoothed, and the nll is not."""
        return means

    def predict(
        self, model: nn.Module, params: Any, batch: Mapping[str, Array], **settings: Any
    ) -> dict[str, Array]:
        """Token ids of one translation a row, by `decoding.generate` with `settings`."""
        found = generate(model, params, batch["input_ids"], batch["attention_mask"], **settings)
        return {"sequences": found.sequences}

    def outcomes(
        self,
        rows: Sequence[Mapping[str, np.ndarray]],
        encoded: Any,
        examples: Sequence[Mapping[str, Any]],
        tokenizer: Tokenizer,
    ) -> list[str]:
        """The translations as texts."""
        return [tokenizer.decode(row["sequences"].tolist()) for row in rows]

    def alignment(
        self, model: nn.Module, params: Any, source_ids: Sequence[int], target_ids: Sequence[int]
    ) -> Float[Array, "L H T S"]:
        """Cross-attention of every layer and head while each target token is predicted.

        L is 0 where the model looks at no source.
        """
        collate = self.collate(model.config)
        example = {"input_ids": list(source_ids), "labels": list(target_ids)}
        batch = collate([example], 1, max(len(source_ids), len(target_ids)))
        del batch["labels"]
        batch = jax.tree.map(jnp.asarray, batch)
        _, sown = model.apply({"params": params}, **batch, mutable=["intermediates"])
        decoder = sown.get("intermediates", {}).get("decoder", {})
        if "cross_attention" not in decoder:
            return jnp.zeros((0, 0, len(target_ids), len(source_ids)))
        weights_LBHTS = decoder["cross_attention"]["weights"]
        return weights_LBHTS[:, 0, :, : len(target_ids), : len(source_ids)]

    def score(
        self, outcomes: Sequence[str], examples: Sequence[Mapping[str, Any]]
    ) -> dict[str, float]:
        """Corpus BLEU by sacrebleu: cased, on detokenised text."""
        references = [example["target"] for example in examples]
        return {"bleu": sacrebleu_score(outcomes, references).score}
