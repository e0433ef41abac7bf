"""DistilBERT (Sanh et al. 2019): a student of six layers of BERT-base, uncased, on Wikipedia.

    python -m train run configs/distilbert.py --workdir runs/distilbert --teacher FOLDER

FOLDER holds the teacher as Hugging Face keeps it: bert-base-uncased, with its vocab.txt. Weights of
the loss, temperature, rate, warm-up and batch are those of the released training script, and so is
the masking that favours rare words, but for each row by itself, where it was for a batch. The
second corpus, books, is no longer given out. The paper does not say how many steps there were;
6,500 are about three passes over the text. Made for many accelerators; it has not been trained
here.
"""

import dataclasses

from flaxformers_edu.models import DistillationConfig, presets
from flaxformers_edu.models.student_layers import spread_layers
from flaxformers_edu.objectives import DistilMLM, MaskedLM, Masking
from flaxformers_edu.optim.optimizers import Optimizer
from flaxformers_edu.optim.schedules import Schedule
from train.experiment import Experiment
from train.pipeline import Batching
from train.sources import Tfds

WIKIPEDIA = Tfds(
    name="wikipedia/20230601.en",
    source="text",
    target="",
    train="train[1%:]",
    validation="train[:1%]",
    test="",
)


def config() -> Experiment:
    """The experiment."""
    teacher = dataclasses.replace(presets()["bert-base"], dtype="bfloat16")
    student = dataclasses.replace(presets()["distilbert-base"], dtype="bfloat16")
    layers = spread_layers(student.num_layers, teacher.num_layers)
    steps = 6_500
    return Experiment(
        name="distilbert",
        model=DistillationConfig(student, teacher, layers),
        objective=DistilMLM(MaskedLM(Masking(smoothing=0.7))),
        source=WIKIPEDIA,
        batching=Batching(tokens_per_batch=4_000 * 512, max_source_length=512, buckets=(512,)),
        optimizer=Optimizer(
            name="adamw", b1=0.9, b2=0.98, eps=1e-6, clip_norm=5.0, frozen=(r"^teacher/",)
        ),
        schedule=Schedule(name="linear", peak=5e-4, warmup_steps=steps // 20),
        steps=steps,
        accumulation=16,
        eval_every=500,
        checkpoint_every=500,
    )
