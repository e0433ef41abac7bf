"""WinoGrande: which of two names fills a blank. Accuracy on a tenth of the training set.

export FLAXFORMERS_DATA=...   # a folder that holds winogrande/train_m.jsonl
python -m train run configs/finetune/winogrande.py --workdir runs/winogrande --init FOLDER

Sentences come in pairs that differ in a word and in the answer; the part held out is chosen by
sentences, so that it holds twins of sentences trained on. Where there is a dev set:
--source.validation '$FLAXFORMERS_DATA/winogrande/dev.jsonl'.
From TFDS: source=Tfds(name="winogrande/train_m", test="", columns=the same).
"""

from configs.finetune._recipe import fine_tuning
from flaxformers_edu.objectives import MultipleChoice
from train.experiment import Experiment
from train.sources import Jsonl

FILE = "$FLAXFORMERS_DATA/winogrande/train_m.jsonl"


def config() -> Experiment:
    """The experiment: about three epochs. A batch has twice the tokens that are named."""
    return fine_tuning(
        "winogrande",
        MultipleChoice(labels=("1", "2"), blank="_"),
        Jsonl(
            train=FILE,
            validation=FILE,
            columns=("question=sentence", "choices=option1,option2", "label=answer"),
        ),
        steps=222,
        max_length=96,
        tokens_per_batch=1024,
    )
