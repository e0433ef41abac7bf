"""config.json and our configs: read and written by a family's convention."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from flaxformers_edu.errors import InputError, unknown_name
from flaxformers_edu.interop.convention import Convention
from flaxformers_edu.interop.conventions import convention_for, convention_of


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
    read = {ours: _read(hf, ours, theirs, d, convention) for ours, theirs, d in convention.fields}
    for translation in convention.translations:
        read |= translation.read(hf)
    known = {field.name: field.default for field in dataclasses.fields(convention.make)}
    if "intermediate_size" in known and read.get("intermediate_size") is None:
        read["intermediate_size"] = 4 * read["hidden_size"]
    for name in ("eos_token_id", "mask_token_id"):
        if name in known and read.get(name) is None:
            read[name] = known[name] if known[name] < read["vocab_size"] else 0
    if read["pad_token_id"] is None:  # GPT-2 has none: whatever fills a row is never looked at
        read["pad_token_id"] = read["eos_token_id"]
    if convention.counts_padding:
        read["max_length"] -= read["pad_token_id"] + 1
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
    for ours, theirs, _ in convention.fields:
        # Some classes of theirs have a number where others leave it open.
        number = ours in WRITTEN_OUT or (ours == "classifier_dropout" and theirs != ours)
        if ours == "activation":
            hf[theirs] = _spelt(config.activation, convention)
        elif number:
            hf[theirs] = comes_to(config, ours)
        elif ours == "max_length" and convention.counts_padding:
            hf[theirs] += config.pad_token_id + 1
    hf |= {t.theirs[0]: t.write(config) for t in convention.translations}
    hf |= convention.required
    may_lack_padding = ("pad_token_id", "pad_token_id", None) in convention.fields
    if may_lack_padding and hf["pad_token_id"] == hf["eos_token_id"]:
        hf["pad_token_id"] = None
    if hasattr(config, "num_labels"):
        labels = [f"LABEL_{i}" for i in range(config.num_labels)]
        hf["id2label"] = {str(i): label for i, label in enumerate(labels)}
        hf["label2id"] = {label: i for i, label in enumerate(labels)}
    hf |= {
        "model_type": family.name,
        "architectures": [family.classes[task]],
        "tie_word_embeddings": getattr(config, "tie_embeddings", True),
    }
    _check_all_said(config, config_from_hf(hf, task), convention)
    return hf


EXECUTION = {"layout", "remat", "attention_implementation", "dtype"}
"""Fields that say how ours computes, not what."""
TRAINING = {
    *("eos_token_id", "mask_token_id", "generator_fraction", "teacher_size"),
    "scale_residual_init",
}
"""Fields that the model itself does not compute with, and config.json need not know."""
WRITTEN_OUT = ("embedding_size", "head_dim", "num_kv_heads")
"""Of those below, fields that config.json has as numbers."""
DERIVED = {
    "embedding_size": "width_of_embeddings",
    "head_dim": "width_of_heads",
    "num_kv_heads": "kv_heads",
    "classifier_dropout": "dropout_of_classifier",
    "attention_pattern": "windows_of_layers",
    "window": "windows_of_layers",
}
"""Fields that may be left open, and what they come to."""


def said_already(hf: Mapping[str, Any], config: Any, task: str) -> tuple[set[str], set[str]]:
    """The fields of a config.json that say of `config` what is the case, in whichever words.

    Returns:
        Those, and all fields that may be worded in several ways.
    """
    convention, said = convention_for(config), config_from_hf(hf, task)

    def same(name: str) -> bool:
        return bool(comes_to(said, name) == comes_to(config, name))

    found = {theirs for ours, theirs, _ in convention.fields if same(ours)}
    for translation in convention.translations:
        if all(map(same, translation.ours)):
            found.update(translation.theirs)
    return found, {name for t in convention.translations for name in t.theirs}


def comes_to(config: Any, name: str) -> Any:
    """The value of a field, or what it comes to where it is open."""
    derived = DERIVED.get(name, name)
    return getattr(config, derived if hasattr(config, derived) else name)


def _check_all_said(config: Any, read_back: Any, convention: Convention) -> None:
    """Raises InputError where a field would be lost: what is read back is then another model."""
    open_to_us = EXECUTION | TRAINING | set(convention.training)
    for field in dataclasses.fields(read_back):
        name = field.name
        if name in open_to_us or comes_to(config, name) == comes_to(read_back, name):
            continue
        raise InputError(
            f"model.{field.name} is {getattr(config, field.name)!r}; Hugging Face's "
            f"{convention.family.name} "
            f"has no such model (it has {getattr(read_back, field.name)!r})"
        )


def _spelt(activation: str, convention: Convention) -> str:
    """Their name of an activation; of several, the first."""
    for theirs, ours in convention.activations.items():
        if ours == activation:
            return theirs
    known = ", ".join(sorted(set(convention.activations.values())))
    raise InputError(
        f"model.activation is {activation!r}; Hugging Face's {convention.family.name} has {known}"
    )


def _read(
    hf: Mapping[str, Any], ours: str, theirs: str, default: Any, convention: Convention
) -> Any:
    value = hf.get(theirs, default)
    value = default if value is None else value
    if ours == "activation":
        known = convention.activations
        if value not in known:
            raise unknown_name(f"{theirs} of config.json", value, known)
        return known[value]
    if value is None:
        return None
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise InputError(f"config.json has {theirs} {value!r}; it must be true or false")
        return value
    if ours == "eos_token_id" and isinstance(value, list) and value:
        value = value[0]  # models that talk have several; ours knows the end of a text
    fractional = isinstance(default, float) or ours == "classifier_dropout"
    allowed = (int, float) if fractional else int
    if not isinstance(value, allowed) or isinstance(value, bool):
        kind = "a number" if fractional else "a whole number"
        raise InputError(f"config.json has {theirs} {value!r}; it must be {kind}")
    return float(value) if fractional else value
