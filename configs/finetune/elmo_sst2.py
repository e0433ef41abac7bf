"""SST-2 with ELMo's vectors: whether a phrase of a film review is positive. Accuracy, dev set.

export FLAXFORMERS_DATA=...   # a folder that holds glue/SST-2/train.tsv and dev.tsv
python -m train run configs/finetune/elmo_sst2.py --workdir runs/elmo_sst2 --init FOLDER

The sentence is the greatest value of each feature that a bidirectional LSTM makes of the mixture
of the biLM's layers. Without ELMo, or with the biLM tuned along: as in elmo_wnut17.py.
"""

from configs.finetune import sst2
from configs.finetune._elmo import with_elmo
from train.experiment import Experiment


def config() -> Experiment:
    """The experiment: about an epoch."""
    plain = sst2.config()
    return with_elmo(
        "elmo_sst2", plain.objective, plain.source, steps=2400, max_length=64, tokens_per_batch=512
    )
