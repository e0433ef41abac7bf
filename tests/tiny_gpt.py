"""A tiny GPT-2 with random weights and a tokeniser, as a folder of Hugging Face."""

from functools import cache
from pathlib import Path

from flaxformers_edu.interop import Pretrained, save_pretrained
from flaxformers_edu.models import GPTConfig
from flaxformers_edu.text.tokenizer import Tokenizer
from flaxformers_edu.text.training import train_gpt2_bpe
from tests.trees import random_params

TEXTS = ("the cat sat on the mat", "a dog ran in the park today", "cats and dogs")


@cache
def tokenizer() -> Tokenizer:
    """Byte-level BPE, trained on the texts above."""
    return train_gpt2_bpe(TEXTS * 20, vocab_size=290)


def write(folder: Path) -> Path:
    """The folder of a model that has learnt nothing, but has all its weights."""
    config = GPTConfig(
        vocab_size=tokenizer().vocab_size,
        hidden_size=16,
        num_layers=1,
        num_heads=2,
        intermediate_size=32,
        max_length=24,
        pad_token_id=0,
        eos_token_id=0,
        layout="unrolled",
    )
    model = config.build("causal_lm")
    params = random_params(model, **model.dummy_inputs(), seed=0)
    save_pretrained(folder, Pretrained(model, params, tokenizer(), config, "causal_lm"))
    return folder
