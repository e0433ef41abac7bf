"""A small BERT for Korean, on the reviews of NSMC without their labels: hidden tokens alone.

export FLAXFORMERS_DATA=...   # a folder that holds nsmc/ratings_train_derived.txt
python -m train run configs/korean/bert_mini.py --workdir runs/korean_bert
python -m train run configs/finetune/nsmc.py --workdir runs/nsmc --init runs/korean_bert

Its WordPiece vocabulary is trained on the reviews, with Hangul left in syllables. The parts of
the file that fine-tuning holds out are held out here, too.
"""

import dataclasses

from configs.bert_mini_stdlib import mini
from configs.finetune import nsmc
from configs.wikitext.bert_mini import config as of_wikitext
from flaxformers_edu.objectives import MaskedLM
from train.experiment import Experiment, TokenizerSpec
from train.pipeline import Batching

STEPS = 12000
LENGTH, ROWS = 32, 16


def config() -> Experiment:
    """The experiment."""
    english = of_wikitext()
    return dataclasses.replace(
        mini("bert_mini_korean", english.model, MaskedLM()),
        source=nsmc.config().source,
        tokenizer=TokenizerSpec(kind="wordpiece", lower_case=False),
        batching=Batching(
            tokens_per_batch=ROWS * LENGTH, max_source_length=LENGTH, buckets=(LENGTH,)
        ),
        schedule=dataclasses.replace(english.schedule, warmup_steps=STEPS // 10),
        steps=STEPS,
        eval_every=STEPS // 10,
        eval_examples=2000,
        checkpoint_every=STEPS // 5,
    )
