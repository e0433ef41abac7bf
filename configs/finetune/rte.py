"""RTE: whether a sentence follows from a text. Accuracy on a tenth of the published training set.

export FLAXFORMERS_DATA=...   # a folder that holds glue/RTE/train.tsv
python -m train run configs/finetune/rte.py --workdir runs/rte --init FOLDER

Where there is a dev set: --source.validation '$FLAXFORMERS_DATA/glue/RTE/dev.tsv'.
From TFDS: source=Tfds(name="glue/rte", test="") in place of the files.
"""

from configs.finetune._recipe import fine_tuning
from flaxformers_edu.objectives import Classification
from train.experiment import Experiment
from train.sources import Tsv

FILE = "$FLAXFORMERS_DATA/glue/RTE/train.tsv"


def config() -> Experiment:
    """The experiment: about three epochs."""
    return fine_tuning(
        "rte",
        Classification(labels=("entailment", "not_entailment")),
        Tsv(
            train=FILE,
            validation=FILE,
            columns=("text=sentence1", "text_pair=sentence2", "label=label"),
            header=True,
        ),
        steps=300,
        max_length=256,
        tokens_per_batch=2048,
    )
