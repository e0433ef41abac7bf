"""The smallest language model, and its fine-tuning as GPT-1 was: for the tests here.

Both read the examples of `tiny_classifier`.
"""

import dataclasses
from pathlib import Path
from typing import Any

from flaxformers_edu.models import GPTConfig
from flaxformers_edu.objectives import CausalLM, GPT1Classification
from tests.train import tiny_classifier
from train.experiment import Experiment, TokenizerSpec
from train.pipeline import Batching

CONFIG = str(Path(__file__))
LANGUAGE_CONFIG = str(Path(__file__).with_name("tiny_language.py"))
SIZE = 280


def config(**changes: Any) -> Experiment:
    """Six steps of a classifier with a language model beside it."""
    experiment = dataclasses.replace(
        tiny_classifier.config(),
        name="tiny-gpt",
        model=GPTConfig(
            vocab_size=SIZE,
            hidden_size=16,
            num_layers=2,
            num_heads=2,
            intermediate_size=32,
            max_length=16,
            pad_token_id=0,
            eos_token_id=0,
        ),
        objective=GPT1Classification(),
        tokenizer=TokenizerSpec(kind="gpt2", task_tokens=True),
        batching=Batching(tokens_per_batch=128, max_source_length=16, buckets=(16,)),
    )
    return dataclasses.replace(experiment, **changes)


def language_config() -> Experiment:
    """The language model that it begins from, without the three tokens."""
    return config(name="tiny-language", objective=CausalLM(), tokenizer=TokenizerSpec(kind="gpt2"))
