"""STS-B: how alike two sentences are, from 0 to 5. Pearson and Spearman on the published dev set.

export FLAXFORMERS_DATA=...   # a folder that holds glue/STS-B/train.tsv and dev.tsv
python -m train run configs/finetune/stsb.py --workdir runs/stsb --init FOLDER

From TFDS: source=Tfds(name="glue/stsb", test="") in place of the files.
"""

from configs.finetune._recipe import fine_tuning
from flaxformers_edu.objectives import Regression
from train.experiment import Experiment
from train.sources import Tsv

FOLDER = "$FLAXFORMERS_DATA/glue/STS-B"


def config() -> Experiment:
    """The experiment: about three epochs."""
    return fine_tuning(
        "stsb",
        Regression(),
        Tsv(
            train=f"{FOLDER}/train.tsv",
            validation=f"{FOLDER}/dev.tsv",
            columns=("text=sentence1", "text_pair=sentence2", "label=score"),
            header=True,
        ),
        steps=630,
        max_length=128,
        tokens_per_batch=1024,
    )
