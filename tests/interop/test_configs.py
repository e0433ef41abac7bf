"""config.json: what is read is what was written, and what cannot be said is refused."""

import dataclasses

import pytest

from flaxformers_edu import models
from flaxformers_edu.errors import InputError
from flaxformers_edu.interop import config_from_hf, config_to_hf
from flaxformers_edu.interop.configs import TRAINING, comes_to
from flaxformers_edu.layers.positions import RopeScaling
from tests.interop.folders import CONFIGS

WITHOUT_FORMAT = (models.TransformerConfig, models.Seq2SeqConfig, models.AWDLSTMConfig)
OF_OPTIONS = (models.ElmoConfig,)
"""Described by options.json: see test_elmo."""
FAMILIES = tuple(
    config
    for name, config in models.presets().items()
    if not isinstance(config, (*WITHOUT_FORMAT, *OF_OPTIONS)) and not name.startswith("gpt3")
)
PADDED_BY_THE_END = (models.RobertaConfig(pad_token_id=2), models.AlbertConfig(pad_token_id=3))


@pytest.mark.parametrize("config", [*FAMILIES, *CONFIGS.values(), *PADDED_BY_THE_END], ids=str)
def test_what_is_written_is_read(config):
    read = config_from_hf(config_to_hf(config, "base"), "base")
    for field in dataclasses.fields(read):
        ours, theirs = comes_to(config, field.name), comes_to(read, field.name)
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
    assert config_from_hf({"model_type": "openai-gpt"}, "base") == models.GPT1Config()
    neo = config_from_hf({"model_type": "gpt_neo"}, "base")
    assert neo == models.presets()["gpt-neo-1.3b"]
    llama = config_from_hf({"model_type": "llama"}, "base")
    assert (llama.norm_epsilon, llama.max_length, llama.tie_embeddings) == (1e-6, 2048, False)


def hf(family="bert", **changes):
    return config_to_hf(CONFIGS[family], "base") | changes


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"vocab_size": 21}, "names no model_type; those known are albert, bert"),
        (hf(model_type="brt"), "unknown architecture .*'brt'; did you mean 'bert'"),
        (
            hf(model_type="mamba"),
            "distilbert, electra, elmo, gpt2, gpt_neo, llama, openai-gpt, roberta",
        ),
        (hf(hidden_act="gleu"), "unknown hidden_act of config.json 'gleu'; did you mean 'gelu'"),
        (hf(is_decoder=True), "is_decoder True; only False"),
        (hf(position_embedding_type="relative_key"), "position_embedding_type 'relative_key'"),
        (hf("gpt2", scale_attn_by_inverse_layer_idx=True), "scale_attn_by_inverse_layer_idx True"),
        (hf("gpt2", eos_token_id=["end"]), "eos_token_id 'end'; it must be a whole number"),
        (hf("gpt2", tie_word_embeddings=1), "tie_word_embeddings 1; it must be true or false"),
        (hf("gpt2", summary_type="mean"), "summary_type 'mean'; only 'cls_index'"),
        (hf("gpt1", afn="gelu_new"), "unknown afn of config.json 'gelu_new'; did you mean 'gelu'"),
        (hf("gpt_neo", attention_types=[["local"]]), "must be a list of \\[kinds, times\\]"),
        (hf("gpt_neo", attention_types=[[["local"], 2]]), "of 2 layers and num_layers 3"),
        (hf("gpt_neo", attention_types=[[["lokal"], 3]]), "'lokal'; did you mean 'local'"),
        (hf("llama", attention_bias=True), "attention_bias True; only False"),
        (hf("llama", rope_parameters={"rope_type": "yarn"}), "rope_type 'yarn'; only 'default'"),
        (hf("llama", rope_scaling={"type": "llama3"}), "'llama3' without factor"),
        (hf("llama", partial_rotary_factor=0.5), "partial_rotary_factor; only whole heads"),
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
        ("gpt2", {"attention_pattern": ("local",)}, "model.attention_pattern is \\('local',\\)"),
        ("gpt1", {"intermediate_size": 10}, "model.intermediate_size is 10"),
        ("gpt1", {"activation": "gelu"}, "model.activation is 'gelu'; .*openai-gpt has gelu_tanh"),
        ("llama", {"norm": "layer"}, "model.norm is 'layer'"),
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


def test_several_ends_of_a_text_are_read_as_the_first():
    assert config_from_hf(hf("llama", eos_token_id=[1, 2]), "base").eos_token_id == 1


@pytest.mark.parametrize(
    ("types", "pattern"),
    [
        ([[["global", "local"], 2]], ("global", "local")),
        ([[["local"], 4]], ("local",)),
        ([[["local"], 3], [["global"], 1]], ("local", "local", "local", "global")),
    ],
)
def test_kinds_of_attention_go_both_ways(types, pattern):
    read = config_from_hf(hf("gpt_neo", num_layers=4, attention_types=types), "base")
    assert read.attention_pattern == pattern
    assert config_from_hf(config_to_hf(read, "base"), "base") == read


def test_layers_that_their_pattern_does_not_go_into():
    config = dataclasses.replace(CONFIGS["gpt_neo"], num_layers=5)
    written = config_to_hf(config, "base")
    spans = ["global", "local", "global", "local", "global"]
    assert written["attention_types"] == [[spans, 1]]
    read = config_from_hf(written, "base")
    assert read.windows_of_layers == config.windows_of_layers


def test_rotary_positions_as_versions_4_and_5_say_them():
    factors = {"factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 2.0}
    old = {"type": "llama3", **factors, "original_max_position_embeddings": 32}
    plain = hf("llama")
    del plain["rope_parameters"]
    fourth = config_from_hf(plain | {"rope_theta": 7.0, "rope_scaling": old}, "base")
    said = {"rope_type": "llama3", "rope_theta": 7.0, **factors}
    fifth = config_from_hf(plain | {"rope_parameters": said, "max_position_embeddings": 32}, "base")
    assert (fourth.rope_theta, fourth.rope_scaling) == (fifth.rope_theta, fifth.rope_scaling)
    assert fourth.rope_scaling == RopeScaling(4.0, 1.0, 2.0, 32)
    written = config_to_hf(fourth, "base")["rope_parameters"]
    assert written == said | {"original_max_position_embeddings": 32}
    assert config_from_hf(plain, "base").rope_scaling is None
