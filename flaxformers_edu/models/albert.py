"""ALBERT (Lan et al. 2019, arXiv 1909.11942): BERT with far fewer parameters.

Three changes (section 3.1): tables of tokens in few dimensions, projected to the width of the
states; parameters that all layers share, or the layers of a group; and, for the second task of
pre-training, the order of two segments that do follow each other.

Dims: B batch, T length, P predicted places, D hidden size, V vocabulary.
"""

import dataclasses
from typing import ClassVar

from flax import struct
from jaxtyping import Array, Float

from flaxformers_edu import flops
from flaxformers_edu.errors import InputError
from flaxformers_edu.layers.heads import Classifier
from flaxformers_edu.layers.stack import Share
from flaxformers_edu.models.encoder import Encoder, Places
from flaxformers_edu.models.encoder_config import TASKS as COMMON_TASKS
from flaxformers_edu.models.encoder_config import EncoderConfig

TASKS = (*COMMON_TASKS, "pretraining")


@dataclasses.dataclass(frozen=True)
class AlbertConfig(EncoderConfig):
    """The defaults are ALBERT-base, version 2: without dropout but before a classifier."""

    vocab_size: int = 30000
    """SentencePiece's pieces."""
    embedding_size: int | None = 128
    """Size of the embeddings, E in the paper; None: hidden_size."""
    activation: str = "gelu_tanh"
    """relu, gelu, gelu_tanh, quick_gelu or silu."""
    dropout: float = 0.0
    """On the embeddings and on what each sublayer adds to the residual; 0.1 in version 1."""
    attention_dropout: float = 0.0
    """On the attention weights; 0.1 in version 1."""
    classifier_dropout: float | None = 0.1
    """Before a classifier; None: as dropout."""
    eos_token_id: int = 3
    """[SEP], the end of a text."""
    mask_token_id: int = 4
    """[MASK]."""
    share: Share = "all"
    """Parameters shared by the layers (table 4): none, attention, ffn or all."""
    num_groups: int = 1
    """The layers are divided into so many groups, and those of a group share their parameters."""
    inner_group_num: int = 1
    """Layers with parameters of their own in a group; each of num_layers is all of them in turn."""

    tasks: ClassVar[tuple[str, ...]] = TASKS
    pooled_tasks: ClassVar[tuple[str, ...]] = (*EncoderConfig.pooled_tasks, "pretraining")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.num_groups <= self.num_layers:
            raise InputError(
                f"model.num_groups is {self.num_groups}; it must be from 1 to "
                f"model.num_layers {self.num_layers}"
            )
        if self.inner_group_num < 1:
            raise InputError(
                f"model.inner_group_num is {self.inner_group_num}; it must be at least 1"
            )
        if self.copies is not None and self.share != "all":
            raise InputError(
                f"model.share is {self.share!r}; with groups (model.num_groups {self.num_groups}, "
                f"model.inner_group_num {self.inner_group_num}) it must be 'all'"
            )

    @property
    def projects_embeddings(self) -> bool:
        """Always, as in every released model; even where the sizes are the same."""
        return True

    @property
    def copies(self) -> tuple[int, ...] | None:
        """Layer j of group g has the parameters g · inner_group_num + j; None for one of one."""
        inner, groups = self.inner_group_num, self.num_groups
        if inner == groups == 1:
            return None
        group_of = [i * groups // self.num_layers for i in range(self.num_layers)]
        return tuple(group * inner + j for group in group_of for j in range(inner))

    def build(self, task: str = "base") -> "Albert":
        self.check_task(task)
        return Albert(self, task)

    def head_flops(self, task: str, rows: int, tokens: int, places: int) -> dict[str, float]:
        if task != "pretraining":
            return super().head_flops(task, rows, tokens, places)
        sentence = {"sentence_head": flops.linear(rows, self.hidden_size, 2)}
        return super().head_flops("masked_lm", rows, tokens, places) | sentence


def _sized(hidden_size: int, num_layers: int, num_heads: int) -> AlbertConfig:
    return AlbertConfig(
        hidden_size=hidden_size,
        num_layers=num_layers,
        num_heads=num_heads,
        intermediate_size=4 * hidden_size,
    )


# Table 1, with the heads of the released models.
PRESETS = {
    "albert-base": _sized(768, 12, 12),
    "albert-large": _sized(1024, 24, 16),
    "albert-xlarge": _sized(2048, 24, 16),
    "albert-xxlarge": _sized(4096, 12, 64),
}


@struct.dataclass
class AlbertPreTrainingOutput:
    """Logits of both tasks; of the second, 0: the segments are in order, 1: they are swapped."""

    prediction_logits: Float[Array, "B P V"]
    sop_logits: Float[Array, "B 2"]
    last_hidden_state: Float[Array, "B T D"]


class Albert(Encoder):
    """The encoder, with the order of sentences as a second task of pre-training."""

    def setup(self) -> None:
        super().setup()
        self.sentence_head = Classifier(2, self.config.dropout_of_classifier, **self.settings)

    def own_task(
        self, x_BTD: Float[Array, "B T D"], places_BP: Places | None, deterministic: bool
    ) -> AlbertPreTrainingOutput:
        """Masked language model and sentence order (section 3.1, "inter-sentence coherence")."""
        order_B2 = self.sentence_head(self.sentence(x_BTD), deterministic=deterministic)
        return AlbertPreTrainingOutput(self.predict(x_BTD, places_BP), order_B2, x_BTD)
