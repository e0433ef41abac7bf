"""What config.json says of decoders, as `conventions.py` has it for the encoders.

Dims: L layers.
"""

from collections.abc import Mapping
from typing import Any

from flaxformers_edu.errors import InputError
from flaxformers_edu.interop import decoder_tables as tables
from flaxformers_edu.interop.convention import Convention, Field, Translation
from flaxformers_edu.layers.positions import RopeScaling
from flaxformers_edu.models import GPT1Config, GPTConfig, GPTNeoConfig, LlamaConfig


def _read_attention_types(hf: Mapping[str, Any]) -> dict[str, Any]:
    """[[["global", "local"], 12]] -> ("global", "local"): as many as it takes until they repeat."""
    types = hf.get("attention_types") or [[["global", "local"], 12]]
    try:
        spans = [span for kinds, times in types for _ in range(times) for span in kinds]
    except (TypeError, ValueError) as error:
        raise InputError(
            f"config.json has attention_types {types!r}; it must be a list of [kinds, times]"
        ) from error
    if "num_layers" in hf and len(spans) != hf["num_layers"]:
        raise InputError(
            f"config.json has attention_types of {len(spans)} layers and num_layers "
            f"{hf['num_layers']}"
        )
    sizes = [n for n in range(1, len(spans) + 1) if len(spans) % n == 0]
    period = next(n for n in sizes if spans == spans[:n] * (len(spans) // n))
    return {"attention_pattern": tuple(spans[:period])}


def _write_attention_types(config: GPTNeoConfig) -> list[Any]:
    L, pattern = config.num_layers, list(config.attention_pattern)
    if L % len(pattern) == 0:
        return [[pattern, L // len(pattern)]]
    return [[[pattern[i % len(pattern)] for i in range(L)], 1]]


_ROPE = ("rope_type", "rope_theta", "factor", "low_freq_factor", "high_freq_factor")
_OLD_CONTEXT = "original_max_position_embeddings"


def _read_rope(hf: Mapping[str, Any]) -> dict[str, Any]:
    """All in `rope_parameters` since version 5; before in `rope_scaling`, and the base apart."""
    said = hf.get("rope_scaling") or hf.get("rope_parameters") or {}
    theta = said.get("rope_theta", hf.get("rope_theta", 10000.0))
    kind = said.get("rope_type", said.get("type", "default"))
    if kind not in ("default", "llama3"):
        raise InputError(
            f"config.json has rope_type {kind!r}; only 'default' and 'llama3' are computed here"
        )
    if said.get("partial_rotary_factor", hf.get("partial_rotary_factor", 1.0)) != 1.0:
        raise InputError("config.json has a partial_rotary_factor; only whole heads turn here")
    scaling = None
    if kind == "llama3":
        lacking = [name for name in _ROPE[2:] if name not in said]
        if lacking:
            raise InputError(f"config.json has rope_type 'llama3' without {lacking[0]}")
        context = said.get(_OLD_CONTEXT, hf.get("max_position_embeddings", 2048))
        factors = {name: float(said[name]) for name in _ROPE[2:]}
        scaling = RopeScaling(**factors, original_max_length=int(context))
    return {"rope_theta": float(theta), "rope_scaling": scaling}


def _write_rope(config: LlamaConfig) -> dict[str, Any]:
    scaling = config.rope_scaling
    if scaling is None:
        return {"rope_type": "default", "rope_theta": config.rope_theta}
    values = ("llama3", config.rope_theta, *(getattr(scaling, name) for name in _ROPE[2:]))
    return dict(zip(_ROPE, values, strict=True)) | {_OLD_CONTEXT: scaling.original_max_length}


_GPT_FIELDS: tuple[Field, ...] = (
    ("hidden_size", "n_embd", 768),
    ("num_layers", "n_layer", 12),
    ("num_heads", "n_head", 12),
    ("dropout", "resid_pdrop", 0.1),
    ("embedding_dropout", "embd_pdrop", 0.1),
    ("attention_dropout", "attn_pdrop", 0.1),
    ("classifier_dropout", "summary_first_dropout", 0.1),
    ("norm_epsilon", "layer_norm_epsilon", 1e-5),
    ("init_std", "initializer_range", 0.02),
    ("pad_token_id", "pad_token_id", None),
    ("tie_embeddings", "tie_word_embeddings", True),
)
_SUMMARY = {
    "summary_type": "cls_index",
    "summary_use_proj": True,
    "summary_activation": None,
    "summary_proj_to_labels": True,
}
"""How the head of several choices reads a text."""

DECODERS = (
    Convention(
        tables.GPT1,
        GPT1Config,
        (
            *_GPT_FIELDS,
            ("vocab_size", "vocab_size", 40478),
            ("activation", "afn", "gelu"),
            ("max_length", "n_positions", 512),
            ("eos_token_id", "eos_token_id", None),
        ),
        _SUMMARY,
        # Its "gelu" is the other's "gelu_new".
        activations={"gelu": "gelu_tanh", "relu": "relu", "silu": "silu", "swish": "silu"},
    ),
    Convention(
        tables.GPT2,
        GPTConfig,
        (
            *_GPT_FIELDS,
            ("vocab_size", "vocab_size", 50257),
            ("intermediate_size", "n_inner", None),
            ("activation", "activation_function", "gelu_new"),
            ("max_length", "n_positions", 1024),
            ("eos_token_id", "eos_token_id", 50256),
        ),
        {
            "scale_attn_weights": True,
            "scale_attn_by_inverse_layer_idx": False,
            "add_cross_attention": False,
            **_SUMMARY,
        },
    ),
    Convention(
        tables.GPT_NEO,
        GPTNeoConfig,
        (
            ("vocab_size", "vocab_size", 50257),
            ("hidden_size", "hidden_size", 2048),
            ("num_layers", "num_layers", 24),
            ("num_heads", "num_heads", 16),
            ("intermediate_size", "intermediate_size", None),
            ("activation", "activation_function", "gelu_new"),
            ("window", "window_size", 256),
            ("dropout", "resid_dropout", 0.0),
            ("embedding_dropout", "embed_dropout", 0.0),
            ("attention_dropout", "attention_dropout", 0.0),
            ("classifier_dropout", "classifier_dropout", 0.1),
            ("max_length", "max_position_embeddings", 2048),
            ("norm_epsilon", "layer_norm_epsilon", 1e-5),
            ("init_std", "initializer_range", 0.02),
            ("pad_token_id", "pad_token_id", None),
            ("eos_token_id", "eos_token_id", 50256),
            ("tie_embeddings", "tie_word_embeddings", True),
        ),
        translations=(
            Translation(
                ("attention_pattern",),
                ("attention_types", "attention_layers"),
                _read_attention_types,
                _write_attention_types,
            ),
        ),
    ),
    Convention(
        tables.LLAMA,
        LlamaConfig,
        (
            ("vocab_size", "vocab_size", 32000),
            ("hidden_size", "hidden_size", 4096),
            ("num_layers", "num_hidden_layers", 32),
            ("num_heads", "num_attention_heads", 32),
            ("num_kv_heads", "num_key_value_heads", None),
            ("head_dim", "head_dim", None),
            ("intermediate_size", "intermediate_size", 11008),
            ("activation", "hidden_act", "silu"),
            ("attention_dropout", "attention_dropout", 0.0),
            ("classifier_dropout", "classifier_dropout", 0.1),
            ("max_length", "max_position_embeddings", 2048),
            ("norm_epsilon", "rms_norm_eps", 1e-6),
            ("init_std", "initializer_range", 0.02),
            ("pad_token_id", "pad_token_id", None),
            ("eos_token_id", "eos_token_id", 2),
            ("tie_embeddings", "tie_word_embeddings", False),
        ),
        {"attention_bias": False, "mlp_bias": False},
        translations=(
            Translation(
                ("rope_theta", "rope_scaling"),
                ("rope_parameters", "rope_scaling", "rope_theta"),
                _read_rope,
                _write_rope,
            ),
        ),
        training=("dropout", "embedding_dropout"),
    ),
)
