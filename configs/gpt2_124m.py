"""GPT-2 of 124 million parameters (Radford et al. 2019), on the part of C4 that is like WebText.

    python -m train run configs/gpt2_124m.py --workdir runs/gpt2_124m --source.download

512 rows of 1,024 tokens a step (section 2.3). Rate, schedule, optimiser and the number of steps
were not published: here they are GPT-3's for this size (configs/_gpt3.py), for 105 billion tokens,
and the warm-up is GPT-1's. Nor was WebText: `c4/webtextlike` has pages from the same links as
OpenWebText, whose list TFDS asks you to put into its folder of manual downloads. Texts do not see
each other in a row. Made for 8 chips or more; it has not been trained here.
"""

import dataclasses

from flaxformers_edu.models import presets
from flaxformers_edu.objectives import CausalLM
from flaxformers_edu.optim.optimizers import Optimizer
from flaxformers_edu.optim.schedules import Schedule
from flaxformers_edu.sharding import MeshShape
from train.experiment import Experiment, TokenizerSpec
from train.pipeline import Batching
from train.sources import Tfds

ROWS, LENGTH, STEPS = 512, 1024, 200_000


def config() -> Experiment:
    """The experiment."""
    return gpt2("gpt2_124m", "gpt2", peak=6e-4, mesh=MeshShape(), parts=4)


def gpt2(name: str, preset: str, *, peak: float, mesh: MeshShape, parts: int) -> Experiment:
    """One of table 2's sizes."""
    return Experiment(
        name=name,
        model=dataclasses.replace(presets()[preset], dtype="bfloat16", remat="dots_no_batch"),
        objective=CausalLM(loss_chunks=8, begin=True),
        source=Tfds(name="c4/webtextlike", source="text", target="", test=""),
        tokenizer=TokenizerSpec(kind="folder", folder="$FLAXFORMERS_DATA/tokenizers/gpt2"),
        batching=Batching(
            tokens_per_batch=ROWS * LENGTH,
            max_source_length=LENGTH,
            packing=True,
            over_length="split",
        ),
        optimizer=Optimizer(name="adamw", b2=0.95, eps=1e-8, weight_decay=0.1, clip_norm=1.0),
        schedule=Schedule(name="cosine", peak=peak, warmup_steps=2_000, end_ratio=0.1),
        mesh=mesh,
        steps=STEPS,
        accumulation=parts,
        log_every=10,
        eval_every=2_000,
        eval_examples=0,
        checkpoint_every=1_000,
    )
