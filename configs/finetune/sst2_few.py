"""SST-2 of which a thousand phrases are labelled: what a pre-trained body knows beforehand.

export FLAXFORMERS_DATA=...   # a folder that holds glue/SST-2/train.tsv and dev.tsv
python -m train run configs/finetune/sst2_few.py --workdir runs/sst2_few --init FOLDER

--source.examples 100 knows fewer, --source.seed 1 others. Accuracy on the published dev set.
"""

from configs.finetune import sst2
from configs.finetune._recipe import with_few_labels
from train.experiment import Experiment


def config() -> Experiment:
    """The experiment."""
    return with_few_labels(sst2.config(), "sst2_few")
