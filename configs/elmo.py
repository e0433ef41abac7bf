"""ELMo's language models at their published size (Peters et al. 2018): ten epochs of 1B words.

python -m train run configs/elmo.py --workdir runs/elmo

Adagrad at 0.2 and 8,192 sampled words, as `allenai/bilm-tf` trains (bin/train_elmo.py) on three
accelerators with 128 streams of 20 words each. It multiplies the loss by those 20 before it takes
gradients, clips their norm at 10 and begins Adagrad's sums at 1; of a loss that is not multiplied
these are 10/20 and 1/20². Rows here have 128 words, because they begin with nothing in mind where
those carried their states on; as many words a batch. The text comes from TFDS, split into words as
published. Made for an accelerator; it has not been trained here.
"""

from flaxformers_edu.models import presets
from flaxformers_edu.objectives import BidirectionalLM
from flaxformers_edu.optim.optimizers import Optimizer
from flaxformers_edu.optim.schedules import Schedule
from train.experiment import Experiment, TokenizerSpec
from train.pipeline import Batching
from train.sources import Tfds

WORDS, EPOCHS = 768_648_884, 10
UNROLLED = 20
BATCH, LENGTH = 3 * 128 * UNROLLED, 128
EPOCH = WORDS // BATCH


def config() -> Experiment:
    """The experiment."""
    return Experiment(
        name="elmo",
        model=presets()["elmo-original"],
        objective=BidirectionalLM(negatives=8192, loss_chunks=8),
        source=Tfds(name="lm1b", columns=("text=text",), validation="test", test=""),
        tokenizer=TokenizerSpec(kind="elmo"),
        batching=Batching(tokens_per_batch=BATCH, max_source_length=LENGTH, buckets=(LENGTH,)),
        optimizer=Optimizer(
            name="adagrad", eps=0.0, clip_norm=10 / UNROLLED, first_square=1 / UNROLLED**2
        ),
        schedule=Schedule(name="constant", peak=0.2, warmup_steps=0),
        steps=EPOCHS * EPOCH,
        eval_every=EPOCH // 10,
        eval_examples=1000,
        checkpoint_every=EPOCH // 10,
    )
