"""CoLA: whether a sentence is English that linguists accept. Matthews correlation on the dev set.

export FLAXFORMERS_DATA=...   # a folder that holds glue/CoLA/train.tsv and dev.tsv
python -m train run configs/finetune/cola.py --workdir runs/cola --init FOLDER

From TFDS: source=Tfds(name="glue/cola", test="") in place of the files.
"""

from configs.finetune._recipe import fine_tuning
from flaxformers_edu.objectives import Classification
from train.experiment import Experiment
from train.sources import Tsv

FOLDER = "$FLAXFORMERS_DATA/glue/CoLA"


def config() -> Experiment:
    """The experiment: about three epochs."""
    return fine_tuning(
        "cola",
        Classification(labels=("unacceptable", "acceptable"), metrics=("matthews",)),
        Tsv(
            train=f"{FOLDER}/train.tsv",
            validation=f"{FOLDER}/dev.tsv",
            columns=("text=3", "label=1"),
        ),
        steps=450,
        max_length=64,
        tokens_per_batch=1024,
    )
