"""Tiny encoders of every family, for the tests of this folder."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from flaxformers_edu.models import (
    AlbertConfig,
    BertConfig,
    DistilBertConfig,
    ElectraConfig,
    RobertaConfig,
    TinyBertConfig,
)
from tests.trees import random_params

SIZES = dict(
    vocab_size=20,
    hidden_size=8,
    num_layers=2,
    num_heads=2,
    intermediate_size=12,
    dropout=0.0,
    attention_dropout=0.0,
    classifier_dropout=0.0,
    max_length=16,
    eos_token_id=3,
    mask_token_id=4,
    num_labels=3,
)
FAMILIES = {
    "bert": BertConfig(**SIZES),
    "roberta": RobertaConfig(**SIZES),
    "albert": AlbertConfig(embedding_size=4, **SIZES),
    "electra": ElectraConfig(embedding_size=4, generator_fraction=0.5, **SIZES),
    "distilbert": DistilBertConfig(**SIZES),
    "tinybert": TinyBertConfig(teacher_size=6, **SIZES),
}
BERT = FAMILIES["bert"]


def variant(config=BERT, task="base", **fields):
    return dataclasses.replace(config, **fields).build(task)


def params_of(module, seed=0):
    return random_params(module, **module.dummy_inputs(), seed=seed)


def texts(config, *lengths, seed=0):
    """Padded rows of such lengths: ids, mask and, where there are some, types."""
    generator = np.random.default_rng(seed)
    T = max(lengths)
    mask = (np.arange(T) < np.array(lengths)[:, None]).astype(np.int32)
    ids = generator.integers(5, config.vocab_size, mask.shape)
    types = generator.integers(0, 2, mask.shape) * mask
    batch = {"input_ids": np.where(mask == 1, ids, config.pad_token_id), "attention_mask": mask}
    if config.num_token_types > 1:
        batch["token_type_ids"] = types
    return {name: jnp.asarray(x, jnp.int32) for name, x in batch.items()}
