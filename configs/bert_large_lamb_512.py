r"""The second stage of bert_large_lamb: 32,768 rows of 512 tokens, 1,562 steps.

    python -m train run configs/bert_large_lamb_512.py --workdir runs/bert_large_512 \
        --init runs/bert_large --source.download

It has not been trained here. `--init` takes the body of the first stage; the heads begin anew.
"""

from configs.bert_large_lamb import stage
from flaxformers_edu.optim.recipes import mixed_lamb_for_bert
from train.experiment import Experiment


def config() -> Experiment:
    """The experiment."""
    return stage("bert_large_lamb_512", mixed_lamb_for_bert()[1], accumulation=16)
