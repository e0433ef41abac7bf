r"""A small BERT goes on with film reviews, without their labels, before a task about films.

export FLAXFORMERS_DATA=...   # a folder that holds imdb/train.tsv: id, label, text
python -m train run configs/finetune/bert_imdb_domain.py --workdir runs/reviews --init FOLDER

FOLDER is the run of an encoder with short rows, as configs/wikitext/bert_mini.py begins. Hidden
tokens alone; what such a stage is worth is in docs/pretraining.md. (Gururangan et al. 2020, "Don't
Stop Pretraining"; it is ULMFiT's second stage.)
"""

import dataclasses

from configs.finetune.ulmfit_imdb import FILE
from configs.wikitext import bert_mini
from flaxformers_edu.objectives import MaskedLM
from train.experiment import Experiment
from train.sources import Tsv

STEPS = 8000


def config() -> Experiment:
    """The experiment: half the rate of the first reading, and about as many tokens as there are."""
    general = bert_mini.config()
    return dataclasses.replace(
        general,
        name="bert_imdb_domain",
        objective=MaskedLM(),
        source=Tsv(train=FILE, validation=FILE, test=FILE, columns=("text=text",), header=True),
        schedule=dataclasses.replace(general.schedule, peak=5e-4, warmup_steps=STEPS // 10),
        steps=STEPS,
        eval_every=STEPS // 4,
        eval_examples=300,
        checkpoint_every=STEPS // 4,
    )
