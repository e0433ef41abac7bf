"""What a family's config.json is called and counted in: one table of fields a family."""

from collections.abc import Mapping
from typing import Any

from flaxformers_edu.errors import InputError, unknown_name
from flaxformers_edu.interop import tables
from flaxformers_edu.interop.convention import Convention, Field
from flaxformers_edu.interop.decoder_conventions import DECODERS
from flaxformers_edu.interop.elmo import CONVENTION as ELMO
from flaxformers_edu.models import (
    AlbertConfig,
    BertConfig,
    DistilBertConfig,
    ElectraConfig,
    RobertaConfig,
)

_BERT_FIELDS: tuple[Field, ...] = (
    ("vocab_size", "vocab_size", 30522),
    ("hidden_size", "hidden_size", 768),
    ("num_layers", "num_hidden_layers", 12),
    ("num_heads", "num_attention_heads", 12),
    ("intermediate_size", "intermediate_size", 3072),
    ("activation", "hidden_act", "gelu"),
    ("dropout", "hidden_dropout_prob", 0.1),
    ("attention_dropout", "attention_probs_dropout_prob", 0.1),
    ("classifier_dropout", "classifier_dropout", None),
    ("num_token_types", "type_vocab_size", 2),
    ("max_length", "max_position_embeddings", 512),
    ("norm_epsilon", "layer_norm_eps", 1e-12),
    ("init_std", "initializer_range", 0.02),
    ("pad_token_id", "pad_token_id", 0),
)


def _changed(fields: tuple[Field, ...], *changes: Field) -> tuple[Field, ...]:
    """The fields, with some replaced and some added."""
    return tuple({ours: (ours, *rest) for ours, *rest in (*fields, *changes)}.values())


_ENCODER_ONLY = {
    "is_decoder": False,
    "add_cross_attention": False,
    "position_embedding_type": "absolute",
}

CONVENTIONS = {
    convention.family.name: convention
    for convention in (
        Convention(tables.BERT, BertConfig, _BERT_FIELDS, _ENCODER_ONLY),
        Convention(
            tables.ROBERTA,
            RobertaConfig,
            _changed(
                _BERT_FIELDS,
                ("vocab_size", "vocab_size", 50265),
                ("pad_token_id", "pad_token_id", 1),
                ("eos_token_id", "eos_token_id", 2),
            ),
            _ENCODER_ONLY,
            counts_padding=True,
        ),
        Convention(
            tables.ALBERT,
            AlbertConfig,
            _changed(
                _BERT_FIELDS,
                ("vocab_size", "vocab_size", 30000),
                ("embedding_size", "embedding_size", 128),
                ("hidden_size", "hidden_size", 4096),
                ("num_heads", "num_attention_heads", 64),
                ("intermediate_size", "intermediate_size", 16384),
                ("activation", "hidden_act", "gelu_new"),
                ("dropout", "hidden_dropout_prob", 0.0),
                ("attention_dropout", "attention_probs_dropout_prob", 0.0),
                ("classifier_dropout", "classifier_dropout_prob", 0.1),
                ("eos_token_id", "eos_token_id", 3),
                ("num_groups", "num_hidden_groups", 1),
                ("inner_group_num", "inner_group_num", 1),
            ),
            {"position_embedding_type": "absolute"},
        ),
        Convention(
            tables.ELECTRA,
            ElectraConfig,
            _changed(
                _BERT_FIELDS,
                ("embedding_size", "embedding_size", 128),
                ("hidden_size", "hidden_size", 256),
                ("num_heads", "num_attention_heads", 4),
                ("intermediate_size", "intermediate_size", 1024),
            ),
            _ENCODER_ONLY
            | {
                "summary_type": "first",
                "summary_use_proj": True,
                "summary_activation": "gelu",
            },
        ),
        Convention(
            tables.DISTILBERT,
            DistilBertConfig,
            (
                ("vocab_size", "vocab_size", 30522),
                ("hidden_size", "dim", 768),
                ("num_layers", "n_layers", 6),
                ("num_heads", "n_heads", 12),
                ("intermediate_size", "hidden_dim", 3072),
                ("activation", "activation", "gelu"),
                ("dropout", "dropout", 0.1),
                ("attention_dropout", "attention_dropout", 0.1),
                ("classifier_dropout", "seq_classif_dropout", 0.2),
                ("max_length", "max_position_embeddings", 512),
                ("init_std", "initializer_range", 0.02),
                ("pad_token_id", "pad_token_id", 0),
            ),
        ),
        *DECODERS,
        ELMO,
    )
}


def convention_of(hf: Mapping[str, Any]) -> Convention:
    """The convention of a config.json, by its `model_type`.

    Raises:
        InputError: none, or one of no family here, with those that are.
    """
    if "model_type" not in hf:
        raise InputError(
            "config.json names no model_type; those known are " + ", ".join(sorted(CONVENTIONS))
        )
    if hf["model_type"] not in CONVENTIONS:
        raise unknown_name(
            "architecture (model_type of config.json)", hf["model_type"], CONVENTIONS
        )
    return CONVENTIONS[hf["model_type"]]


def convention_for(config: Any) -> Convention:
    """The convention in which a config of ours is written.

    Raises:
        InputError: Hugging Face has no such family.
    """
    for convention in CONVENTIONS.values():
        if isinstance(config, convention.make):
            return convention
    names = ", ".join(convention.make.__name__ for convention in CONVENTIONS.values())
    raise InputError(f"a {type(config).__name__} has no Hugging Face format; these have: {names}")
