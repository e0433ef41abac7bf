"""config.json and our configs: one table of fields a family, read both ways."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from flaxformers_edu.errors import InputError, unknown_name
from flaxformers_edu.interop import tables
from flaxformers_edu.interop.tables import Family
from flaxformers_edu.models import (
    AlbertConfig,
    BertConfig,
    DistilBertConfig,
    ElectraConfig,
    GPTConfig,
    RobertaConfig,
)

ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "quick_gelu": "quick_gelu",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
}
"""Hugging Face's names, and ours; of several, the first is written."""

Field = tuple[str, str, Any]
"""Our field, theirs, and what they take where config.json does not say."""


@dataclasses.dataclass(frozen=True)
class Convention:
    """How a family's config.json is read and written."""

    family: Family
    """The names of its weights."""
    make: type[Any]
    """Our config."""
    fields: tuple[Field, ...]
    """What has an equal in ours."""
    required: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Options that ours computes in one way only: those, which are also the defaults."""
    counts_padding: bool = False
    """Whether their number of positions counts the rows up to that of padding."""


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
        Convention(
            tables.GPT2,
            GPTConfig,
            (
                ("vocab_size", "vocab_size", 50257),
                ("hidden_size", "n_embd", 768),
                ("num_layers", "n_layer", 12),
                ("num_heads", "n_head", 12),
                ("intermediate_size", "n_inner", None),
                ("activation", "activation_function", "gelu_new"),
                ("dropout", "resid_pdrop", 0.1),
                ("embedding_dropout", "embd_pdrop", 0.1),
                ("attention_dropout", "attn_pdrop", 0.1),
                ("max_length", "n_positions", 1024),
                ("norm_epsilon", "layer_norm_epsilon", 1e-5),
                ("init_std", "initializer_range", 0.02),
                ("pad_token_id", "pad_token_id", None),
                ("eos_token_id", "eos_token_id", 50256),
            ),
            {
                "scale_attn_weights": True,
                "scale_attn_by_inverse_layer_idx": False,
                "add_cross_attention": False,
            },
        ),
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


def config_from_hf(hf: Mapping[str, Any], task: str) -> Any:
    """Our config of what a config.json says.

    Ids of [SEP] and [MASK], which BERT's kin leave to the tokeniser, are those of the released
    models, or 0 in a vocabulary that is too small for these.

    Raises:
        InputError: an unknown architecture, task or activation, a value that makes no sense, or an
            option that ours does not compute.
    """
    convention = convention_of(hf)
    convention.family.rows_of(task)
    for name, needed in convention.required.items():
        if hf.get(name, needed) != needed:
            raise InputError(
                f"config.json has {name} {hf[name]!r}; only {needed!r} is computed here"
            )
    if hf.get("pruned_heads"):
        raise InputError("config.json has pruned_heads; models without some heads are not read")
    read = {ours: _read(hf, ours, theirs, default) for ours, theirs, default in convention.fields}
    if read.get("intermediate_size") is None:
        read["intermediate_size"] = 4 * read["hidden_size"]
    if read["pad_token_id"] is None:  # GPT-2 has none: whatever fills a row is never looked at
        read["pad_token_id"] = read["eos_token_id"]
    if convention.counts_padding:
        read["max_length"] -= read["pad_token_id"] + 1
    known = {field.name: field.default for field in dataclasses.fields(convention.make)}
    for name in ("eos_token_id", "mask_token_id"):
        if name in known and name not in read:
            read[name] = known[name] if known[name] < read["vocab_size"] else 0
    if "num_labels" in known:
        read["num_labels"] = len(hf.get("id2label") or ()) or hf.get("num_labels", 2)
    return convention.make(**read)


def config_to_hf(config: Any, task: str) -> dict[str, Any]:
    """What Hugging Face's config.json says of a config of ours.

    Raises:
        InputError: Hugging Face has no such family or task, or no field for what a config says.
    """
    convention = convention_for(config)
    family = convention.family
    family.rows_of(task)
    hf = {theirs: getattr(config, ours) for ours, theirs, _ in convention.fields}
    spellings = {ours: theirs for theirs, ours in reversed(ACTIVATIONS.items())}
    for ours, theirs, _ in convention.fields:
        if ours == "activation":
            hf[theirs] = spellings[config.activation]
        elif ours == "embedding_size":
            hf[theirs] = config.width_of_embeddings
        elif ours == "classifier_dropout" and theirs != ours:  # theirs must be a number
            hf[theirs] = config.dropout_of_classifier
        elif ours == "max_length" and convention.counts_padding:
            hf[theirs] += config.pad_token_id + 1
    hf |= convention.required
    if "eos_token_id" in hf and hf["pad_token_id"] == hf["eos_token_id"]:
        hf["pad_token_id"] = None
    if hasattr(config, "num_labels"):
        labels = [f"LABEL_{i}" for i in range(config.num_labels)]
        hf["id2label"] = {str(i): label for i, label in enumerate(labels)}
        hf["label2id"] = {label: i for i, label in enumerate(labels)}
    hf |= {
        "model_type": family.name,
        "architectures": [family.classes[task]],
        "tie_word_embeddings": True,
    }
    _check_all_said(config, config_from_hf(hf, task), family)
    return hf


EXECUTION = {"layout", "remat", "attention_implementation", "dtype"}
"""Fields that say how ours computes, not what."""
TRAINING = {"eos_token_id", "mask_token_id", "generator_fraction", "teacher_size"}
"""Fields that the model itself does not compute with, and config.json need not know."""
DERIVED = {
    "embedding_size": "width_of_embeddings",
    "head_dim": "width_of_heads",
    "classifier_dropout": "dropout_of_classifier",
}
"""Fields that may be left open, and what they come to."""


def _check_all_said(config: Any, read_back: Any, family: Family) -> None:
    """Raises InputError where a field would be lost: what is read back is then another model."""
    for field in dataclasses.fields(read_back):
        name = DERIVED.get(field.name, field.name)
        if name in EXECUTION | TRAINING or getattr(config, name) == getattr(read_back, name):
            continue
        raise InputError(
            f"model.{field.name} is {getattr(config, field.name)!r}; Hugging Face's {family.name} "
            f"has no such model (it has {getattr(read_back, field.name)!r})"
        )


def _read(hf: Mapping[str, Any], ours: str, theirs: str, default: Any) -> Any:
    value = hf.get(theirs, default)
    value = default if value is None else value
    if ours == "activation":
        if value not in ACTIVATIONS:
            raise unknown_name(f"{theirs} of config.json", value, ACTIVATIONS)
        return ACTIVATIONS[value]
    if value is None:
        return None
    fractional = isinstance(default, float) or ours == "classifier_dropout"
    allowed = (int, float) if fractional else int
    if not isinstance(value, allowed) or isinstance(value, bool):
        kind = "a number" if fractional else "a whole number"
        raise InputError(f"config.json has {theirs} {value!r}; it must be {kind}")
    return float(value) if fractional else value
