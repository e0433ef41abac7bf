"""Tiny Shakespeare, character by character: a GPT of 1.8 million parameters, for two cores.

export FLAXFORMERS_DATA=...   # a folder that holds tinyshakespeare/input.txt
python -m train run configs/shakespeare.py --workdir runs/shakespeare
python -m train generate runs/shakespeare --prompt "ROMEO:" --temperature 0.8

The first 90% of the file are trained on, the rest is held out, as in nanoGPT (Karpathy 2022), whose
larger model, trained on a GPU, comes to a loss of 1.47. About eight times through the text.
`python -m benchmarks.language_models` holds it against n-grams, docs/language_models.md.
"""

from flaxformers_edu.models import GPTConfig
from flaxformers_edu.objectives import CausalLM
from flaxformers_edu.optim.optimizers import Optimizer
from flaxformers_edu.optim.schedules import Schedule
from train.experiment import Experiment, TokenizerSpec
from train.pipeline import Batching
from train.sources import LongText

LENGTH, ROWS = 128, 32


def config() -> Experiment:
    """The experiment."""
    return Experiment(
        name="shakespeare",
        model=GPTConfig(
            vocab_size=67,  # 65 characters, the end of a text and the unknown one
            hidden_size=192,
            num_layers=4,
            num_heads=4,
            intermediate_size=768,
            max_length=LENGTH,
            pad_token_id=0,
            eos_token_id=0,
            dropout=0.1,
            embedding_dropout=0.1,
            attention_dropout=0.0,
            layout="unrolled",
        ),
        objective=CausalLM(begin=True),
        source=LongText(file="$FLAXFORMERS_DATA/tinyshakespeare/input.txt"),
        tokenizer=TokenizerSpec(kind="characters"),
        batching=Batching(
            tokens_per_batch=ROWS * LENGTH,
            max_source_length=LENGTH,
            packing=True,
            over_length="split",
        ),
        optimizer=Optimizer(name="adamw", b2=0.98, weight_decay=0.1, clip_norm=1.0),
        schedule=Schedule(name="cosine", peak=3e-3, warmup_steps=100, end_ratio=0.1),
        steps=2000,
        eval_every=200,
        checkpoint_every=200,
    )
