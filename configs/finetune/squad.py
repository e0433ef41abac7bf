"""SQuAD: the answer to a question as a span of a paragraph. EM and F1 on articles held out.

export FLAXFORMERS_DATA=...   # a folder that holds squad/squad.json, in the form of SQuAD v1.1
python -m train run configs/finetune/squad.py --workdir runs/squad --init FOLDER

With the official files: --source.train .../train-v1.1.json --source.validation .../dev-v1.1.json
--source.test ''. For v2.0 also --objective.unanswerable. From TFDS: source=Tfds(name="squad",
test="") in place of the file.
"""

from configs.finetune._recipe import fine_tuning
from flaxformers_edu.objectives import QuestionAnswering
from train.experiment import Experiment
from train.sources import SquadJson

FILE = "$FLAXFORMERS_DATA/squad/squad.json"


def config() -> Experiment:
    """The experiment: about three epochs."""
    return fine_tuning(
        "squad",
        QuestionAnswering(stride=128),
        SquadJson(train=FILE, validation=FILE, test=FILE, held_out=15),
        steps=870,
        max_length=256,
        tokens_per_batch=4096,
    )
