r"""DistilBERT in small on WikiText-2: half the layers of a finished bert_mini, and the same text.

export FLAXFORMERS_DATA=...   # a folder that holds wikitext-2/wiki.{train,valid}.tokens
python -m train run configs/wikitext/bert_mini.py --workdir runs/wikitext_bert
python -m train run configs/wikitext/distil_mini.py --workdir runs/wikitext_distil \
    --teacher runs/wikitext_bert

The same student without a teacher is configs/wikitext/student_mini.py.
"""

import dataclasses

from configs import distil_mini
from configs.wikitext._corpus import on_wikitext
from train.experiment import Experiment


def config() -> Experiment:
    """The experiment."""
    experiment = on_wikitext(distil_mini.config(), steps=6000)
    return dataclasses.replace(experiment, name="distil_mini_wikitext")
