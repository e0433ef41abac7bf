"""NSMC of which a thousand reviews are labelled: what a pre-trained body knows beforehand.

export FLAXFORMERS_DATA=...   # a folder that holds nsmc/ratings_train_derived.txt
python -m train run configs/finetune/nsmc_few.py --workdir runs/nsmc_few --init FOLDER

--source.examples 100 knows fewer, --source.seed 1 others. Accuracy on parts held out of the file.
"""

import dataclasses

from configs.finetune import nsmc
from train.experiment import Experiment
from train.sources import FewExamples

STEPS = 200


def config() -> Experiment:
    """The experiment: some ten epochs."""
    experiment = nsmc.config()
    return dataclasses.replace(
        experiment,
        name="nsmc_few",
        source=FewExamples(experiment.source, examples=1000),
        batching=dataclasses.replace(experiment.batching, tokens_per_batch=1024),
        schedule=dataclasses.replace(experiment.schedule, warmup_steps=STEPS // 10),
        steps=STEPS,
        eval_every=STEPS // 2,
        checkpoint_every=STEPS // 2,
    )
