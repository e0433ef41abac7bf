"""CommonsenseQA as GPT-1 learns it: `start question delimiter answer extract` for each answer.

export FLAXFORMERS_DATA=...   # a folder that holds commonsenseqa/train.jsonl
python -m train run configs/finetune/gpt1_commonsenseqa.py --workdir runs/gpt1_csqa --init FOLDER

FOLDER is the run of a language model. --objective.lm-weight 0 leaves the auxiliary loss out.
"""

from configs.finetune import commonsenseqa
from configs.finetune._gpt1 import as_gpt1
from flaxformers_edu.objectives import GPT1MultipleChoice
from train.experiment import Experiment


def config() -> Experiment:
    """The experiment: about three epochs. A batch has five times the tokens that are named."""
    return as_gpt1(
        "gpt1-commonsenseqa",
        GPT1MultipleChoice(),
        commonsenseqa.config().source,
        steps=1000,
        max_length=64,
        tokens_per_batch=768,
    )
