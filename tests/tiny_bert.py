"""A tiny BERT with random weights and a tokeniser, as a folder of Hugging Face."""

import dataclasses
from functools import cache
from pathlib import Path

from flaxformers_edu.interop import Pretrained, save_pretrained
from flaxformers_edu.models import BertConfig
from flaxformers_edu.text.tokenizer import Tokenizer
from flaxformers_edu.text.training import train_wordpiece
from tests.trees import random_params

TEXTS = ("the cat sat on the mat", "a dog ran in the park today", "cats and dogs")


@cache
def tokenizer() -> Tokenizer:
    """WordPiece, trained on the texts above."""
    return train_wordpiece(TEXTS * 20, vocab_size=80)


def write(folder: Path, task: str, **changes) -> Path:
    """The folder of a model that has learnt nothing, but has all weights of the task."""
    config = BertConfig(
        vocab_size=tokenizer().vocab_size,
        hidden_size=16,
        num_layers=1,
        num_heads=2,
        intermediate_size=32,
        max_length=48,
        eos_token_id=tokenizer().sep_token_id,
        mask_token_id=tokenizer().mask_token_id,
        num_labels=3,
    )
    model = dataclasses.replace(config, **changes).build(task)
    params = random_params(model, **model.dummy_inputs(), seed=0)
    save_pretrained(folder, Pretrained(model, params, tokenizer(), model.config, task))
    return folder
