"""GPT-3's eight sizes (Brown et al. 2020, table 2.1), trained as section 2.3 and appendix B say.

Published: Adam with 0.9 and 0.95, weight decay 0.1, gradients clipped at 1; batches and rates by
size; batches that grow from 32k tokens over the first 4 to 12 billion, warm-up over 375 million, a
cosine to a tenth over 260 billion, and 300 billion in all. Not published: where between 4 and 12
billion a size is, and the corpus, for which C4 stands in. The schedule counts steps and its
horizons are tokens: they are turned into the steps after which so many have been seen.
"""

import bisect
import dataclasses

from flaxformers_edu.models import presets
from flaxformers_edu.objectives import CausalLM
from flaxformers_edu.optim.optimizers import Optimizer
from flaxformers_edu.optim.schedules import Schedule
from flaxformers_edu.sharding import MeshShape
from train.experiment import Experiment, TokenizerSpec
from train.pipeline import Batching
from train.sources import Tfds

LENGTH = 2048
WARM_UP_TOKENS, DECAY_TOKENS, TOKENS = 375e6, 260e9, 300e9


@dataclasses.dataclass(frozen=True)
class Size:
    """What is trained, and the machine that it is laid out for."""

    preset: str
    """In `flaxformers_edu.models`."""
    rows: int
    """Of 2,048 tokens, in a full batch; table 2.1 gives rounded tokens."""
    peak: float
    """The highest rate (table 2.1)."""
    ramp_tokens: float
    """Over which the batch grows."""
    first_rows: int
    """Of the first batches. 16 are the paper's 32k tokens; a mesh that shares a batch among more
    chips begins with a row for each."""
    topology: str
    """The machine, for `python -m train plan`."""
    tensor: int = 1
    """Chips that share a layer; all others share batch and state (`fsdp`)."""
    parts: int = 1
    """Of a batch, one after the other."""


SIZES = {
    "125m": Size("gpt3-small", 256, 6e-4, 4e9, 16, "v5p:2x2x1"),
    "350m": Size("gpt3-medium", 256, 3e-4, 4e9, 16, "v5p:2x2x2"),
    "760m": Size("gpt3-large", 256, 2.5e-4, 5e9, 16, "v5p:2x2x4"),
    "1_3b": Size("gpt3-xl", 512, 2e-4, 6e9, 64, "v5p:4x4x4", parts=2),
    "2_7b": Size("gpt3-2.7b", 512, 1.6e-4, 7e9, 64, "v5p:4x4x4"),
    "6_7b": Size("gpt3-6.7b", 1024, 1.2e-4, 9e9, 128, "v5p:4x4x8"),
    "13b": Size("gpt3-13b", 1024, 1e-4, 10e9, 64, "v5p:4x4x4", parts=2),
    "175b": Size("gpt3-175b", 1536, 0.6e-4, 12e9, 384, "v5p:8x8x8", tensor=4, parts=4),
}
"""By the names of the configs."""


def gpt3(name: str) -> Experiment:
    """The training of one of SIZES."""
    size = SIZES[name]
    batching = batches(size)
    return Experiment(
        name=f"gpt3_{name}",
        model=dataclasses.replace(
            presets()[size.preset],
            vocab_size=50_304,  # 50,257, and padding so that it divides over `tensor`
            dtype="bfloat16",
            remat="dots_no_batch",
        ),
        objective=CausalLM(loss_chunks=8, begin=True),
        source=Tfds(name="c4/en", source="text", target="", test=""),
        tokenizer=TokenizerSpec(kind="folder", folder="$FLAXFORMERS_DATA/tokenizers/gpt2"),
        batching=batching,
        optimizer=Optimizer(
            name="adamw", b1=0.9, b2=0.95, eps=1e-8, weight_decay=0.1, clip_norm=1.0
        ),
        schedule=Schedule(
            name="cosine",
            peak=size.peak,
            warmup_steps=steps_for(WARM_UP_TOKENS, batching),
            total_steps=steps_for(DECAY_TOKENS, batching),
            end_ratio=0.1,
        ),
        mesh=MeshShape(data=1, fsdp=-1, tensor=size.tensor),
        steps=steps_for(TOKENS, batching),
        accumulation=size.parts,
        log_every=10,
        eval_every=2_000,
        eval_examples=0,
        checkpoint_every=500,
    )


def batches(size: Size) -> Batching:
    """Packed rows, at first few of them; a batch doubles as often as it takes, evenly in steps."""
    times = size.rows // size.first_rows
    doublings = times.bit_length() - 1
    first_tokens = size.first_rows * LENGTH
    # A stage of s steps sees s · first · 2^i tokens, and all stages s · first · (times - 1).
    steps_a_stage = round(size.ramp_tokens / (first_tokens * (times - 1)))
    return Batching(
        tokens_per_batch=size.rows * LENGTH,
        max_source_length=LENGTH,
        packing=True,
        over_length="split",
        ramp_start_tokens=first_tokens,
        ramp_steps=steps_a_stage * doublings,
    )


def steps_for(tokens: float, batching: Batching) -> int:
    """Steps after which so many tokens have been seen."""
    units = round(tokens / batching.ramp_start_tokens)
    return bisect.bisect_left(range(units + 1), units, key=batching.ramp.units_before)
