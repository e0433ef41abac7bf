"""ELMo (Peters et al. 2018, arXiv 1802.05365): words as vectors of the sentence they stand in.

Characters make a vector of each word; one language model reads these from the left, another from
the right, neither sees the other; and a task reads a mixture of all layers of both.

Dims: B batch, T length, C characters of a word, K layers (the words' vectors are the first),
P size of a direction's vectors, D of both (2P), V vocabulary, N labels.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int

from flaxformers_edu.errors import InputError
from flaxformers_edu.layers.char_cnn import CharacterCNN
from flaxformers_edu.layers.dropout import Dropout
from flaxformers_edu.layers.heads import Classifier
from flaxformers_edu.layers.linear import affine, partitioned_param, xavier
from flaxformers_edu.layers.pooling import max_pooling
from flaxformers_edu.layers.recurrent import Recurrent
from flaxformers_edu.layers.recurrent_stack import Bidirectional, RecurrentStack
from flaxformers_edu.layers.scalar_mix import ScalarMix
from flaxformers_edu.models.elmo_config import (
    LANGUAGE,
    SEQUENCE,
    TASKS,
    ElmoConfig,
    TaskModel,
    parameter_count,
)
from flaxformers_edu.models.outputs import ClassifierOutput
from flaxformers_edu.sharding import shard

__all__ = ["PRESETS", "TASKS", "Elmo", "ElmoConfig", "ElmoState", "TaskModel", "parameter_count"]

Characters = Int[Array | np.ndarray, "B T ..."]
Mask = Int[Array | np.ndarray, "B T"]

_LARGE = ElmoConfig()
PRESETS = {
    "elmo-original": _LARGE,
    "elmo-5.5b": _LARGE,
    "elmo-medium": ElmoConfig(hidden_size=2048, projection_size=256, num_highway=1),
    "elmo-small": ElmoConfig(hidden_size=1024, projection_size=128, num_highway=1),
}


@struct.dataclass
class ElmoState:
    """What each direction remembers: a state of each LSTM, from the lowest."""

    forward: tuple[Any, ...]
    backward: tuple[Any, ...]


@struct.dataclass
class ElmoOutput:
    """All layers, forward and backward side by side; zero at padding."""

    last_hidden_state: Float[Array, "B T D"]
    hidden_states: Float[Array, "K B T D"]
    """The words' vectors (twice), then the LSTMs' outputs from the lowest."""
    states: ElmoState
    """To go on from: the argument `states` of the next call."""


@struct.dataclass
class BidirectionalLMOutput:
    """What is said of the next word (forward) and of the one before (backward)."""

    forward_logits: Float[Array, "B T V"]
    backward_logits: Float[Array, "B T V"]
    forward_hidden: Float[Array, "B T P"]
    """What the logits are made of."""
    backward_hidden: Float[Array, "B T P"]
    states: ElmoState


class Direction(nn.Module):
    """A language model without its output layer: LSTMs with projection, from one side."""

    config: ElmoConfig
    reverse: bool

    def setup(self) -> None:
        c, dtype = self.config, jnp.dtype(self.config.dtype)
        lstm = partial(
            Recurrent,
            "lstm",
            c.hidden_size,
            projection_size=c.projection_size,
            recurrent_bias=False,
            cell_clip=c.cell_clip,
            projection_clip=c.projection_clip,
            forget_offset=1.0,
            unroll=c.unroll,
            kernel_init=xavier,
            dtype=dtype,
        )
        self.layers = RecurrentStack(
            [lstm] * c.num_layers, c.dropout, residual=c.residual, reverse=self.reverse
        )
        self.dropout = Dropout(c.dropout)

    def __call__(
        self,
        x_BTP: Float[Array, "B T P"],
        states: tuple[Any, ...] | None,
        mask_BT: Array,
        *,
        deterministic: bool,
    ) -> tuple[list[Float[Array, "B T P"]], tuple[Any, ...]]:
        """The outputs of each LSTM, and the states after the last word read."""
        x_BTP = self.dropout(x_BTP, deterministic=deterministic)
        return self.layers(x_BTP, states, mask_BT, deterministic=deterministic)


class OutputLayer(nn.Module):
    """x Wᵀ + b: a row of W for each word."""

    vocab_size: int
    input_size: int
    dtype: Any = None

    def setup(self) -> None:
        shape, init = (self.vocab_size, self.input_size), nn.initializers.normal
        self.embedding = partitioned_param(
            self, "embedding", init(self.input_size**-0.5), ("vocab", "embed"), shape
        )
        zeros = nn.initializers.zeros
        self.bias = partitioned_param(self, "bias", zeros, ("vocab",), shape[:1])

    def __call__(self, x_BTP: Float[Array, "B T P"]) -> Float[Array, "B T V"]:
        parts = nn.dtypes.promote_dtype(x_BTP, self.embedding, self.bias, dtype=self.dtype)
        x_BTP, table_VP, bias_V = parts
        return shard(affine(x_BTP, table_VP.T, bias_V), ("batch", "length", "vocab"))


class TaskEncoder(nn.Module):
    """Dropout and bidirectional LSTMs: what a task makes of the vectors of its words."""

    head: TaskModel
    dtype: Any = None

    def setup(self) -> None:
        lstm = partial(
            Recurrent, "lstm", self.head.hidden_size, kernel_init=xavier, dtype=self.dtype
        )
        layer = partial(Bidirectional, partial(lstm, recurrent_bias=False, forget_bias=1.0))
        self.layers = RecurrentStack([layer] * self.head.num_layers, self.head.dropout)
        self.dropout = Dropout(self.head.dropout)

    def __call__(self, x: Array, mask_BT: Array, *, deterministic: bool) -> Array:
        x = self.dropout(x, deterministic=deterministic)
        return self.layers(x, None, mask_BT, deterministic=deterministic)[0][-1]


class Elmo(nn.Module):
    """The biLM and the tasks that read it; only what a task applies has parameters."""

    config: ElmoConfig
    task: str = "base"
    is_encoder_decoder = False

    def setup(self) -> None:
        c, head, dtype = self.config, self.config.head, jnp.dtype(self.config.dtype)
        words = partial(
            CharacterCNN, c.num_characters, c.character_size, activation=c.activation, dtype=dtype
        )
        self.token_embedder = words(
            filters=c.filters, num_highway=c.num_highway, output_size=c.projection_size
        )
        self.forward_lm = Direction(c, reverse=False)
        self.backward_lm = Direction(c, reverse=True)
        self.dropout = Dropout(c.dropout)
        self.output = OutputLayer(c.vocab_size, c.projection_size, dtype)
        self.mix = ScalarMix(head.mix_norm)
        self.own_words = words(filters=head.filters, num_highway=0, output_size=head.word_size)
        self.task_encoder = TaskEncoder(head, dtype)
        self.classifier = Classifier(c.num_labels, head.dropout, xavier, dtype)

    @nn.nowrap
    def dummy_inputs(self) -> dict[str, Array]:
        """The smallest inputs that initialise every parameter."""
        return {"input_ids": jnp.ones((1, 1, self.config.max_characters), jnp.int32)}

    def __call__(
        self,
        input_ids: Characters,
        attention_mask: Mask | None = None,
        *,
        states: ElmoState | None = None,
        deterministic: bool = True,
    ) -> Any:
        """The output of the task, see the classes above.

        Args:
            input_ids: characters of words, [B, T, 50], as the tokeniser returns them: <S> and </S>
                around each text are words, too.
            attention_mask: 1 for words and 0 for padding, which is at the end; None: padding are
                words whose characters are all 0.
            states: to go on from, as the released model does from one batch to the next
                (`ElmoOutput.states`); None: zeros.
            deterministic: no dropout.

        Raises:
            InputError: ids of another shape.
        """
        if input_ids.ndim != 3 or input_ids.shape[-1] != self.config.max_characters:
            raise InputError(
                f"input_ids has the shape {list(input_ids.shape)}; it must be [batch, length, "
                f"{self.config.max_characters}], words as characters: p.tokenizer(texts) gives them"
            )
        input_ids = jnp.asarray(input_ids)
        real_BT = (input_ids > 0).any(-1) if attention_mask is None else attention_mask
        mask_BT = jnp.asarray(real_BT) != 0
        if self.task == "base":
            layers_KBTD, after = self.encode(input_ids, mask_BT, states)
            return ElmoOutput(layers_KBTD[-1], layers_KBTD, after)
        if self.task == LANGUAGE:
            return self._language(input_ids, mask_BT, states, deterministic)
        x_BTD = self._task(input_ids, mask_BT, states, deterministic)
        if self.task == SEQUENCE:
            logits_BN = self.classifier(max_pooling(x_BTD, mask_BT), deterministic=deterministic)
            return ClassifierOutput(logits_BN, x_BTD)
        return ClassifierOutput(self.classifier(x_BTD, deterministic=deterministic), x_BTD)

    def encode(
        self, input_ids: Array, mask_BT: Array, states: ElmoState | None
    ) -> tuple[Float[Array, "K B T D"], ElmoState]:
        """All layers of the biLM without dropout, zero at padding, and its states."""
        sides, after = self._read(input_ids, mask_BT, states, deterministic=True)
        layers = [jnp.concatenate(pair, axis=-1) for pair in zip(*sides, strict=True)]
        return jnp.where(mask_BT[None, ..., None], jnp.stack(layers), 0), after

    def _read(
        self, input_ids: Array, mask_BT: Array, states: ElmoState | None, *, deterministic: bool
    ) -> tuple[list[list[Array]], ElmoState]:
        """Forward and backward: the words' vectors, and what each LSTM makes of them."""
        x_BTP = shard(self.token_embedder(input_ids), ("batch", "length", "embed"))
        sides, after = [], []
        for name, direction in (("forward", self.forward_lm), ("backward", self.backward_lm)):
            before = None if states is None else getattr(states, name)
            outputs, last = direction(x_BTP, before, mask_BT, deterministic=deterministic)
            sides.append([x_BTP, *outputs])
            after.append(last)
        return sides, ElmoState(*after)

    def _language(
        self, input_ids: Array, mask_BT: Array, states: ElmoState | None, deterministic: bool
    ) -> BidirectionalLMOutput:
        sides, after = self._read(input_ids, mask_BT, states, deterministic=deterministic)
        left, right = (self.dropout(side[-1], deterministic=deterministic) for side in sides)
        return BidirectionalLMOutput(self.output(left), self.output(right), left, right, after)

    def _task(
        self, input_ids: Array, mask_BT: Array, states: ElmoState | None, deterministic: bool
    ) -> Float[Array, "B T D"]:
        """What the task's LSTMs say of each word."""
        head, parts = self.config.head, []
        if head.features != "none":
            layers_KBTD, _ = self.encode(input_ids, mask_BT, states)
            mixed = head.features == "mixed"
            parts.append(self.mix(layers_KBTD, mask_BT) if mixed else layers_KBTD[-1])
        if head.filters:
            parts.append(self.own_words(input_ids))
        x_BTD = jnp.concatenate(parts, axis=-1)
        return self.task_encoder(x_BTD, mask_BT, deterministic=deterministic)

    def to_logits(self, x_BTP: Float[Array, "B T P"]) -> Float[Array, "B T V"]:
        """The output layer, which both directions share."""
        return self.output(x_BTP)

    @nn.nowrap
    def head_params(self, params: Any) -> dict[str, Any]:
        """The parameters that `to_logits` reads."""
        return {"output": params["output"]}
