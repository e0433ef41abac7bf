"""The body that BERT and its kin share, and the tasks that stand on it.

Embeddings, where their size is another than the states' a projection, and a stack of post-norm
blocks (Vaswani et al. 2017, figure 1, left). What differs between the families is around it.

Dims: B batch, C choices, T length, P predicted places, D hidden size, V vocabulary, N labels.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int

from flaxformers_edu.errors import InputError
from flaxformers_edu.layers.block import Block
from flaxformers_edu.layers.embeddings import TextEmbeddings
from flaxformers_edu.layers.heads import Classifier, MaskedLMHead, Pooler
from flaxformers_edu.layers.intermediates import sow
from flaxformers_edu.layers.linear import Linear
from flaxformers_edu.layers.masks import Mask
from flaxformers_edu.layers.mlp import FeedForward
from flaxformers_edu.layers.multi_head import MultiHeadAttention
from flaxformers_edu.layers.norms import LayerNorm
from flaxformers_edu.layers.stack import Stack
from flaxformers_edu.models.encoder_config import TASKS, EncoderConfig
from flaxformers_edu.models.outputs import BaseOutput, ClassifierOutput, SpanOutput
from flaxformers_edu.sharding import shard

Ids = Int[Array | np.ndarray, "*B T"]
"""Token ids, masks, types, segments or positions, as tokenisers return them: [B, T], [B, C, T]."""
Places = Int[Array | np.ndarray, "B P"]
"""Where a masked language model predicts."""


@struct.dataclass
class MaskedLMOutput:
    """Logits of the vocabulary at every place, or at those that were asked for."""

    logits: Float[Array, "B P V"]
    last_hidden_state: Float[Array, "B T D"]


class Encoder(nn.Module):
    """The body and the heads of a task; the body's parameters have the same names in every task.

    A family's module is this one with what is different there. Of the heads only those that the
    task applies have parameters.
    """

    config: EncoderConfig
    task: str = "base"
    is_encoder_decoder = False

    def setup(self) -> None:
        c, settings = self.config, self.settings
        self.embeddings = self.make_embeddings()
        if c.projects_embeddings:
            self.embedding_projection = Linear(
                (c.hidden_size,), ("embed",), ("features",), **settings
            )
        attention = partial(
            MultiHeadAttention,
            num_heads=c.num_heads,
            hidden_size=c.hidden_size,
            dropout_rate=c.attention_dropout,
            implementation=c.attention_implementation,
            **settings,
        )
        mlp = partial(
            FeedForward,
            hidden_size=c.hidden_size,
            intermediate_size=c.intermediate_size,
            activation=c.activation,
            **settings,
        )
        norm = partial(LayerNorm, epsilon=c.norm_epsilon, dtype=settings["dtype"])
        block = partial(
            Block, attention, mlp, norm, dropout_rate=c.dropout, drop_attention=c.drop_attention
        )
        self.encoder = Stack(
            block,
            c.depth,
            layout=c.layout,
            share=c.share if c.copies is None else "none",
            remat=c.remat,
            copies=c.copies,
        )
        self.pooler = Pooler(c.hidden_size, **settings)
        self.mlm_head = MaskedLMHead(
            c.vocab_size, c.width_of_embeddings, c.mlm_activation, c.norm_epsilon, **settings
        )
        self.classifier = self.make_classifier()
        self.span_head = Classifier(2, c.span_dropout, **settings)

    @property
    def settings(self) -> dict[str, Any]:
        """What every layer with weights takes."""
        init = nn.initializers.normal(self.config.init_std)
        return {"kernel_init": init, "dtype": jnp.dtype(self.config.dtype)}

    @property
    def num_logits(self) -> int:
        """Of the classifier: one a label, or one for each choice."""
        return 1 if self.task == "multiple_choice" else self.config.num_labels

    @nn.nowrap
    def make_embeddings(self) -> nn.Module:
        """What reads the ids."""
        c, settings = self.config, self.settings
        return TextEmbeddings(
            c.vocab_size,
            c.width_of_embeddings,
            c.max_length,
            num_token_types=c.num_token_types,
            position_offset=c.position_offset,
            norm_epsilon=c.norm_epsilon,
            dropout_rate=c.dropout,
            embedding_init=settings["kernel_init"],
            dtype=settings["dtype"],
        )

    @nn.nowrap
    def make_classifier(self) -> nn.Module:
        """The classifier of the task: dropout and one linear layer, where a family has no other."""
        return Classifier(self.num_logits, self.config.dropout_of_classifier, **self.settings)

    @nn.nowrap
    def dummy_inputs(self) -> dict[str, Array]:
        """The smallest inputs that initialise every parameter."""
        shape = (1, 1, 1) if self.task == "multiple_choice" else (1, 1)
        return {"input_ids": jnp.zeros(shape, jnp.int32)}

    def __call__(
        self,
        input_ids: Ids,
        attention_mask: Ids | None = None,
        token_type_ids: Ids | None = None,
        *,
        segment_ids: Ids | None = None,
        positions: Ids | None = None,
        predict_positions: Places | None = None,
        deterministic: bool = True,
    ) -> Any:
        """The output of the task, see the classes above.

        Args:
            input_ids: [B, T]; in multiple choice, as all the others, [B, C, T].
            attention_mask: 1 for real tokens and 0 for padding.
            token_type_ids: 0 for the first sentence and 1 for the second (default: 0). Families
                that do not tell them apart do not look at it.
            segment_ids: of packed rows, in place of attention_mask; 0 is padding.
            positions: of packed rows, from 0 in each segment.
            predict_positions: where a masked language model predicts; None: everywhere.
            deterministic: no dropout.

        Raises:
            InputError: ids of other dimensions than the task's, or longer than max_length.
        """
        self._check(input_ids)
        *rows, T = input_ids.shape

        def flat(x: Any) -> Any:
            return None if x is None else jnp.asarray(x).reshape(-1, T)

        ids = (input_ids, attention_mask, token_type_ids, segment_ids, positions)
        x_BTD = self.encode(*map(flat, ids), deterministic=deterministic)
        if self.task not in TASKS:
            return self.own_task(x_BTD, predict_positions, deterministic)
        match self.task:
            case "base":
                pooled = "base" in self.config.pooled_tasks
                return BaseOutput(x_BTD, self.sentence(x_BTD) if pooled else None)
            case "masked_lm":
                return MaskedLMOutput(self.predict(x_BTD, predict_positions), x_BTD)
            case "token_classification":
                logits_BTN = self.classifier(x_BTD, deterministic=deterministic)
                return ClassifierOutput(logits_BTN, x_BTD)
            case "question_answering":
                logits_BT2 = self.span_head(x_BTD, deterministic=deterministic)
                return SpanOutput(logits_BT2[..., 0], logits_BT2[..., 1], x_BTD)
        logits_BN = self.classifier(self.sentence(x_BTD), deterministic=deterministic)
        if self.task == "multiple_choice":
            return ClassifierOutput(logits_BN.reshape(rows), x_BTD.reshape(*rows, *x_BTD.shape[1:]))
        return ClassifierOutput(logits_BN, x_BTD)

    def encode(
        self,
        input_ids: Int[Array, "B T"],
        attention_mask: Int[Array, "B T"] | None,
        token_type_ids: Int[Array, "B T"] | None,
        segment_ids: Int[Array, "B T"] | None,
        positions: Int[Array, "#B T"] | None,
        *,
        deterministic: bool,
    ) -> Float[Array, "B T D"]:
        """The states of the last layer; what enters the first one is sown as "embedded"."""
        mask = Mask.padding(attention_mask)
        if segment_ids is not None:
            mask = Mask.packed(segment_ids, segment_ids)
        positions = self.default_positions(input_ids) if positions is None else positions
        x_BTD = self.embeddings(input_ids, positions, token_type_ids, deterministic=deterministic)
        if self.config.projects_embeddings:
            x_BTD = self.embedding_projection(x_BTD)
        x_BTD = shard(x_BTD, ("batch", "residual", "embed"))
        sow(self, "embedded", x_BTD)
        return self.encoder(x_BTD, mask, deterministic=deterministic)[0]

    @nn.nowrap
    def default_positions(self, input_ids: Int[Array, "B T"]) -> Int[Array, "#B T"]:
        """The positions of rows that give none: the index, padding or not."""
        return jnp.arange(input_ids.shape[1])[None]

    def sentence(self, x_BTD: Float[Array, "B T D"]) -> Float[Array, "B D"]:
        """The vector of a whole text: the first token's, pooled where the task's family does."""
        x_BD = x_BTD[:, 0]
        return self.pooler(x_BD) if self.task in self.config.pooled_tasks else x_BD

    def predict(
        self, x_BTD: Float[Array, "B T D"], places_BP: Places | None
    ) -> Float[Array, "B P V"]:
        """Logits of the vocabulary at these places of each row; None: at all."""
        if places_BP is not None:
            x_BTD = jnp.take_along_axis(x_BTD, jnp.asarray(places_BP)[:, :, None], axis=1)
        return self.mlm_head(x_BTD, self.embeddings.logits)

    def own_task(
        self, x_BTD: Float[Array, "B T D"], places_BP: Places | None, deterministic: bool
    ) -> Any:
        """The output of a task that the family alone has."""
        raise NotImplementedError(f"{type(self).__name__} has no {self.task}")

    @nn.nowrap
    def _check(self, input_ids: Ids) -> None:
        axes = "[batch, choices, length]" if self.task == "multiple_choice" else "[batch, length]"
        if input_ids.ndim != axes.count(",") + 1:
            raise InputError(
                f"input_ids has the shape {list(input_ids.shape)}; "
                f"for {self.task} it must be {axes}"
            )
        if input_ids.shape[-1] > self.config.max_length:
            raise InputError(
                f"{input_ids.shape[-1]} positions are more than "
                f"model.max_length={self.config.max_length}"
            )
