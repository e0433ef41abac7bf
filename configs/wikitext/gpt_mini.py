"""A GPT of 10 million parameters on WikiText-2: 85 minutes on one core.

export FLAXFORMERS_DATA=...   # a folder that holds wikitext-2/wiki.{train,valid}.tokens
python -m train run configs/wikitext/gpt_mini.py --workdir runs/wikitext_gpt

GPT-2 with 6 layers of width 320, which sees the corpus a little more than once: too seldom for
dropout to be of use. Its byte-level BPE of 8,192 pieces is trained on the articles. The same size
in the shape of Llama is configs/wikitext/llama_mini.py; `python -m benchmarks.language_models`
trains this one and holds it against n-grams, docs/language_models.md.
"""

from configs.wikitext._corpus import FOLDER
from flaxformers_edu.models import GPTConfig
from flaxformers_edu.objectives import CausalLM
from flaxformers_edu.optim.optimizers import Optimizer
from flaxformers_edu.optim.schedules import Schedule
from train.experiment import Experiment, TokenizerSpec
from train.pipeline import Batching
from train.sources import TextFile

LENGTH, ROWS = 256, 4


def config() -> Experiment:
    """The experiment."""
    return Experiment(
        name="gpt_mini_wikitext",
        model=GPTConfig(
            vocab_size=8192,
            hidden_size=320,
            num_layers=6,
            num_heads=5,
            intermediate_size=1280,
            max_length=LENGTH,
            pad_token_id=0,
            eos_token_id=0,
            dropout=0.0,
            embedding_dropout=0.0,
            attention_dropout=0.0,
            layout="unrolled",
        ),
        objective=CausalLM(begin=True, loss_chunks=4),
        source=TextFile(
            train=f"{FOLDER}/wiki.train.tokens",
            validation=f"{FOLDER}/wiki.valid.tokens",
            unit="article",
        ),
        tokenizer=TokenizerSpec(kind="gpt2"),
        batching=Batching(
            tokens_per_batch=ROWS * LENGTH,
            max_source_length=LENGTH,
            packing=True,
            over_length="split",
        ),
        optimizer=Optimizer(name="adamw", b2=0.98, weight_decay=0.1, clip_norm=1.0),
        schedule=Schedule(name="cosine", peak=2e-3, warmup_steps=150, end_ratio=0.1),
        steps=3000,
        eval_every=300,
        checkpoint_every=300,
    )
