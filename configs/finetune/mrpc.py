"""MRPC: whether two sentences say the same. Accuracy and F1, dev set and test set.

export FLAXFORMERS_DATA=...   # a folder that holds glue/MRPC/train.tsv, dev.tsv, ...
python -m train run configs/finetune/mrpc.py --workdir runs/mrpc --init FOLDER

From TFDS: source=Tfds(name="glue/mrpc") in place of the files.
"""

from configs.finetune._recipe import fine_tuning
from flaxformers_edu.objectives import Classification
from train.experiment import Experiment
from train.sources import Tsv

FOLDER = "$FLAXFORMERS_DATA/glue/MRPC"


def config() -> Experiment:
    """The experiment: about three epochs."""
    return fine_tuning(
        "mrpc",
        Classification(labels=("not_equivalent", "equivalent"), metrics=("accuracy", "f1")),
        Tsv(
            train=f"{FOLDER}/train.tsv",
            validation=f"{FOLDER}/dev.tsv",
            test=f"{FOLDER}/msr_paraphrase_test.txt",
            columns=("text=#1 String", "text_pair=#2 String", "label=Quality"),
            header=True,
        ),
        steps=350,
        max_length=128,
        tokens_per_batch=2048,
    )
