"""The paper's base model on WMT 2014 English-German (Vaswani et al. 2017): 27.3 BLEU there.

    python -m train run configs/transformer_base_wmt14.py --workdir runs/base --source.download

100,000 steps of about 25,000 source and 25,000 target tokens (section 5), made for eight
accelerators or a pod slice; it has not been trained here. Without `--source.download` the dataset
must already be prepared by tensorflow_datasets (--source.data-dir).
"""

import dataclasses

from flaxformers_edu.models import presets
from flaxformers_edu.objectives import Translation
from flaxformers_edu.optim.optimizers import Optimizer
from flaxformers_edu.optim.schedules import Schedule
from train.experiment import Decoding, Experiment, TokenizerSpec
from train.pipeline import Batching
from train.sources import Tfds


def config() -> Experiment:
    """The experiment."""
    model = dataclasses.replace(presets()["transformer-base"], dtype="bfloat16")
    return Experiment(
        name="transformer_base_wmt14",
        model=model,
        objective=Translation(label_smoothing=0.1),
        source=Tfds(name="wmt14_translate/de-en", source="en", target="de"),
        tokenizer=TokenizerSpec(kind="bpe", max_examples=2_000_000),
        batching=Batching(
            tokens_per_batch=25_000,
            max_source_length=256,
            max_target_length=256,
            over_length="drop",
        ),
        # Section 5.3: Adam without decay; the rate follows equation 3, with 4,000 steps of warm-up.
        optimizer=Optimizer(name="adamw", b1=0.9, b2=0.98, eps=1e-9),
        schedule=Schedule(name="rsqrt", model_dim=model.hidden_size, warmup_steps=4000),
        # Section 6.1: beam 4, and GNMT's length penalty of 0.6, here as an exponent on the length.
        decoding=Decoding(num_beams=4, length_penalty=0.6, max_new_tokens=256),
        steps=100_000,
        ema_decay=0.999,
        log_every=100,
        eval_every=5_000,
        eval_examples=500,
        checkpoint_every=1_000,
        keep_last=5,
    )
