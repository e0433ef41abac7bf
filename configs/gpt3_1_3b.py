"""GPT-3 XL, 1.3 billion parameters (Brown et al. 2020, table 2.1), on C4, not on its own corpus.

    python -m train run configs/gpt3_1_3b.py --workdir runs/gpt3_1_3b --source.download

About 1 million tokens a step and a rate of 2e-4, for 300 billion tokens; made for 64 chips of TPU
v5e or more; it has not been trained here. What it needs: docs/plans/gpt3_1_3b. The batch has its
full size from the first step (the paper's grows over the first billions of tokens). The tokeniser
is GPT-2's own, in a folder: --tokenizer.folder.
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

LENGTH = 2048


def config() -> Experiment:
    """The experiment."""
    mesh = MeshShape(data=1, fsdp=-1)
    return gpt3("gpt3_1_3b", "gpt3-xl", rows=512, peak=2e-4, mesh=mesh, parts=2)


def gpt3(
    name: str, preset: str, *, rows: int, peak: float, mesh: MeshShape, parts: int
) -> Experiment:
    """One of table 2.1's sizes, trained as appendix B says: `rows` of 2,048 tokens a step."""
    tokens = rows * LENGTH
    model = dataclasses.replace(
        presets()[preset],
        vocab_size=50_304,  # 50,257, and padding so that it divides over `tensor`
        dtype="bfloat16",
        remat="dots_no_batch",
    )
    return Experiment(
        name=name,
        model=model,
        objective=CausalLM(),
        source=Tfds(name="c4/en", source="text", target="", test=""),
        tokenizer=TokenizerSpec(kind="folder", folder="$FLAXFORMERS_DATA/tokenizers/gpt2"),
        batching=Batching(
            tokens_per_batch=tokens, max_source_length=LENGTH, packing=True, over_length="split"
        ),
        optimizer=Optimizer(
            name="adamw", b1=0.9, b2=0.95, eps=1e-8, weight_decay=0.1, clip_norm=1.0
        ),
        # Warm-up over 375 million tokens, and a cosine to a tenth over 260 billion.
        schedule=Schedule(
            name="cosine",
            peak=peak,
            warmup_steps=round(375e6 / tokens),
            total_steps=round(260e9 / tokens),
            end_ratio=0.1,
        ),
        mesh=mesh,
        steps=round(300e9 / tokens),
        accumulation=parts,
        log_every=10,
        eval_every=2_000,
        eval_examples=0,
        checkpoint_every=500,
    )
