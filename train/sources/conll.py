"""Tagged words in columns, as in the shared tasks of CoNLL: a word a line, blank lines between."""

from dataclasses import dataclass
from typing import Any

from flaxformers_edu.errors import InputError
from train.sources.files import find_file, read_lines
from train.sources.splits import Examples, load_part

DOCUMENT = "-DOCSTART-"


@dataclass(frozen=True)
class Conll:
    """Files of tagged sentences: columns are separated by a tab, or by spaces where there is none.

    WNUT-17 needs no setting; KLUE, whose "words" are characters, has comments: --comment "## ".
    """

    train: str = ""
    """Training file."""
    validation: str = ""
    """Validation file; the training file again: a part of it is held out."""
    test: str = ""
    """Test file; the training file again: a part of it is held out."""
    word: int = 0
    """Column of the word, from 0; -1 is the last."""
    tag: int = -1
    """Column of the tag."""
    comment: str = ""
    """Lines that begin with this are left out; empty: none."""
    held_out: int = 10
    """Percent of the sentences of a shared file that are validation, and as many test."""

    def load(self, split: str) -> Examples:
        """Sentences {"words", "tags"}."""

        def read(path: str) -> Examples:
            return conll_sentences(path, word=self.word, tag=self.tag, comment=self.comment)

        return load_part(self, split, read, lambda example: " ".join(example["words"]))


def conll_sentences(path: str, *, word: int, tag: int, comment: str) -> list[dict[str, Any]]:
    """The sentences of a file; what marks the beginning of a document is left out.

    Raises:
        InputError: a line lacks a column, or there are no sentences.
    """
    sentences: list[dict[str, Any]] = []
    words: list[str] = []
    tags: list[str] = []
    lines = read_lines(path)
    for number, line in enumerate([*lines, ""], start=1):
        if comment and line.startswith(comment):
            continue
        if line.strip():
            columns = line.split("\t") if "\t" in line else line.split()
            try:
                words.append(columns[word])
                tags.append(columns[tag].strip())
            except IndexError as error:
                raise InputError(
                    f"{find_file(path)}, line {number} has {len(columns)} columns, but the word "
                    f"is column {word} and the tag column {tag}"
                ) from error
        elif words:
            if words != [DOCUMENT]:
                sentences.append({"words": words, "tags": tags})
            words, tags = [], []
    if not sentences:
        raise InputError(f"{find_file(path)} has no sentences")
    return sentences
