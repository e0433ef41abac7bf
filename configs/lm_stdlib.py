"""A small GPT on the docstrings of Python's standard library: a language model without any files.

python -m train run configs/lm_stdlib.py --workdir runs/lm_stdlib

466 documents, split into windows of 128 tokens and packed; evaluated by the loss and the perplexity
of a token. Test loss 5.435, perplexity 229, after 500 steps: a demonstration, its settings untuned.
"""

from flaxformers_edu.models import GPTConfig
from flaxformers_edu.objectives import CausalLM
from flaxformers_edu.optim.optimizers import Optimizer
from flaxformers_edu.optim.schedules import Schedule
from train.experiment import Experiment, TokenizerSpec
from train.pipeline import Batching
from train.sources import StdlibDocs


def config() -> Experiment:
    """The experiment."""
    return Experiment(
        name="lm_stdlib",
        model=GPTConfig(
            vocab_size=2048,
            hidden_size=128,
            num_layers=4,
            num_heads=4,
            intermediate_size=512,
            max_length=128,
            pad_token_id=0,
            eos_token_id=1,
            dropout=0.1,
            layout="unrolled",
        ),
        objective=CausalLM(),
        source=StdlibDocs(unit="document"),
        tokenizer=TokenizerSpec(kind="bpe"),
        batching=Batching(
            tokens_per_batch=2048, max_source_length=128, packing=True, over_length="split"
        ),
        optimizer=Optimizer(name="adamw", b2=0.98, weight_decay=0.1, clip_norm=1.0),
        schedule=Schedule(name="linear", peak=3e-3, warmup_steps=15),
        steps=500,
        eval_every=100,
        checkpoint_every=100,
    )
