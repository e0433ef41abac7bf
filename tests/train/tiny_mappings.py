"""A language model of the smallest kind, on documents of made-up mappings."""

from pathlib import Path

from flaxformers_edu.models import GPTConfig
from flaxformers_edu.objectives import CausalLM
from flaxformers_edu.optim.schedules import Schedule
from train.experiment import Experiment, TokenizerSpec
from train.pipeline import Batching
from train.sources import MadeUpMappings

CONFIG = str(Path(__file__))
LENGTH = 192


def config() -> Experiment:
    """Two steps."""
    return Experiment(
        name="tiny_mappings",
        model=GPTConfig(
            vocab_size=400,
            hidden_size=16,
            num_layers=1,
            num_heads=2,
            intermediate_size=32,
            max_length=LENGTH,
            pad_token_id=0,
            eos_token_id=0,
        ),
        objective=CausalLM(),
        source=MadeUpMappings(documents=64, held_out_documents=8),
        tokenizer=TokenizerSpec(kind="gpt2"),
        batching=Batching(tokens_per_batch=8 * LENGTH, max_source_length=LENGTH, buckets=(LENGTH,)),
        schedule=Schedule(peak=1e-2, warmup_steps=1),
        steps=2,
        eval_every=2,
        checkpoint_every=2,
    )
