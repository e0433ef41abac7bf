"""SST-2 of which a thousand phrases are labelled: what a pre-trained body knows beforehand.

export FLAXFORMERS_DATA=...   # a folder that holds glue/SST-2/train.tsv and dev.tsv
python -m train run configs/finetune/sst2_few.py --workdir runs/sst2_few --init FOLDER

--source.examples 100 knows fewer, --source.seed 1 others. Accuracy on the published dev set.
"""

import dataclasses

from configs.finetune import sst2
from train.experiment import Experiment
from train.sources import FewExamples

STEPS = 200


def config() -> Experiment:
    """The experiment: some ten epochs."""
    experiment = sst2.config()
    return dataclasses.replace(
        experiment,
        name="sst2_few",
        source=FewExamples(experiment.source, examples=1000),
        schedule=dataclasses.replace(experiment.schedule, warmup_steps=STEPS // 10),
        steps=STEPS,
        eval_every=STEPS // 2,
        checkpoint_every=STEPS // 2,
    )
