"""German into English after demonstrations (GPT-2, section 3.7): "german sentence = english".

export FLAXFORMERS_DATA=...   # a folder that holds multi30k/
python -m train prompt FOLDER --task prompts/multi30k.py --shots 0 1 5 --limit 200
"""

from collections.abc import Sequence
from typing import Any

from flaxformers_edu.prompting import Generation
from train.sources import ParallelFiles


def task() -> Generation:
    """The task."""
    return Generation(
        name="Multi30k, German to English",
        prompt="{source} =",
        answer="{target}",
        separator="\n",
        metrics=("bleu",),
        max_new_tokens=48,
    )


def examples(split: str) -> Sequence[dict[str, Any]]:
    """Captions and their translations."""
    return ParallelFiles("$FLAXFORMERS_DATA/multi30k", test="test_2016_flickr").load(split)
