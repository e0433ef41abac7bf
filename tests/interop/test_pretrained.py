"""Loading: the same weights in every layout and name, and one line for all that is wrong."""

import re

import flax.serialization
import jax
import numpy as np
import pytest

import flaxformers_edu as ff
from flaxformers_edu.errors import InputError
from flaxformers_edu.layers.stack import unstack_layers
from tests.interop.folders import change_config, change_weights, written
from tests.trees import assert_close

TASKS = {
    "bert": "pretraining",
    "roberta": "sequence_classification",
    "albert": "multiple_choice",
    "albert groups": "base",
    "electra": "multiple_choice",
    "distilbert": "sequence_classification",
    "tinybert": "question_answering",
    "gpt1": "multiple_choice",
    "gpt2": "causal_lm",
    "gpt2 untied": "multiple_choice",
    "gpt_neo": "sequence_classification",
    "llama": "causal_lm",
    "llama tied": "question_answering",
}
"""One for each; the frozen outputs of test_frozen.py have them all."""


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "model"


@pytest.mark.parametrize(("name", "task"), TASKS.items())
def test_what_is_saved_is_loaded(name, task, folder):
    made = written(folder, name, task)
    loaded = ff.from_pretrained(folder, task)
    assert_close(loaded.params, made.params, atol=0)
    assert (loaded.initialised, loaded.unused, loaded.tokenizer) == ((), (), None)
    assert loaded.task == task and loaded.model.config == loaded.config


def test_scanned_and_unrolled(folder):
    made = written(folder)
    loaded = ff.from_pretrained(folder, layout="unrolled", dtype="bfloat16")
    assert_close(loaded.params, unstack_layers(made.params), atol=0)
    assert (loaded.config.layout, loaded.config.dtype) == ("unrolled", "bfloat16")
    assert {leaf.dtype.name for leaf in jax.tree.leaves(loaded.params)} == {"float32"}


def test_old_names_and_buffers(folder):
    """gamma and beta, no prefix, what was saved though it is no weight, and the tied copies."""
    made = written(folder, "bert", "masked_lm")

    def age(weights):
        old = {}
        for name, value in weights.items():
            name = name.removeprefix("bert.")
            for new, past in (("LayerNorm.weight", "gamma"), ("LayerNorm.bias", "beta")):
                if name.endswith(new):
                    name = name.removesuffix(new) + f"LayerNorm.{past}"
            old[name] = value
        old["embeddings.position_ids"] = np.arange(11)[None]
        old["cls.predictions.decoder.weight"] = old["embeddings.word_embeddings.weight"]
        old["cls.predictions.decoder.bias"] = old.pop("cls.predictions.bias")
        return old

    change_weights(folder, age)
    assert_close(ff.from_pretrained(folder, "masked_lm").params, made.params, atol=0)


def test_buffers_of_gpt2_and_its_output_layer_for_its_table(folder):
    made = written(folder, "gpt2", "causal_lm")

    def age(weights):
        weights["lm_head.weight"] = weights.pop("transformer.wte.weight")
        weights["transformer.h.0.attn.bias"] = np.tri(11, dtype=np.uint8)[None, None]
        weights["transformer.h.0.attn.masked_bias"] = np.array(-1e4, np.float32)

    change_weights(folder, age)
    assert_close(ff.from_pretrained(folder, "causal_lm").params, made.params, atol=0)


def test_an_output_layer_of_its_own_is_refused_where_it_is_used(folder):
    made = written(folder, "bert", "masked_lm")

    def untie(weights):
        table = weights["bert.embeddings.word_embeddings.weight"]
        weights["cls.predictions.decoder.weight"] = table + 1

    change_weights(folder, untie)
    with pytest.raises(InputError, match="word_embeddings.weight and cls.predictions.decoder"):
        ff.from_pretrained(folder, "masked_lm")
    body = ff.from_pretrained(folder, "token_classification").params["encoder"]
    assert_close(body, made.params["encoder"], atol=0)


def test_an_output_layer_of_its_own_is_read_where_the_config_says_so(folder):
    """And refused with a way out where it says that there is none."""
    made = written(folder, "llama", "causal_lm")
    assert set(made.params) == {"embedding", "decoder", "norm", "output"}
    change_config(folder, tie_word_embeddings=True)
    with pytest.raises(InputError, match="embed_tokens.weight and lm_head.weight differ.*give tie"):
        ff.from_pretrained(folder, "causal_lm")
    loaded = ff.from_pretrained(folder, "causal_lm", tie_embeddings=False)
    assert_close(loaded.params, made.params, atol=0)
    labelled = ff.from_pretrained(folder, "sequence_classification", tie_embeddings=False)
    assert labelled.initialised == ("classifier",)
    assert labelled.unused == ("lm_head.weight",)


def test_buffers_of_gpt_neo_and_llama(folder, tmp_path):
    made = written(folder, "gpt_neo", "causal_lm")

    def age(weights):
        for name, value in (("bias", np.tri(11, dtype=np.uint8)), ("masked_bias", np.ones(()))):
            weights[f"transformer.h.0.attn.attention.{name}"] = value

    change_weights(folder, age)
    assert_close(ff.from_pretrained(folder, "causal_lm").params, made.params, atol=0)
    made = written(tmp_path / "llama", "llama", "base")
    change_weights(tmp_path / "llama", added("layers.0.self_attn.rotary_emb.inv_freq", (1,)))
    assert_close(ff.from_pretrained(tmp_path / "llama").params, made.params, atol=0)


def test_new_heads_are_named_and_the_same_each_time(folder):
    written(folder, "bert", "masked_lm")
    first, second = (ff.from_pretrained(folder, "sequence_classification") for _ in range(2))
    assert first.initialised == ("classifier", "pooler")
    assert "cls.predictions.transform.dense.weight" in first.unused
    assert_close(first.params, second.params, atol=0)
    assert np.std(first.params["classifier"]["kernel"]) > 0.01


def test_a_classifier_of_another_task_is_not_taken(folder):
    """Both are called `classifier`; the pooler of this one would not even be there."""
    written(folder, "bert", "token_classification")
    loaded = ff.from_pretrained(folder, "sequence_classification")
    assert loaded.initialised == ("classifier", "pooler")
    assert loaded.unused == ("classifier.bias", "classifier.weight")


def test_another_number_of_labels(folder):
    written(folder, "bert", "sequence_classification")
    loaded = ff.from_pretrained(folder, "sequence_classification", num_labels=5)
    assert loaded.params["classifier"]["kernel"].shape == (8, 5)
    assert loaded.initialised == ("classifier",)


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_the_flax_files_of_old(name, folder):
    """By the rule: dots were slashes, every kernel is PyTorch's weight transposed."""
    task = {"bert": "masked_lm", "gpt2": "causal_lm"}[name]
    made = written(folder, name, task)

    def to_flax(weights):
        tree = {}
        for full, value in weights.items():
            *modules, leaf = full.split(".")
            norm = modules and re.match("LayerNorm|ln_", modules[-1])
            table = modules and re.search("embeddings$|^w[tp]e$", modules[-1])
            kind = "scale" if norm else "embedding" if table else "kernel"
            if leaf == "weight":
                leaf, value = kind, value.T if kind == "kernel" else value
            node = tree
            for module in modules:
                node = node.setdefault(module, {})
            node[leaf] = np.ascontiguousarray(value)
        model = flax.serialization.msgpack_serialize(tree)
        (folder / "flax_model.msgpack").write_bytes(model)

    change_weights(folder, to_flax)
    (folder / "model.safetensors").unlink()
    assert_close(ff.from_pretrained(folder, task).params, made.params, atol=0)


def without(*names):
    def change(weights):
        for name in names:
            del weights[name]

    return change


def added(name, shape):
    def change(weights):
        weights[name] = np.ones(shape, np.float32)

    return change


LAYER = "encoder.layer.1.output.dense"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without(f"{LAYER}.weight"), f"lacks weights that the model needs: {LAYER}.weight"),
        (without("pooler.dense.bias"), "needs: pooler.dense.bias"),
        (
            added("encoder.layer.3.output.dense.weight", (8, 10)),
            "of this config does not: enc",
        ),
        (added("bert.something.weight", (8,)), "does not: bert.something.weight"),
        (added(f"{LAYER}.weight", (8, 9)), rf"{LAYER}.weight has the shape \[8, 9\], .* \[8, 10\]"),
        (added("bert.pooler.dense.bias", (8,)), "twice"),
    ],
)
def test_weights_that_do_not_fit(change, message, folder):
    written(folder)
    change_weights(folder, change)
    with pytest.raises(InputError, match=message):
        ff.from_pretrained(folder)


def test_weights_that_are_no_numbers_with_a_point(folder):
    written(folder)

    def quantise(weights):
        weights[f"{LAYER}.weight"] = weights[f"{LAYER}.weight"].astype(np.int8)

    change_weights(folder, quantise)
    with pytest.raises(InputError, match=f"not floating point: {LAYER}.weight"):
        ff.from_pretrained(folder)


def test_folders_that_are_none(folder):
    with pytest.raises(InputError, match="model does not exist"):
        ff.from_pretrained(folder)
    folder.mkdir()
    with pytest.raises(InputError, match="no config.json in"):
        ff.from_pretrained(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(InputError, match="config.json cannot be read as JSON"):
        ff.from_pretrained(folder)
    (folder / "config.json").write_text("[]")
    with pytest.raises(InputError, match="holds a list"):
        ff.from_pretrained(folder)


def test_what_was_asked_for_wrongly(folder):
    written(folder)
    with pytest.raises(InputError, match="unknown task of bert 'masked'; did you mean 'masked_lm'"):
        ff.from_pretrained(folder, "masked")
    with pytest.raises(InputError, match="'layuot'; did you mean 'layout'"):
        ff.from_pretrained(folder, layuot="unrolled")


def test_half_precision_is_read_as_it_is(folder):
    made = written(folder)
    halved = jax.tree.map(lambda p: p.astype("float16").astype("float32"), made.params)
    change_weights(folder, lambda ws: {n: w.astype(np.float16) for n, w in ws.items()})
    loaded = ff.from_pretrained(folder)
    assert_close(loaded.params, halved, atol=0)
    assert loaded.stored_dtype == "float16"


def test_a_smaller_config_than_the_weights(folder):
    written(folder)
    change_config(folder, num_hidden_layers=2)
    with pytest.raises(InputError, match="has weights that a bert of this config does not"):
        ff.from_pretrained(folder)


def test_params_work(folder):
    made = written(folder, "albert groups", "pretraining")
    loaded = ff.from_pretrained(folder, "pretraining")
    inputs = made.model.dummy_inputs()
    ours, theirs = (p.model.apply({"params": p.params}, **inputs) for p in (loaded, made))
    assert_close(vars(ours), vars(theirs), atol=0)
