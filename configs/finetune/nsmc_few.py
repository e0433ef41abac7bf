"""NSMC of which a thousand reviews are labelled: what a pre-trained body knows beforehand.

export FLAXFORMERS_DATA=...   # a folder that holds nsmc/ratings_train_derived.txt
python -m train run configs/finetune/nsmc_few.py --workdir runs/nsmc_few --init FOLDER

--source.examples 100 knows fewer, --source.seed 1 others. Accuracy on parts held out of the file.
"""

from configs.finetune import nsmc
from configs.finetune._recipe import with_few_labels
from train.experiment import Experiment


def config() -> Experiment:
    """The experiment."""
    return with_few_labels(nsmc.config(), "nsmc_few")
