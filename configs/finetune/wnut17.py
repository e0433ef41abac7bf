"""WNUT-17: names in tweets and comments, most of them new. Entity F1, dev set and test set.

export FLAXFORMERS_DATA=...   # a folder that holds ner_extra/wnut17/train.conll, dev.conll, ...
python -m train run configs/finetune/wnut17.py --workdir runs/wnut17 --init FOLDER

It is not in TFDS; from the hub: source=HuggingFaceDataset(name="leondz/wnut_17",
columns=("words=tokens", "tags=ner_tags")).
"""

from configs.finetune._recipe import fine_tuning
from flaxformers_edu.objectives import Tagging
from train.experiment import Experiment
from train.sources import Conll

FOLDER = "$FLAXFORMERS_DATA/ner_extra/wnut17"
TYPES = ("corporation", "creative-work", "group", "location", "person", "product")


def config() -> Experiment:
    """The experiment: about four epochs, for the set is small and most words are outside."""
    return fine_tuning(
        "wnut17",
        Tagging(labels=("O", *(f"{letter}-{kind}" for kind in TYPES for letter in "BI"))),
        Conll(
            train=f"{FOLDER}/train.conll",
            validation=f"{FOLDER}/dev.conll",
            test=f"{FOLDER}/test.conll",
        ),
        steps=600,
        max_length=128,
        tokens_per_batch=1024,
        lower_case=False,
    )
