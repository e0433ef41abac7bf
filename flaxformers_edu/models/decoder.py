"""The body that all decoder-only families share, the tasks that stand on it, and cached decoding.

Embeddings, with a table of positions where these do not turn queries and keys, a stack of causal
blocks, and a final norm where the blocks have theirs before the sublayers. What differs between the
families is in their configs.

Dims: B batch, C choices, T length, P prompt length, N hypotheses a row, D hidden size,
V vocabulary.
"""

from dataclasses import replace
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from flaxformers_edu.errors import InputError
from flaxformers_edu.layers.cache import (
    DecodeCache,
    Slots,
    empty_layers,
    num_slots,
    prompt_positions,
)
from flaxformers_edu.layers.dropout import Dropout
from flaxformers_edu.layers.embeddings import TokenEmbedding
from flaxformers_edu.layers.heads import Classifier
from flaxformers_edu.layers.intermediates import sow
from flaxformers_edu.layers.linear import Linear
from flaxformers_edu.layers.masks import Mask
from flaxformers_edu.layers.positions import LearnedPositions
from flaxformers_edu.layers.stack import Stack, layers_apart
from flaxformers_edu.models.decoder_block import block_of, norm_of
from flaxformers_edu.models.decoder_config import LANGUAGE_TASKS, DecoderConfig
from flaxformers_edu.models.outputs import BaseOutput, ClassifierOutput, SpanOutput
from flaxformers_edu.sharding import shard

Ids = Int[Array | np.ndarray, "*B T"]
"""Token ids, masks, segments or positions, as tokenisers return them: [B, T], [B, C, T]."""
Places = Int[Array | np.ndarray, "*B"]
"""One token of each text, or of each choice."""


@struct.dataclass
class CausalLMOutput:
    """Logits of the next token at every position."""

    logits: Float[Array, "B T V"]
    last_hidden_state: Float[Array, "B T D"]


class Decoder(nn.Module):
    """The body and the heads of a task; the body's parameters have the same names in every task.

    Of the heads only those that the task applies have parameters.
    """

    config: DecoderConfig
    task: str = "causal_lm"
    is_encoder_decoder = False

    def setup(self) -> None:
        c = self.config
        init, dtype = nn.initializers.normal(c.init_std), jnp.dtype(c.dtype)
        self.embedding = TokenEmbedding(c.vocab_size, c.hidden_size, 1.0, init, dtype)
        if c.positions == "learned":
            self.positions = LearnedPositions(c.max_length, c.hidden_size, 0, init, dtype)
        self.decoder = Stack(
            block_of(c), c.num_layers, layout=c.layout, share=c.share, remat=c.remat
        )
        if c.norm_position == "pre":
            self.norm = norm_of(c)()
        if not c.tie_embeddings:
            self.output = Linear((c.vocab_size,), ("embed",), ("vocab",), False, init, dtype)
        num_logits = 1 if self.task == "multiple_choice" else c.num_labels
        # Whole texts are classified without a bias in Hugging Face's models, too.
        use_bias = self.task != "sequence_classification"
        self.classifier = Classifier(num_logits, c.classifier_dropout, init, dtype, use_bias)
        self.span_head = Classifier(2, 0.0, init, dtype)
        self.dropout = Dropout(c.embedding_dropout)

    @nn.nowrap
    def dummy_inputs(self) -> dict[str, Array]:
        """The smallest inputs that initialise every parameter."""
        shape = (1, 1, 1) if self.task == "multiple_choice" else (1, 1)
        return {"input_ids": jnp.zeros(shape, jnp.int32)}

    def __call__(
        self,
        input_ids: Ids,
        attention_mask: Ids | None = None,
        *,
        cls_positions: Places | None = None,
        segment_ids: Ids | None = None,
        positions: Ids | None = None,
        prefix_mask: Ids | None = None,
        deterministic: bool = True,
    ) -> Any:
        """The output of the task: logits of the next token, of labels, of choices or of spans.

        Args:
            input_ids: [B, T]; in multiple choice, as all the others, [B, C, T].
            attention_mask: 1 for real tokens and 0 for padding, on either side: positions count
                the real tokens.
            cls_positions: at which token of each text a classifier reads; None: the last real one.
            segment_ids: of packed rows, in place of attention_mask; 0 is padding.
            positions: of packed rows, from 0 in each segment.
            prefix_mask: 1 for the tokens that all of their text see, in a prefix language model.
            deterministic: no dropout.

        Raises:
            InputError: ids of other dimensions than the task's, or longer than max_length.
        """
        self._check_shape(input_ids, given=positions is not None)
        *rows, T = input_ids.shape

        def flat(x: Any) -> Any:
            return None if x is None else jnp.asarray(x).reshape(-1, T)

        ids_BT, real_BT, segments_BT, positions_BT, prefix_BT = map(
            flat, (input_ids, attention_mask, segment_ids, positions, prefix_mask)
        )
        x_BTD = self.decode(ids_BT, real_BT, segments_BT, positions_BT, prefix_BT, deterministic)
        match self.task:
            case "base":
                return BaseOutput(x_BTD, None)
            case "causal_lm":
                return CausalLMOutput(self.to_logits(x_BTD), x_BTD)
            case "token_classification":
                logits_BTN = self.classifier(x_BTD, deterministic=deterministic)
                return ClassifierOutput(logits_BTN, x_BTD)
            case "question_answering":
                logits_BT2 = self.span_head(x_BTD, deterministic=deterministic)
                return SpanOutput(logits_BT2[..., 0], logits_BT2[..., 1], x_BTD)
        real_BT = segments_BT if segments_BT is not None else real_BT
        places_B = last_real(real_BT, *x_BTD.shape[:2])
        if cls_positions is not None:
            places_B = jnp.asarray(cls_positions).reshape(-1)
        x_BD = jnp.take_along_axis(x_BTD, places_B[:, None, None], axis=1)[:, 0]
        logits_BN = self.classifier(x_BD, deterministic=deterministic)
        if self.task == "sequence_classification":
            return ClassifierOutput(logits_BN, x_BTD)
        if self.is_initializing():
            self.to_logits(x_BTD)  # for a language model's loss beside that of the choices
        return ClassifierOutput(logits_BN.reshape(rows), x_BTD.reshape(*rows, *x_BTD.shape[1:]))

    def decode(
        self,
        input_ids: Int[Array, "B T"],
        attention_mask: Int[Array, "B T"] | None,
        segment_ids: Int[Array, "B T"] | None,
        positions: Int[Array, "B T"] | None,
        prefix_mask: Int[Array, "B T"] | None,
        deterministic: bool,
    ) -> Float[Array, "B T D"]:
        """The states after the last layer; what enters the first one is sown as "embedded"."""
        mask = Mask.padding(attention_mask, causal=True)
        if segment_ids is not None:
            mask = Mask.packed(segment_ids, segment_ids, causal=True)
        if prefix_mask is not None:
            mask = mask.with_prefix(prefix_mask)
        if positions is None and attention_mask is not None:
            positions = prompt_positions(attention_mask != 0)
        x_BTD = self._embed(input_ids, positions, deterministic)
        sow(self, "embedded", x_BTD)
        x_BTD, _ = self.decoder(
            x_BTD,
            in_turn=[{"mask": replace(mask, window=w)} for w in self.config.windows],
            positions_BT=positions,
            deterministic=deterministic,
        )
        return self._normed(x_BTD)

    @nn.nowrap
    def head_params(self, params: Any) -> Any:
        """The part of the parameters that `to_logits` needs."""
        name = "embedding" if self.config.tie_embeddings else "output"
        return {name: params[name]}

    def to_logits(self, x_BTD: Float[Array, "B T D"]) -> Float[Array, "B T V"]:
        """The output layer: the table of tokens unless untied, times base over width in muP.

        Raises:
            InputError: a task without an output layer, where that is not the table.
        """
        c = self.config
        if not c.tie_embeddings and self.task not in LANGUAGE_TASKS:
            raise InputError(
                f"a model for {self.task} has no output layer with model.tie_embeddings off; turn "
                f"it on, or take one of the tasks {', '.join(LANGUAGE_TASKS)}"
            )
        x_BTD = x_BTD * c.base_ratio if c.mup_base_width else x_BTD
        logits_BTV = self.embedding.logits(x_BTD) if c.tie_embeddings else self.output(x_BTD)
        return shard(logits_BTV, ("batch", "length", "vocab"))

    @nn.nowrap
    def for_decoding(self, params: Any) -> tuple["Decoder", Any]:
        """The form to decode with, see `layers_apart`."""
        return layers_apart(self, params)

    def start_cache(
        self,
        input_ids: Ids,
        attention_mask: Ids | None = None,
        *,
        num_beams: int,
        max_new_tokens: int,
    ) -> DecodeCache:
        """The cache with all of the prompt but its last token, padded on the left."""
        c = self.config
        # The very last token that is generated is never read.
        self._check_length(input_ids.shape[1] + max_new_tokens - 1)
        prompt_BP = jnp.asarray(input_ids)[:, :-1]
        B, P = prompt_BP.shape
        mask_BP: Bool[Array, "B P"] = jnp.ones((B, P), bool)
        if attention_mask is not None:
            mask_BP = jnp.asarray(attention_mask)[:, :-1] != 0
        slots = num_slots(P, num_beams, max_new_tokens)
        empty = Slots.empty(B, c.kv_heads, slots, c.width_of_heads, jnp.dtype(c.dtype))
        layers = empty_layers(empty, c.num_layers, stacked=c.layout == "scanned")
        if P:
            mask, positions_BP = Mask(causal=True, key_mask_BS=mask_BP), prompt_positions(mask_BP)
            _, layers = self.decoder(
                self._embed(prompt_BP, positions_BP, deterministic=True),
                in_turn=[{"mask": replace(mask, window=w)} for w in c.windows],
                positions_BT=positions_BP,
                cache=layers,
            )
        return DecodeCache.create(
            layers, prompt_mask_BP=mask_BP, num_beams=num_beams, max_new_tokens=max_new_tokens
        )

    def decode_step(
        self, tokens_BN: Int[Array, "B N"], cache: DecodeCache
    ) -> tuple[Float[Array, "B N V"], DecodeCache]:
        """Logits after the newest token of each hypothesis, and the cache with that token in it."""
        cache = cache.extend()
        x_BND, layers = self.decoder(
            self._embed(tokens_BN, cache.positions(), deterministic=True),
            in_turn=[{"mask": cache.mask(w)} for w in self.config.windows],
            positions_BT=cache.positions(),
            cache=cache.layers,
            slot=cache.next_slot,
        )
        return self.to_logits(self._normed(x_BND)), cache.advance(layers)

    def _embed(
        self,
        input_ids: Int[Array, "B T"],
        positions: Int[Array, "#B T"] | None,
        deterministic: bool,
    ) -> Float[Array, "B T D"]:
        x_BTD = self.embedding(input_ids)
        if self.config.positions == "learned":
            T = input_ids.shape[1]
            x_BTD = x_BTD + self.positions(jnp.arange(T)[None] if positions is None else positions)
        x_BTD = self.dropout(x_BTD, deterministic=deterministic)
        return shard(x_BTD, ("batch", "residual", "embed"))

    def _normed(self, x_BTD: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        return self.norm(x_BTD) if self.config.norm_position == "pre" else x_BTD

    @nn.nowrap
    def _check_shape(self, input_ids: Ids, *, given: bool) -> None:
        axes = "[batch, choices, length]" if self.task == "multiple_choice" else "[batch, length]"
        if input_ids.ndim != axes.count(",") + 1:
            raise InputError(
                f"input_ids has the shape {list(input_ids.shape)}; "
                f"for {self.task} it must be {axes}"
            )
        if not given:  # rows of several texts may be longer than each of them
            self._check_length(input_ids.shape[-1])

    @nn.nowrap
    def _check_length(self, length: int) -> None:
        if length > self.config.max_length:
            raise InputError(
                f"{length} positions are more than model.max_length={self.config.max_length}"
            )


def last_real(real_BT: Int[Array, "B T"] | None, num_rows: int, length: int) -> Int[Array, " B"]:
    """The last token of each row that is no padding (0); None: there is none."""
    if real_BT is None:
        return jnp.full((num_rows,), length - 1)
    return length - 1 - jnp.argmax(real_BT[:, ::-1] != 0, axis=1)
