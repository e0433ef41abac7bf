"""SST-2 as GPT-1 learns it: `start phrase extract`, and the next token beside the sentiment.

export FLAXFORMERS_DATA=...   # a folder that holds glue/SST-2/train.tsv and dev.tsv
python -m train run configs/finetune/gpt1_sst2.py --workdir runs/gpt1_sst2 --init FOLDER

FOLDER is the run of a language model. --objective.lm-weight 0 leaves the auxiliary loss out.
"""

from configs.finetune import sst2
from configs.finetune._gpt1 import as_gpt1
from flaxformers_edu.objectives import GPT1Classification
from train.experiment import Experiment


def config() -> Experiment:
    """The experiment: about three epochs."""
    encoders = sst2.config()
    return as_gpt1(
        "gpt1-sst2",
        GPT1Classification(labels=encoders.objective.labels),
        encoders.source,
        steps=4300,
        max_length=64,
        tokens_per_batch=1024,
    )
