"""Replaced-token detection (Clark et al. 2020): say of each token whether it is the text's own.

A small generator fills in hidden tokens, and the discriminator looks for what it filled in. This
is no GAN (section 2): the generator is trained by maximum likelihood, not to deceive, for no
gradient passes through the tokens that it draws; a token that it guesses right counts as real; and
it is given no noise to begin from.

Dims: B rows, T length, P places.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from flaxformers_edu.errors import InputError
from flaxformers_edu.objectives.documents import HiddenTokens, encode_documents
from flaxformers_edu.objectives.full_rows import text_segments
from flaxformers_edu.objectives.losses import (
    Loss,
    cross_entropy,
    joint_loss,
    own_means,
    perplexity,
)
from flaxformers_edu.objectives.masking import Masking, mask_batch, split_key
from flaxformers_edu.objectives.rows import forward, room_for_text
from flaxformers_edu.text.batching import IGNORED_LABEL
from flaxformers_edu.text.tokenizer import Tokenizer


@dataclasses.dataclass(frozen=True)
class ReplacedTokenDetection(HiddenTokens):
    """The generator's mean over hidden tokens, plus 50 times the discriminator's over all."""

    masking: Masking = Masking(masked=0.85, random=0.0)
    """What is hidden from the generator: 85% of it by [MASK], 15% as it is (the released code). It
    draws positions with replacement; here they are without, and so always 15%."""
    discriminator_weight: float = 50.0
    """λ: of the discriminator's loss beside the generator's (section 3.1)."""

    task = "joint_pretraining"

    def __post_init__(self) -> None:
        if self.discriminator_weight < 0:
            raise InputError(
                f"objective.discriminator_weight is {self.discriminator_weight}; it must not be < 0"
            )

    def encode_corpus(
        self,
        examples: Sequence[Mapping[str, Any]],
        tokenizer: Tokenizer,
        *,
        max_length: int,
        seed: int,
    ) -> Iterator[dict[str, np.ndarray]]:
        """One or two segments of running text of documents {"sentences"} or {"text"}.

        Raises:
            InputError: the tokeniser has no mask token, or max_length no room for two texts.
        """
        documents = encode_documents(examples, tokenizer)
        make_row = self.row_maker(tokenizer, documents)
        found = text_segments(
            documents,
            np.random.default_rng(seed),
            max_length=max_length,
            room_single=room_for_text(tokenizer, max_length, pair=False),
            room_pair=room_for_text(tokenizer, max_length, pair=True),
        )
        for ids_a, ids_b in found:
            yield make_row(ids_a, ids_b)

    def loss(
        self, model: nn.Module, params: Any, batch: Mapping[str, Array], dropout_key: Array | None
    ) -> Loss:
        """Both losses; see `joint_loss`. No key means no dropout, fixed choices and draws."""
        config: Any = model.config
        mask_key, draw_key, *drop_keys = split_key(dropout_key, 4)
        generator_key, discriminator_key = drop_keys if dropout_key is not None else (None, None)
        hidden, labels_BP = mask_batch(batch, config, self.masking, mask_key)
        generated = forward(model, params, hidden, generator_key, method="generate")
        # `categorical` adds Gumbel noise and takes the greatest: a draw from the softmax.
        drawn_BP = jax.random.categorical(
            draw_key, jax.lax.stop_gradient(generated.logits.astype(jnp.float32))
        )
        drawn_BP = jnp.where(labels_BP == IGNORED_LABEL, IGNORED_LABEL, drawn_BP)
        ids_BT = replace(batch["input_ids"], hidden.pop("predict_positions"), drawn_BP)
        read = {**hidden, "input_ids": ids_BT}
        output = forward(model, params, read, discriminator_key, method="discriminate")
        found = detection_loss(output.logits, ids_BT != batch["input_ids"], batch["attention_mask"])
        tokens = cross_entropy(generated.logits, labels_BP)
        return joint_loss(tokens, found, "discriminator", self.discriminator_weight)

    def measures(self, means: dict[str, float]) -> dict[str, float]:
        """Both losses over their own weights, the generator's perplexity, and of the tokens that
        are replaced how many are found (recall), of those called so how many are (precision).

        So few are replaced that a discriminator can know much and call none. "explained" is the
        part of the entropy, of which tokens are replaced, that its loss is below; 0: it knows how
        many they are, and no more.
        """
        found = own_means(means, "discriminator")
        share, called, right = (
            found.pop(f"discriminator_{name}") for name in ("replaced", "called", "right")
        )
        loss = found["nll"] + self.discriminator_weight * found["discriminator_loss"]
        return {
            **found,
            "loss": loss,
            "perplexity": perplexity(found["nll"]),
            "replaced": share,
            "explained": 1 - found["discriminator_loss"] / entropy(share) if 0 < share < 1 else 0.0,
            "precision": right / called if called else 0.0,
            "recall": right / share if share else 0.0,
        }


def entropy(share: float) -> float:
    """Of a coin that falls so with a probability between 0 and 1, in nats."""
    return -share * math.log(share) - (1 - share) * math.log(1 - share)


def replace(
    ids_BT: Int[Array, "B T"], positions_BP: Int[Array, "B P"], new_BP: Int[Array, "B P"]
) -> Int[Array, "B T"]:
    """The ids with new ones at some positions; a new id of -100 changes nothing."""
    T = ids_BT.shape[1]
    real_BP = new_BP != IGNORED_LABEL
    here_BPT = positions_BP[:, :, None] == jnp.arange(T)[None, None, :]
    here_BPT &= real_BP[:, :, None]
    # At most one place is at a position: a sum, for a scatter would not stay on its devices.
    put_BT = jnp.where(here_BPT, new_BP[:, :, None], 0).sum(axis=1)
    return jnp.where(here_BPT.any(axis=1), put_BT, ids_BT).astype(ids_BT.dtype)


def detection_loss(
    logits_BT: Float[Array, "B T"], replaced_BT: Array, mask_BT: Int[Array, "B T"]
) -> Loss:
    """Binary cross-entropy over all real tokens: replaced, or the text's own.

    `counts`: tokens rightly told ("accuracy"), replaced, called so, and both ("right").
    """
    logits_BT = logits_BT.astype(jnp.float32)
    loss_BT = optax.sigmoid_binary_cross_entropy(logits_BT, replaced_BT.astype(jnp.float32))
    called_BT = logits_BT > 0

    def total(x_BT: Array) -> Array:
        return jnp.where(mask_BT > 0, x_BT, 0).sum(dtype=jnp.float32)

    return Loss(
        sum=total(loss_BT),
        weight=total(jnp.ones_like(loss_BT)),
        counts={
            "accuracy": total(called_BT == replaced_BT),
            "replaced": total(replaced_BT),
            "called": total(called_BT),
            "right": total(called_BT & replaced_BT),
        },
    )
