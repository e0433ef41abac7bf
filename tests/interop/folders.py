"""Tiny folders in Hugging Face's format, written by ourselves, and ways to change them."""

import dataclasses
import json
from functools import cache

import numpy as np
from safetensors.numpy import load_file, save_file

from flaxformers_edu.interop import Pretrained, save_pretrained
from flaxformers_edu.layers.positions import RopeScaling
from flaxformers_edu.models import (
    AlbertConfig,
    BertConfig,
    DistilBertConfig,
    ElectraConfig,
    GPT1Config,
    GPTConfig,
    GPTNeoConfig,
    LlamaConfig,
    RobertaConfig,
    TinyBertConfig,
)
from tests.trees import random_params

SIZES = dict(vocab_size=21, num_layers=3, intermediate_size=10, max_length=11)
HEADS = dict(hidden_size=8, num_heads=2)
IDS = dict(eos_token_id=3, mask_token_id=4)
ENDS = dict(pad_token_id=2, eos_token_id=2)

CONFIGS = {
    "bert": BertConfig(**SIZES, **HEADS, **IDS),
    "roberta": RobertaConfig(**SIZES, **HEADS, **IDS),
    "albert": AlbertConfig(**SIZES, **HEADS, **IDS, embedding_size=6),
    "albert groups": AlbertConfig(
        **(SIZES | {"num_layers": 4}), **HEADS, **IDS, embedding_size=6, num_groups=2,
        inner_group_num=2,
    ),
    "electra": ElectraConfig(**SIZES, **HEADS, **IDS, embedding_size=6),
    "distilbert": DistilBertConfig(**SIZES, **HEADS, **IDS),
    "tinybert": TinyBertConfig(**SIZES, **HEADS, **IDS),
    "gpt1": GPT1Config(**(SIZES | {"intermediate_size": 32}), **HEADS, **ENDS),
    "gpt2": GPTConfig(**SIZES, **HEADS, **ENDS),
    "gpt2 untied": GPTConfig(**SIZES, **HEADS, **ENDS, tie_embeddings=False),
    "gpt_neo": GPTNeoConfig(**SIZES, **HEADS, **ENDS, window=3),
    "llama": LlamaConfig(**SIZES, hidden_size=8, num_heads=4, num_kv_heads=2, **ENDS),
    "llama tied": LlamaConfig(
        **SIZES, **HEADS, pad_token_id=0, eos_token_id=2, tie_embeddings=True, head_dim=6,
        rope_theta=50.0, rope_scaling=RopeScaling(original_max_length=16),
    ),
}  # fmt: skip


@cache
def pretrained(name="bert", task="base", seed=0, **changes):
    """A tiny model with random weights, nothing in it trivial."""
    config = dataclasses.replace(CONFIGS[name], **changes)
    model = config.build(task)
    params = random_params(model, **model.dummy_inputs(), seed=seed)
    return Pretrained(model, params, None, config, task)


def written(folder, *args, **kwargs):
    """The folder of such a model, and the model."""
    made = pretrained(*args, **kwargs)
    save_pretrained(folder, made)
    return made


def change_config(folder, **changes):
    """Sets fields of config.json, or removes those that are None."""
    path = folder / "config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: v for key, v in config.items() if v is not None}))


def change_weights(folder, change):
    """Applies `change` to the weights, a dict of arrays by name that it may edit or replace."""
    path = folder / "model.safetensors"
    weights = load_file(path)
    weights = change(weights) or weights
    weights = {name: np.ascontiguousarray(value) for name, value in weights.items()}
    path.unlink()
    save_file(weights, path, metadata={"format": "pt"})
