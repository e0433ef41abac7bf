"""Saving: bytes come back unchanged, nothing is left half-written."""

import dataclasses
import json
import os

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

import flaxformers_edu as ff
from flaxformers_edu.errors import InputError
from flaxformers_edu.interop import saving
from flaxformers_edu.layers.stack import unstack_layers
from tests.interop.folders import change_config, change_weights, pretrained, written


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "model"


def bytes_of(folder):
    return {
        name: (w.dtype, w.shape, w.tobytes())
        for name, w in load_file(folder / "model.safetensors").items()
    }


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_weights_come_back_to_the_byte(dtype, folder, tmp_path):
    written(folder, "gpt2", "causal_lm")
    kind = np.dtype(ml_dtypes.bfloat16) if dtype == "bfloat16" else np.dtype(dtype)
    change_weights(folder, lambda weights: {n: w.astype(kind) for n, w in weights.items()})
    ff.save_pretrained(tmp_path / "again", ff.from_pretrained(folder, "causal_lm"))
    assert bytes_of(tmp_path / "again") == bytes_of(folder)
    assert json.loads((tmp_path / "again" / "config.json").read_text())["dtype"] == dtype


def test_what_was_trained_keeps_its_precision(folder, tmp_path):
    written(folder)
    change_weights(folder, lambda ws: {n: w.astype(np.float16) for n, w in ws.items()})
    loaded = ff.from_pretrained(folder)
    trained = loaded.params | {"pooler": jax.tree.map(lambda p: p + 1e-5, loaded.params["pooler"])}
    ff.save_pretrained(tmp_path / "again", dataclasses.replace(loaded, params=trained))
    found = load_file(tmp_path / "again" / "model.safetensors")
    dtypes = {name: weight.dtype.name for name, weight in found.items()}
    assert {n for n, d in dtypes.items() if d == "float32"} == {
        "pooler.dense.weight",
        "pooler.dense.bias",
    }
    np.testing.assert_array_equal(
        found["pooler.dense.weight"].T, np.asarray(trained["pooler"]["kernel"])
    )


def test_unrolled_parameters_are_the_same_file(folder, tmp_path):
    made = written(folder)
    ff.save_pretrained(
        tmp_path / "apart", dataclasses.replace(made, params=unstack_layers(made.params))
    )
    assert bytes_of(tmp_path / "apart") == bytes_of(folder)


def test_metadata_and_names(folder):
    written(folder, "bert", "masked_lm")
    with safe_open(folder / "model.safetensors", "np") as file:
        assert file.metadata() == {"format": "pt"}
        names = set(file.keys())
    assert "cls.predictions.decoder.weight" not in names
    assert {"bert.embeddings.word_embeddings.weight", "cls.predictions.bias"} < names
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == ["BertForMaskedLM"]


def test_what_config_json_says_besides_stays(folder, tmp_path):
    """The names of labels above all."""
    written(folder, "bert", "sequence_classification")
    names = {"0": "bad", "1": "good"}
    change_config(folder, id2label=names, label2id={"bad": 0, "good": 1}, problem_type="single")
    loaded = ff.from_pretrained(folder, "sequence_classification")
    ff.save_pretrained(tmp_path / "again", loaded)
    config = json.loads((tmp_path / "again" / "config.json").read_text())
    assert (config["id2label"], config["problem_type"]) == (names, "single")
    other = ff.from_pretrained(folder, "sequence_classification", num_labels=3)
    ff.save_pretrained(tmp_path / "other", other)
    config = json.loads((tmp_path / "other" / "config.json").read_text())
    assert config["id2label"] == {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}


def test_what_config_json_says_in_its_own_words_stays_until_it_is_wrong(folder, tmp_path):
    """Version 4 of transformers had the rates of rotary positions in two fields."""
    written(folder, "llama", "causal_lm")
    change_config(folder, rope_parameters=None, rope_theta=10000.0, num_key_value_heads=2)
    loaded = ff.from_pretrained(folder, "causal_lm")
    ff.save_pretrained(tmp_path / "same", loaded)
    same = json.loads((tmp_path / "same" / "config.json").read_text())
    assert same == json.loads((folder / "config.json").read_text())
    changed = ff.from_pretrained(folder, "causal_lm", rope_theta=7.0)
    ff.save_pretrained(tmp_path / "other", changed)
    other = json.loads((tmp_path / "other" / "config.json").read_text())
    assert other["rope_parameters"] == {"rope_type": "default", "rope_theta": 7.0}
    assert "rope_theta" not in other


def test_names_that_only_one_class_has(folder, tmp_path):
    """Of tied tensors OpenAI-GPT's double heads keep the other; Llama's answers have a prefix."""
    written(folder, "gpt1", "multiple_choice")
    names = set(load_file(folder / "model.safetensors"))
    assert "lm_head.weight" in names and "transformer.tokens_embed.weight" not in names
    written(tmp_path / "llama", "llama", "question_answering")
    names = set(load_file(tmp_path / "llama" / "model.safetensors"))
    assert {"transformer.embed_tokens.weight", "qa_outputs.bias"} < names


def test_a_folder_with_something_in_it_is_left_alone(folder):
    written(folder)
    before = bytes_of(folder)
    with pytest.raises(InputError, match="exists and is not empty"):
        written(folder, seed=1)
    assert bytes_of(folder) == before


def test_an_empty_folder_is_filled(folder):
    folder.mkdir()
    written(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize("filled", [False, True])
def test_a_failure_leaves_nothing_behind(filled, folder, tmp_path, monkeypatch):
    """The disk is full at the first weight, or when all is written and the folder appears."""

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    made = pretrained()
    monkeypatch.setattr(*((os, "replace") if filled else (saving, "save_file")), fail)
    with pytest.raises(OSError, match="No space left"):
        ff.save_pretrained(folder, made)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("change", ["lost", "shape", "foreign"])
def test_parameters_of_another_model(change, folder, tmp_path):
    made = pretrained()
    params = dict(made.params)
    if change == "lost":
        del params["pooler"]
    elif change == "shape":
        params["pooler"] = {"kernel": np.ones((8, 9)), "bias": np.ones(9)}
    else:
        params["classifier"] = {"kernel": np.ones((8, 2)), "bias": np.ones(2)}
    message = {
        "lost": r"pooler.dense.bias has the shape none, and the model's \[8\]",
        "shape": r"pooler.dense.bias has the shape \[9\], and the model's \[8\]",
        "foreign": "parameter classifier/bias has no place in Hugging Face's bert for base",
    }[change]
    with pytest.raises(InputError, match=message):
        ff.save_pretrained(folder, dataclasses.replace(made, params=params))
    assert list(tmp_path.iterdir()) == []
