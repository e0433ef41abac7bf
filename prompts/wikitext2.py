"""WikiText-2: perplexity of articles per token, word and byte.

export FLAXFORMERS_DATA=...   # a folder that holds wikitext-2/
python -m train prompt FOLDER --task prompts/wikitext2.py --split validation --limit 10

Articles as `TextFile` reads them: without headings, with their punctuation put back; the published
perplexities are of the raw file.
"""

from collections.abc import Sequence
from typing import Any

from flaxformers_edu.prompting import RunningText
from train.sources import TextFile

FOLDER = "$FLAXFORMERS_DATA/wikitext-2"


def task() -> RunningText:
    """The task."""
    return RunningText(name="WikiText-2", stride=64)


def examples(split: str) -> Sequence[dict[str, Any]]:
    """Articles."""
    source = TextFile(
        train=f"{FOLDER}/wiki.train.tokens",
        validation=f"{FOLDER}/wiki.valid.tokens",
        unit="article",
    )
    return source.load(split)
