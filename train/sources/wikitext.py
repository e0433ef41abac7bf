"""WikiText (Merity et al. 2016): articles of Wikipedia, one file, headings between equals signs."""

import re
from pathlib import Path

from flaxformers_edu.errors import InputError
from flaxformers_edu.text.sentences import split_sentences
from train.sources.base import Columns
from train.sources.files import read_lines

TITLE = re.compile(r" = [^=].* = ")
HEADING = re.compile(r" (= )+.*( =)+ ")

_REPAIRS = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r'(?<!\S)" (.*?) "(?!\S)', r'"\1"'),
        (r" @([-,.])@ ", r"\1"),  # 1 @,@ 000, role @-@ playing
        (r" ([.,:;!?%)\]}])", r"\1"),
        (r"([(\[{$£]) ", r"\1"),
        (r" ('(?:s|t|re|ve|ll|d|m)?)(?!\S)", r"\1"),
    )
)


def detokenised(line: str) -> str:
    """The text as it was written, as far as rules can tell.

    >>> detokenised(' A role @-@ playing game ( of 1 @,@ 000 ) is " good " . ')
    'A role-playing game (of 1,000) is "good".'
    """
    for pattern, replacement in _REPAIRS:
        line = pattern.sub(replacement, line)
    return line.strip()


def articles(path: str | Path) -> Columns:
    """Articles {"text", "sentences"} of a file such as wiki.train.tokens, without their headings.

    Raises InputError where there are none.
    """
    found: list[list[str]] = []
    for line in read_lines(path):
        if TITLE.fullmatch(line):
            found.append([])
        elif found and line.strip() and not HEADING.fullmatch(line):
            found[-1] += split_sentences(detokenised(line))
    found = [sentences for sentences in found if sentences]
    if not found:
        raise InputError(f"{path} has no articles: their titles are lines such as ' = Title = '")
    return Columns({"text": ["\n".join(one) for one in found], "sentences": found})
