"""Published recipes for large batches: optimiser, schedule, batch and steps of a stage.

LAMB on BERT (You et al. 2020, "Training BERT in 76 minutes", arXiv:1904.00962v5) and LARS on
ResNet-50 (You et al. 2017, arXiv:1708.03888) with the schedule of TensorFlow's reference
implementation (models/official/resnet/lars_util.py of tensorflow/tpu).
"""

from dataclasses import dataclass

from flaxformers_edu.errors import InputError
from flaxformers_edu.optim.optimizers import Optimizer
from flaxformers_edu.optim.scaling import square_root
from flaxformers_edu.optim.schedules import Schedule

BERT_EXAMPLES = 512 * 1_000_000
"""Sequences of the whole training: the baseline's batch of 512 for a million steps."""
BERT_WARMUP_STEPS = 3125
"""The table's warm-up ratios, 1/320 at 512 to 1/5 at 32,768, are this number of steps at every
batch size: epochs of warm-up grow linearly with the batch."""
BERT_LARGEST_RATE = 5e-3
"""The peak at a batch of 32,768; smaller ones follow the square root."""

IMAGENET_EXAMPLES = 1_281_167
"""Images of an epoch."""


@dataclass(frozen=True)
class Stage:
    """One stage of a training."""

    batch: int
    """Sequences or images of an update."""
    steps: int
    """Updates."""
    optimizer: Optimizer
    """How gradients become updates."""
    schedule: Schedule
    """Of this stage: its steps count from 0."""
    sequence_length: int = 0
    """Tokens of a sequence; 0 where it does not matter."""


def lamb_for_bert(batch: int) -> Stage:
    """BERT-Large by LAMB at any batch from 512 to 32,768 (You et al. 2020, appendix, the table of
    untuned LAMB): fixed epochs, square-root scaling, linear-epoch warm-up, then linear decay.

    Raises:
        InputError: the batch is out of the range that was published.
    """
    if not 512 <= batch <= 32_768:
        raise InputError(f"batch is {batch}; the recipe of LAMB holds from 512 to 32768")
    peak = square_root(BERT_LARGEST_RATE, batch / 32_768)
    return Stage(batch, BERT_EXAMPLES // batch, lamb(), _lamb_schedule(peak, BERT_WARMUP_STEPS))


def mixed_lamb_for_bert() -> tuple[Stage, Stage]:
    """The 76 minutes: 9/10 of the epochs on sequences of 128 at 65,536, the rest on 512 at 32,768.

    8,599 steps in all. The second stage warms up again from 0: longer sequences are another
    problem to optimise (You et al. 2020, section 4.1, "mixed-batch training"). The paper gives
    steps and batches and no rates of this run; rates and warm-ups here are those of the
    widely used reproduction, NVIDIA's DeepLearningExamples (6e-3 with 28.43% of warm-up, then
    4e-3 with 12.8%).
    """
    first = Stage(65_536, 7037, lamb(), _lamb_schedule(6e-3, round(0.2843 * 7037)), 128)
    second = Stage(32_768, 1562, lamb(), _lamb_schedule(4e-3, round(0.128 * 1562)), 512)
    return first, second


def lamb() -> Optimizer:
    """LAMB as the paper sets it: moments of 0.9 and 0.999, ε = 1e-6, decay 0.01."""
    return Optimizer(name="lamb", b1=0.9, b2=0.999, eps=1e-6, weight_decay=0.01)


def lars_for_resnet50(batch: int, epochs: int = 90) -> Stage:
    """ResNet-50 on ImageNet by LARS: warm-up in epochs, then polynomial decay of power 2.

    The peak is that of the reference implementation: 10 below 16,384, 25 below 32,768, 32 above,
    where the warm-up takes 14 epochs in place of 5. Trust coefficient 0.001, momentum 0.9, decay
    1e-4.

    Raises:
        InputError: the batch is not between 2,048 and 32,768, the sizes that it was published for.
    """
    if not 2048 <= batch <= 32_768:
        raise InputError(f"batch is {batch}; the recipe of LARS holds from 2048 to 32768")
    if batch < 16_384:
        peak, warmup_epochs = 10.0, 5
    elif batch < 32_768:
        peak, warmup_epochs = 25.0, 5
    else:
        peak, warmup_epochs = 32.0, 14
    steps_per_epoch = IMAGENET_EXAMPLES / batch
    schedule = Schedule(
        name="polynomial",
        power=2.0,
        peak=peak,
        warmup_steps=int(warmup_epochs * steps_per_epoch),
    )
    optimizer = Optimizer(name="lars", momentum=0.9, weight_decay=1e-4, trust_coefficient=1e-3)
    return Stage(batch, int(epochs * steps_per_epoch), optimizer, schedule)


def _lamb_schedule(peak: float, warmup_steps: int) -> Schedule:
    return Schedule(name="linear", peak=peak, warmup_steps=warmup_steps)
