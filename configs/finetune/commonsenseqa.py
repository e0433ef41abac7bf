"""CommonsenseQA: which of five answers fits a question. Accuracy on a tenth of the training set.

export FLAXFORMERS_DATA=...   # a folder that holds commonsenseqa/train.jsonl
python -m train run configs/finetune/commonsenseqa.py --workdir runs/commonsenseqa --init FOLDER

Where there is a dev set: --source.validation '$FLAXFORMERS_DATA/commonsenseqa/valid.jsonl'.
It is not in TFDS; from the hub: source=HuggingFaceDataset(name="tau/commonsense_qa", test="",
columns=("question=question", "choices=choices/text", "label=answerKey")).
"""

from configs.finetune._recipe import fine_tuning
from flaxformers_edu.objectives import MultipleChoice
from train.experiment import Experiment
from train.sources import Jsonl

FILE = "$FLAXFORMERS_DATA/commonsenseqa/train.jsonl"


def config() -> Experiment:
    """The experiment: about three epochs. A batch has five times the tokens that are named."""
    return fine_tuning(
        "commonsenseqa",
        MultipleChoice(),
        Jsonl(
            train=FILE,
            validation=FILE,
            columns=("question=question/stem", "choices=question/choices/text", "label=answerKey"),
        ),
        steps=1000,
        max_length=64,
        tokens_per_batch=768,
    )
