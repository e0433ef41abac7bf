"""ELECTRA (Clark et al. 2020, arXiv 2003.10555): an encoder that tells replaced tokens from real.

Two encoders learn together. The generator, a small one, fills in masked tokens; the discriminator
says of every token whether it is the text's or the generator's. Both read the same embeddings
(section 3.2), and only the discriminator is kept.

Dims: B batch, T length, P predicted places, D hidden size, V vocabulary.
"""

import dataclasses
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from flaxformers_edu import flops
from flaxformers_edu.errors import InputError
from flaxformers_edu.flops import Shapes
from flaxformers_edu.layers.heads import TwoLayerClassifier
from flaxformers_edu.models.encoder import Encoder, MaskedLMOutput, Places
from flaxformers_edu.models.encoder_config import TASKS as COMMON_TASKS
from flaxformers_edu.models.encoder_config import EncoderConfig

TASKS = (*COMMON_TASKS, "pretraining", "joint_pretraining")


@dataclasses.dataclass(frozen=True)
class ElectraConfig(EncoderConfig):
    """The defaults are the discriminator of ELECTRA-base."""

    generator_fraction: float = 1 / 3
    """Width of the generator that learns with it over its own (table 6)."""

    tasks: ClassVar[tuple[str, ...]] = TASKS
    pooled_tasks: ClassVar[tuple[str, ...]] = ()
    two_layer_tasks: ClassVar[tuple[str, ...]] = ("sequence_classification", "multiple_choice")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.generator_fraction <= 1:
            raise InputError(
                f"model.generator_fraction is {self.generator_fraction}; it must be above 0 "
                "and at most 1"
            )

    @property
    def mlm_activation(self) -> str:
        """The generator's head has this one, whatever the layers have."""
        return "gelu"

    def generator(self) -> "ElectraConfig":
        """Its generator: as deep, a fraction as wide, and with embeddings of the same size.

        Heads of 64 and 4 times the width inside the feed-forward network, as the released code.
        """
        width = round(self.hidden_size * self.generator_fraction)
        return dataclasses.replace(
            self,
            embedding_size=self.width_of_embeddings,
            hidden_size=width,
            num_heads=max(1, width // 64),
            intermediate_size=4 * width,
        )

    def build(self, task: str = "pretraining") -> "Electra | ElectraPreTraining":
        self.check_task(task)
        return ElectraPreTraining(self) if task == "joint_pretraining" else Electra(self, task)

    def forward_flops(
        self, shapes: Shapes, *, masked: bool = False, task: str = "base"
    ) -> dict[str, float]:
        """As all encoders; in "joint_pretraining" of both models."""
        if task != "joint_pretraining":
            return super().forward_flops(shapes, masked=masked, task=task)
        generator = self.generator().forward_flops(shapes, task="masked_lm")
        discriminator = self.forward_flops(shapes, task="pretraining")
        return {
            **flops.within("generator", generator),
            **flops.within("discriminator", discriminator),
        }

    def head_flops(self, task: str, rows: int, tokens: int, places: int) -> dict[str, float]:
        D = self.hidden_size
        if task == "pretraining":
            head = flops.linear(tokens, D, D) + flops.linear(tokens, D, 1)
            return {"discriminator_head": head}
        return super().head_flops(task, rows, tokens, places)


# Table 6. The paper's small model learned with a generator of 1/4; the one that was released with
# one of its own size.
_SMALL = ElectraConfig(
    embedding_size=128,
    hidden_size=256,
    num_heads=4,
    intermediate_size=1024,
    generator_fraction=1.0,
)
_BASE = ElectraConfig()
_LARGE = ElectraConfig(
    hidden_size=1024,
    num_layers=24,
    num_heads=16,
    intermediate_size=4096,
    generator_fraction=1 / 4,
)

PRESETS = {
    "electra-small": _SMALL,
    "electra-base": _BASE,
    "electra-large": _LARGE,
    "electra-small-generator": _SMALL.generator(),
    "electra-base-generator": _BASE.generator(),
    "electra-large-generator": _LARGE.generator(),
}


@struct.dataclass
class DiscriminatorOutput:
    """Logits of each token to be a replaced one."""

    logits: Float[Array, "B T"]
    last_hidden_state: Float[Array, "B T D"]


@struct.dataclass
class ElectraPreTrainingOutput:
    """What both models say of the same input."""

    generator: MaskedLMOutput
    discriminator: DiscriminatorOutput


class Electra(Encoder):
    """The encoder: a discriminator ("pretraining") or a generator ("masked_lm").

    `shared_embeddings` are another model's, read in place of its own.
    """

    shared_embeddings: nn.Module | None = None

    def setup(self) -> None:
        super().setup()
        c = self.config
        self.discriminator_head = TwoLayerClassifier(
            c.hidden_size, 1, c.activation, **self.settings
        )

    @nn.nowrap
    def make_embeddings(self) -> nn.Module:
        """Its own, or those that it shares."""
        if self.shared_embeddings is None:
            return super().make_embeddings()
        return self.shared_embeddings

    @nn.nowrap
    def make_classifier(self) -> nn.Module:
        """Of texts with a layer between, in place of a pooler; dropout around it, or behind it."""
        c = self.config
        if self.task not in c.two_layer_tasks:
            return super().make_classifier()
        rate = c.dropout_of_classifier
        rates = (0.0 if self.task == "multiple_choice" else rate, rate)
        return TwoLayerClassifier(c.hidden_size, self.num_logits, "gelu", *rates, **self.settings)

    def own_task(
        self, x_BTD: Float[Array, "B T D"], places_BP: Places | None, deterministic: bool
    ) -> DiscriminatorOutput:
        """Which tokens were replaced (section 2)."""
        return DiscriminatorOutput(self.discriminator_head(x_BTD)[..., 0], x_BTD)


class ElectraPreTraining(nn.Module):
    """Generator and discriminator on the same embeddings, which lie with the discriminator's
    parameters; all of them, tables and norm, as in the released code.
    """

    config: ElectraConfig
    is_encoder_decoder = False

    def setup(self) -> None:
        self.discriminator = Electra(self.config, "pretraining")
        self.generator = Electra(
            self.config.generator(), "masked_lm", self.discriminator.embeddings
        )

    @nn.nowrap
    def dummy_inputs(self) -> dict[str, Array]:
        """The smallest inputs that initialise every parameter."""
        return {"input_ids": jnp.zeros((1, 1), jnp.int32)}

    def __call__(self, *args: Any, **kwargs: Any) -> ElectraPreTrainingOutput:
        """Both, on the same input; see `Encoder`. Training gives each its own."""
        return ElectraPreTrainingOutput(
            self.generate(*args, **kwargs), self.discriminate(*args, **kwargs)
        )

    def generate(self, *args: Any, **kwargs: Any) -> MaskedLMOutput:
        """What the generator predicts, at `predict_positions` or everywhere."""
        return self.generator(*args, **kwargs)

    def discriminate(self, *args: Any, **kwargs: Any) -> DiscriminatorOutput:
        """What the discriminator says of each token."""
        return self.discriminator(*args, **kwargs)
