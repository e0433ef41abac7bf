"""STS-B as GPT-1 learns it: both orders of a pair, whose last states are added.

export FLAXFORMERS_DATA=...   # a folder that holds glue/STS-B/train.tsv and dev.tsv
python -m train run configs/finetune/gpt1_stsb.py --workdir runs/gpt1_stsb --init FOLDER

FOLDER is the run of a language model. --objective.lm-weight 0 leaves the auxiliary loss out.
"""

from configs.finetune import stsb
from configs.finetune._gpt1 import as_gpt1
from flaxformers_edu.objectives import GPT1Regression
from train.experiment import Experiment


def config() -> Experiment:
    """The experiment: about three epochs. A batch has twice the tokens that are named."""
    return as_gpt1(
        "gpt1-stsb",
        GPT1Regression(),
        stsb.config().source,
        steps=630,
        max_length=128,
        tokens_per_batch=1024,
    )
