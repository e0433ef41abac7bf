r"""Text of millions of tokens that every machine has: the source code of Python's standard library.

Python 3.11 gives 6.9 million characters (another version a little more or less), counted by:

    python -c "from train.sources.stdlib_code import stdlib_code as code; \
        print([sum(map(len, code(s).columns['text'])) for s in ('train', 'validation', 'test')])"
"""

import sysconfig
from functools import cache
from pathlib import Path

from train.sources.base import Columns, check_split, split_of
from train.sources.stdlib_docs import SKIPPED_FOLDERS

TABLES = frozenset({"encodings", "pydoc_data"})
"""Packages that are generated: tables of characters, and the reference manual as strings."""
HELD_OUT_PERCENT = 2


@cache
def stdlib_code(split: str) -> Columns:
    """Texts {"text"}, a file each, of a split; kept in memory after the first call.

    Runs of white space are a single space, which is what a sentencepiece tokeniser reads. A file
    belongs to the split that a hash of its name says: 96 % train, 2 % validation, 2 % test.
    """
    check_split(split)
    texts = []
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).parts
        if (SKIPPED_FOLDERS | TABLES).intersection(parts):
            continue
        if split_of(".".join(parts).removesuffix(".py"), HELD_OUT_PERCENT) == split:
            texts.append(" ".join(path.read_text(encoding="utf-8", errors="replace").split()))
    return Columns({"text": [text for text in texts if text]})
