"""SICK as GPT-1 learns it: `start premise delimiter hypothesis extract` (Marelli et al. 2014).

export FLAXFORMERS_DATA=...   # a folder that holds nli_extra/sick/train.txt and dev.txt
python -m train run configs/finetune/gpt1_sick.py --workdir runs/gpt1_sick --init FOLDER

FOLDER is the run of a language model. --objective.lm-weight 0 leaves the auxiliary loss out.
Lines are premise, hypothesis and 0 for entailment, 1 for neutral, 2 for contradiction.
"""

from configs.finetune._gpt1 import as_gpt1
from flaxformers_edu.objectives import GPT1Classification
from train.experiment import Experiment
from train.sources import Tsv

FOLDER = "$FLAXFORMERS_DATA/nli_extra/sick"


def config() -> Experiment:
    """The experiment: about three epochs."""
    return as_gpt1(
        "gpt1-sick",
        GPT1Classification(labels=("entailment", "neutral", "contradiction")),
        Tsv(
            train=f"{FOLDER}/train.txt",
            validation=f"{FOLDER}/dev.txt",
            columns=("text=0", "text_pair=1", "label=2"),
        ),
        steps=600,
        max_length=96,
        tokens_per_batch=1024,
    )
