"""A layer of a decoder, as its config has it: the parts, and how their weights begin."""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from flaxformers_edu.layers.block import Block
from flaxformers_edu.layers.mlp import FeedForward
from flaxformers_edu.layers.multi_head import MultiHeadAttention
from flaxformers_edu.layers.norms import LayerNorm, RMSNorm
from flaxformers_edu.layers.positions import Rotary
from flaxformers_edu.models.decoder_config import DecoderConfig

Maker = Callable[..., nn.Module]


def norm_of(config: DecoderConfig) -> Maker:
    """What makes one of its norms."""
    kind = LayerNorm if config.norm == "layer" else RMSNorm
    return partial(kind, epsilon=config.norm_epsilon, dtype=jnp.dtype(config.dtype))


def block_of(config: DecoderConfig) -> Maker:
    """What makes one of its layers."""
    c = config
    std = c.init_std * c.base_ratio**0.5
    output_std = std * (2 * c.num_layers) ** -0.5 if c.scale_residual_init else std
    settings: dict[str, Any] = {
        "hidden_size": c.hidden_size,
        "kernel_init": nn.initializers.normal(std),
        "output_init": nn.initializers.normal(output_std),
        "dtype": jnp.dtype(c.dtype),
    }
    rotary = Rotary(c.rope_theta, scaling=c.rope_scaling) if c.positions == "rotary" else None
    attention = partial(
        MultiHeadAttention,
        num_heads=c.num_heads,
        head_dim=c.head_dim,
        num_kv_heads=c.num_kv_heads,
        use_bias=c.attention_bias == "all",
        use_output_bias=c.attention_bias != "none",
        scale=c.attention_scale,
        rotary=rotary,
        dropout_rate=c.attention_dropout,
        implementation=c.attention_implementation,
        **settings,
    )
    mlp = partial(
        FeedForward,
        intermediate_size=c.intermediate_size,
        activation=c.activation,
        gated=c.gated,
        use_bias=c.mlp_bias,
        **settings,
    )
    return partial(
        Block,
        attention,
        mlp,
        norm_of(c),
        norm_position=c.norm_position,
        dropout_rate=c.dropout,
    )
