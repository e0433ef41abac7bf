"""SST-2: whether a phrase of a film review is positive. Accuracy on the published dev set.

export FLAXFORMERS_DATA=...   # a folder that holds glue/SST-2/train.tsv and dev.tsv
python -m train run configs/finetune/sst2.py --workdir runs/sst2 --init FOLDER

From TFDS: source=Tfds(name="glue/sst2", test="") in place of the files.
"""

from configs.finetune._recipe import fine_tuning
from flaxformers_edu.objectives import Classification
from train.experiment import Experiment
from train.sources import Tsv

FOLDER = "$FLAXFORMERS_DATA/glue/SST-2"


def config() -> Experiment:
    """The experiment: about three epochs."""
    return fine_tuning(
        "sst2",
        Classification(labels=("negative", "positive")),
        Tsv(
            train=f"{FOLDER}/train.tsv",
            validation=f"{FOLDER}/dev.tsv",
            columns=("text=sentence", "label=label"),
            header=True,
        ),
        steps=4300,
        max_length=64,
        tokens_per_batch=1024,
    )
