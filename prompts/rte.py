"""RTE as the GPT-3 paper asks it (appendix G): entailment, "True or False?".

export FLAXFORMERS_DATA=...   # a folder that holds glue/RTE/train.tsv
python -m train prompt FOLDER --task prompts/rte.py --split validation --shots 0 1 8

A tenth of the training set is asked, for the dev set may not be at hand.
"""

from collections.abc import Sequence
from typing import Any

from flaxformers_edu.prompting import Choice
from train.sources import Tsv

FILE = "$FLAXFORMERS_DATA/glue/RTE/train.tsv"


def task() -> Choice:
    """The task."""
    return Choice(
        name="RTE",
        prompt="{premise}\nquestion: {hypothesis} True or False?\nanswer:",
        candidates=("True", "False"),
        labels=("entailment", "not_entailment"),
        unconditional="answer:",
    )


def examples(split: str) -> Sequence[dict[str, Any]]:
    """Premises and hypotheses."""
    source = Tsv(
        train=FILE,
        validation=FILE,
        columns=("premise=sentence1", "hypothesis=sentence2", "label=label"),
        header=True,
    )
    return source.load(split)
