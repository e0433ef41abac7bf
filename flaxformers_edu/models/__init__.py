"""The families: one file each, a frozen config with the published sizes, then the module."""

import math
from typing import Any

import flax.linen as nn
import jax

from flaxformers_edu.models import (
    albert,
    awd_lstm,
    bert,
    distilbert,
    electra,
    elmo,
    gpt1,
    gpt2,
    gpt3,
    gpt_neo,
    llama,
    roberta,
    seq2seq,
    tinybert,
    transformer,
)
from flaxformers_edu.models.albert import Albert, AlbertConfig
from flaxformers_edu.models.awd_lstm import AWDLSTMConfig
from flaxformers_edu.models.bert import Bert, BertConfig
from flaxformers_edu.models.decoder import Decoder
from flaxformers_edu.models.decoder_config import DecoderConfig
from flaxformers_edu.models.distilbert import DistilBert, DistilBertConfig
from flaxformers_edu.models.distillation import Distillation, DistillationConfig
from flaxformers_edu.models.electra import Electra, ElectraConfig, ElectraPreTraining
from flaxformers_edu.models.elmo import Elmo, ElmoConfig
from flaxformers_edu.models.encoder import Encoder
from flaxformers_edu.models.encoder_config import EncoderConfig
from flaxformers_edu.models.gpt1 import GPT1Config
from flaxformers_edu.models.gpt2 import GPTConfig
from flaxformers_edu.models.gpt_neo import GPTNeoConfig
from flaxformers_edu.models.llama import LlamaConfig
from flaxformers_edu.models.recurrent_lm import RecurrentLM
from flaxformers_edu.models.roberta import Roberta, RobertaConfig
from flaxformers_edu.models.seq2seq import Seq2Seq, Seq2SeqConfig
from flaxformers_edu.models.tinybert import TinyBert, TinyBertConfig
from flaxformers_edu.models.transformer import Transformer, TransformerConfig

__all__ = [
    "AWDLSTMConfig",
    "Albert",
    "AlbertConfig",
    "Bert",
    "BertConfig",
    "Decoder",
    "DecoderConfig",
    "DistilBert",
    "DistilBertConfig",
    "Distillation",
    "DistillationConfig",
    "Electra",
    "ElectraConfig",
    "ElectraPreTraining",
    "Elmo",
    "ElmoConfig",
    "Encoder",
    "EncoderConfig",
    "GPT1Config",
    "GPTConfig",
    "GPTNeoConfig",
    "LlamaConfig",
    "RecurrentLM",
    "Roberta",
    "RobertaConfig",
    "Seq2Seq",
    "Seq2SeqConfig",
    "TASKS",
    "TinyBert",
    "TinyBertConfig",
    "Transformer",
    "TransformerConfig",
    "build",
    "count_params",
    "presets",
]

_FAMILIES = (
    *(seq2seq, elmo, transformer, gpt1, gpt2, gpt3, gpt_neo, llama),
    *(bert, roberta, albert, electra, distilbert, tinybert),
    *(awd_lstm,),
)

TASKS = tuple(sorted({task for family in _FAMILIES for task in family.TASKS}))
"""Every task that some family has."""


def presets() -> dict[str, Any]:
    """Every published size by name: {"transformer-base": TransformerConfig(...), ...}."""
    return {name: config for family in _FAMILIES for name, config in family.PRESETS.items()}


def build(config: Any, task: str) -> nn.Module:
    """The module of a family for a task.

    Raises:
        InputError: a task that the family does not have.
    """
    return config.build(task)


def count_params(config: Any, task: str) -> int:
    """The exact number of parameters, by `jax.eval_shape`: nothing is allocated."""
    module = build(config, task)
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), **module.dummy_inputs()))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes["params"]))
