"""config.json: what is read is what was written, and what cannot be said is refused."""

import dataclasses

import pytest

from flaxformers_edu import models
from flaxformers_edu.errors import InputError
from flaxformers_edu.interop import config_from_hf, config_to_hf
from flaxformers_edu.interop.configs import TRAINING
from tests.interop.folders import CONFIGS

FAMILIES = tuple(
    config
    for config in models.presets().values()
    if not isinstance(config, models.TransformerConfig)
)


@pytest.mark.parametrize("config", [*FAMILIES, *CONFIGS.values()], ids=str)
def test_what_is_written_is_read(config):
    read = config_from_hf(config_to_hf(config, "base"), "base")
    for field in dataclasses.fields(read):
        ours, theirs = getattr(config, field.name), getattr(read, field.name)
        if field.name == "embedding_size":
            ours, theirs = config.width_of_embeddings, read.width_of_embeddings
        if field.name == "classifier_dropout":
            ours, theirs = config.dropout_of_classifier, read.dropout_of_classifier
        assert ours == theirs or field.name in TRAINING, field.name


def test_the_published_defaults_are_hugging_faces():
    """What an old config.json does not say is as Hugging Face has it, not as our defaults are."""
    roberta = config_from_hf({"model_type": "roberta"}, "base")
    assert (roberta.max_length, roberta.num_token_types) == (512 - 2, 2)
    assert config_from_hf({"model_type": "albert"}, "base").hidden_size == 4096
    assert config_from_hf({"model_type": "electra"}, "base") == dataclasses.replace(
        models.presets()["electra-small"], generator_fraction=1 / 3
    )
    assert config_from_hf({"model_type": "gpt2"}, "base") == models.GPTConfig()


def hf(family="bert", **changes):
    return config_to_hf(CONFIGS[family], "base") | changes


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"vocab_size": 21}, "names no model_type; those known are albert, bert"),
        (hf(model_type="brt"), "unknown architecture .*'brt'; did you mean 'bert'"),
        (hf(model_type="llama"), "Allowed: albert, bert, distilbert, electra, gpt2, roberta"),
        (hf(hidden_act="gleu"), "unknown hidden_act of config.json 'gleu'; did you mean 'gelu'"),
        (hf(is_decoder=True), "is_decoder True; only False"),
        (hf(position_embedding_type="relative_key"), "position_embedding_type 'relative_key'"),
        (hf("gpt2", scale_attn_by_inverse_layer_idx=True), "scale_attn_by_inverse_layer_idx True"),
        (hf("gpt2", eos_token_id=[1, 2]), r"eos_token_id \[1, 2\]; it must be a whole number"),
        (hf(hidden_size="8"), "hidden_size '8'; it must be a whole number"),
        (hf(hidden_dropout_prob="0.1"), "hidden_dropout_prob '0.1'; it must be a number"),
        (hf(num_attention_heads=3), "hidden_size 8 does not divide into model.num_heads 3"),
        (hf(pruned_heads={"0": [1]}), "pruned_heads"),
    ],
)
def test_what_is_refused(given, message):
    with pytest.raises(InputError, match=message):
        config_from_hf(given, "base")


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        ("bert", {"share": "all"}, "model.share is 'all'; Hugging Face's bert has no such model"),
        ("albert", {"share": "ffn"}, "model.share is 'ffn'"),
        ("distilbert", {"norm_epsilon": 1e-5}, "model.norm_epsilon is 1e-05"),
        ("bert", {"embedding_size": 6}, "model.embedding_size is 6"),
        ("gpt2", {"head_dim": 3}, "model.head_dim is 3"),
        ("gpt2", {"mup_base_width": 4}, "model.mup_base_width is 4"),
    ],
)
def test_what_hugging_face_cannot_say(family, changes, message):
    config = dataclasses.replace(CONFIGS[family], **changes)
    with pytest.raises(InputError, match=message):
        config_to_hf(config, "base")


def test_tasks_without_a_class():
    with pytest.raises(InputError, match="unknown task of roberta 'pretraining'"):
        config_to_hf(CONFIGS["roberta"], "pretraining")
    with pytest.raises(InputError, match="unknown task of electra 'joint_pretraining'"):
        config_to_hf(CONFIGS["electra"], "joint_pretraining")
    with pytest.raises(InputError, match="TransformerConfig has no Hugging Face format"):
        config_to_hf(models.TransformerConfig(), "base")
