"""NSMC: whether a Korean film review is positive. Accuracy on parts held out of the training file.

export FLAXFORMERS_DATA=...   # a folder that holds nsmc/ratings_train_derived.txt
python -m train run configs/finetune/nsmc.py --workdir runs/nsmc --init FOLDER

With the official files: --source.train .../ratings_train.txt --source.validation the same
--source.test .../ratings_test.txt. It is not in TFDS; from the hub:
source=HuggingFaceDataset(name="e9t/nsmc", columns=("text=document", "label=label"), ...).
"""

from configs.finetune._recipe import fine_tuning
from flaxformers_edu.objectives import Classification
from train.experiment import Experiment
from train.sources import Tsv

FILE = "$FLAXFORMERS_DATA/nsmc/ratings_train_derived.txt"


def config() -> Experiment:
    """The experiment: about two epochs."""
    return fine_tuning(
        "nsmc",
        Classification(labels=("negative", "positive")),
        Tsv(
            train=FILE,
            validation=FILE,
            test=FILE,
            columns=("text=document", "label=label"),
            header=True,
        ),
        steps=2100,
        max_length=128,
        tokens_per_batch=2048,
    )
