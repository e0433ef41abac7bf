"""What the three sizes have in common: the corpus of made-up mappings, and how it is read."""

from flaxformers_edu.models import GPTConfig
from flaxformers_edu.objectives import CausalLM
from flaxformers_edu.optim.optimizers import Optimizer
from flaxformers_edu.optim.schedules import Schedule
from train.experiment import Experiment, TokenizerSpec
from train.pipeline import Batching
from train.sources import MadeUpMappings
from train.sources.mappings import PAIRS

BASE_WIDTH, NUM_LAYERS, HEAD_DIM = 32, 2, 16
LENGTH = 3 * PAIRS + 1
"""Three tokens a pair, "; kalo brimu", and the end."""
ROWS = 8
VOCABULARY = 5120
"""Enough for each made-up word to be a token of its own."""


def rung(name: str, *, hidden_size: int) -> Experiment:
    """A size of the ladder. Only the width grows, and muP carries the rate to all of them."""
    model = GPTConfig(
        vocab_size=VOCABULARY,
        hidden_size=hidden_size,
        num_layers=NUM_LAYERS,
        num_heads=hidden_size // HEAD_DIM,
        intermediate_size=4 * hidden_size,
        max_length=LENGTH,
        pad_token_id=0,
        eos_token_id=0,
        dropout=0.0,
        embedding_dropout=0.0,
        attention_dropout=0.0,
        init_std=0.1,
        layout="unrolled",
        mup_base_width=BASE_WIDTH,
    )
    return Experiment(
        name=f"few_shot_{name}",
        model=model,
        objective=CausalLM(),
        source=MadeUpMappings(documents=64_000),
        tokenizer=TokenizerSpec(kind="gpt2", max_examples=8000),
        batching=Batching(
            tokens_per_batch=ROWS * LENGTH, max_source_length=LENGTH, buckets=(LENGTH,)
        ),
        optimizer=Optimizer(
            name="adamw",
            b2=0.98,
            weight_decay=0.01,
            clip_norm=1.0,
            rate_factors=model.mup_rate_factors,
        ),
        schedule=Schedule(name="cosine", peak=4e-3, warmup_steps=300),
        steps=6000,
        log_every=50,
        eval_every=1000,
        checkpoint_every=1000,
    )
