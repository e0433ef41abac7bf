"""A small ELMo on the docstrings of Python's standard library: two language models, no files.

python -m train run configs/elmo_mini.py --workdir runs/elmo_mini

The published shape at a sixteenth of its width: characters, convolutions, two LSTMs with projection
and residual in each direction. Trained on 1,024 sampled words a batch; evaluated by the perplexity
of each direction over the whole vocabulary of 8,192. Made for two cores; on
more text, and as what other tasks begin from: configs/wikitext/elmo_mini.py.
"""

from flaxformers_edu.models import ElmoConfig
from flaxformers_edu.objectives import BidirectionalLM
from flaxformers_edu.optim.optimizers import Optimizer
from flaxformers_edu.optim.schedules import Schedule
from train.experiment import Experiment, TokenizerSpec
from train.pipeline import Batching
from train.sources import StdlibDocs

LENGTH, ROWS = 32, 32


def config() -> Experiment:
    """The experiment."""
    return Experiment(
        name="elmo_mini_stdlib",
        model=ElmoConfig(
            vocab_size=8192,
            filters=((1, 16), (2, 16), (3, 32), (4, 64), (5, 128)),
            num_highway=1,
            projection_size=128,
            hidden_size=512,
        ),
        objective=BidirectionalLM(negatives=1024, split_punctuation=True),
        source=StdlibDocs(unit="document"),
        tokenizer=TokenizerSpec(kind="elmo"),
        batching=Batching(
            tokens_per_batch=ROWS * LENGTH, max_source_length=LENGTH, buckets=(LENGTH,)
        ),
        optimizer=Optimizer(name="adamw", b2=0.98, clip_norm=1.0),
        schedule=Schedule(name="linear", peak=2e-3, warmup_steps=100),
        steps=1000,
        eval_every=200,
        checkpoint_every=200,
    )
