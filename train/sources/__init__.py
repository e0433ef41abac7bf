"""Where examples come from.

Each class is the configuration of a source: an experiment holds one, the command line overrides
its fields, and `load(split)` gives a random-access sequence of dicts. Pairs have the fields
"source" and "target"; text has "text" (and documents "sentences"); for what a task of fine-tuning
needs, `columns` names the fields.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from flaxformers_edu.errors import InputError, unknown_name
from train.sources import files, wikitext
from train.sources.base import SPLITS, Columns, Source, check_split
from train.sources.benchmarks import known_columns
from train.sources.columns import Picked, names_in, parse_columns
from train.sources.conll import Conll
from train.sources.hub import HuggingFaceDataset
from train.sources.mappings import mapping_documents
from train.sources.splits import Examples, given, load_part
from train.sources.squad_json import SquadJson
from train.sources.stdlib_code import stdlib_code
from train.sources.stdlib_docs import stdlib_documents, stdlib_packages
from train.sources.tfds import tfds_split
from train.sources.toy_korean import toy_korean

__all__ = [
    "SPLITS",
    "Columns",
    "Conll",
    "FewExamples",
    "HuggingFaceDataset",
    "Jsonl",
    "MadeUpMappings",
    "LongText",
    "ParallelFiles",
    "Source",
    "SquadJson",
    "StdlibCode",
    "StdlibDocs",
    "StdlibPackages",
    "TextFile",
    "Tfds",
    "ToyKorean",
    "Tsv",
]


@dataclass(frozen=True)
class ToyKorean:
    """English and Korean sentences made by a small grammar; needs no files."""

    size: int = 20_000
    """Pairs of the train split."""
    held_out_size: int = 1_000
    """Pairs of the validation split, and of the test split."""
    seed: int = 0
    """Which sentences are drawn."""

    def load(self, split: str) -> Sequence[dict[str, Any]]:
        """Pairs {"source": English, "target": Korean}."""
        size = self.size if split == "train" else self.held_out_size
        return toy_korean(split, size=size, seed=self.seed)


@dataclass(frozen=True)
class StdlibDocs:
    """English prose of the docstrings of Python's standard library; needs no files."""

    unit: Literal["document", "sentence"] = "document"
    """What an example is: a module's document, or a single sentence."""

    def load(self, split: str) -> Sequence[dict[str, Any]]:
        """Documents {"text", "sentences"}, or sentences {"text"}."""
        if self.unit not in ("document", "sentence"):
            raise unknown_name("unit", self.unit, ("document", "sentence"))
        documents = stdlib_documents(split)
        if self.unit == "document":
            return documents
        return Columns({"text": [s for found in documents.columns["sentences"] for s in found]})


@dataclass(frozen=True)
class StdlibPackages:
    """Sentences of the standard library's docstrings, and which package each is from; needs no
    files.
    """

    def load(self, split: str) -> Sequence[dict[str, Any]]:
        """Sentences {"text", "label"}; of validation and test a tenth each."""
        return stdlib_packages(split)


@dataclass(frozen=True)
class FewExamples:
    """Another source, of whose training split only some are known: what few labels are worth."""

    source: Any
    """Where examples come from."""
    examples: int = 0
    """Of the training split, chosen by the seed; 0: all."""
    seed: int = 0
    """Which are chosen. Of more examples those of fewer are a part."""

    @property
    def test(self) -> Any:
        """Where the test split lies: empty where the source has none."""
        return getattr(self.source, "test", None)

    def load(self, split: str) -> Sequence[dict[str, Any]]:
        """The examples of the source; other splits are whole."""
        found = self.source.load(split)
        if split != "train" or not self.examples:
            return found
        if not 0 < self.examples <= len(found):
            raise InputError(
                f"source.examples is {self.examples}; it must be from 1 to {len(found)}, or 0 for "
                "all"
            )
        chosen = np.random.default_rng(self.seed).permutation(len(found))[: self.examples]
        return [found[int(i)] for i in chosen]


@dataclass(frozen=True)
class StdlibCode:
    """Source code of Python's standard library, a file an example; needs no files of its own."""

    def load(self, split: str) -> Sequence[dict[str, Any]]:
        """Texts {"text"}."""
        return stdlib_code(split)


@dataclass(frozen=True)
class MadeUpMappings:
    """Documents of few-shot sequences, "; kalo -> brimu ; ...", of three kinds; needs no files."""

    documents: int = 40_000
    """Documents of the train split."""
    held_out_documents: int = 500
    """Documents of the validation split, and of the test split."""
    seed: int = 0
    """Which documents are drawn; the words and what they mean are always the same."""

    def load(self, split: str) -> Sequence[dict[str, Any]]:
        """Texts {"text"}."""
        size = self.documents if split == "train" else self.held_out_documents
        return mapping_documents(split, size=size, seed=self.seed)


@dataclass(frozen=True)
class ParallelFiles:
    """Two files a split, line n of one translating line n of the other; .gz is found by itself."""

    folder: str = "data"
    """Folder of the files; ~ and $VARIABLES are expanded."""
    source: str = "de"
    """Language translated from: {language} of the pattern."""
    target: str = "en"
    """Language translated into: {language} of the pattern."""
    pattern: str = "{split}.{language}"
    """File name; {split} is the entry of train, validation or test below."""
    train: str = "train"
    """{split} of the training files."""
    validation: str = "val"
    """{split} of the validation files; empty where there are none."""
    test: str = "test"
    """{split} of the test files; empty where there are none."""

    def load(self, split: str) -> Sequence[dict[str, Any]]:
        """Pairs {"source", "target"}."""
        check_split(split)
        name = given(getattr(self, split), split, split)
        paths = []
        for language in (self.source, self.target):
            try:
                file_name = self.pattern.format(split=name, language=language)
            except (KeyError, IndexError, ValueError) as error:
                raise InputError(
                    f"pattern={self.pattern!r} may hold {{split}} and {{language}} only"
                ) from error
            paths.append(Path(self.folder) / file_name)
        return files.parallel_pairs(*paths)


@dataclass(frozen=True)
class Tsv:
    """Tab-separated files with an example a line, without quoting."""

    train: str = ""
    """Training file (.tsv or .tsv.gz)."""
    validation: str = ""
    """Validation file; the training file again: a part of it is held out."""
    test: str = ""
    """Test file; the training file again: a part of it is held out."""
    source: str = "0"
    """Column of the source (of the text, where target is empty): a name, or an index from 0."""
    target: str = "1"
    """Column of the target; empty for text alone."""
    columns: tuple[str, ...] = ()
    """Fields as NAME=COLUMN, such as text=sentence label=label; in place of source and target."""
    header: bool = False
    """Whether the first line names the columns."""
    held_out: int = 10
    """Percent of the lines of a shared file that are validation, and as many test: by a hash of
    the first field."""

    def load(self, split: str) -> Examples:
        """Pairs {"source", "target"}, {"text"}, or the fields of `columns`."""
        columns = _columns(self.source, self.target, self.columns)
        names = {name: name for column in columns.values() for name in names_in(column)}

        def read(path: str) -> Examples:
            return Picked(files.tsv_columns(path, names, header=self.header), columns)

        return load_part(self, split, read, _first_field)


@dataclass(frozen=True)
class TextFile:
    """Plain text files."""

    train: str = ""
    """Training file (.txt or .txt.gz)."""
    validation: str = ""
    """Validation file."""
    test: str = ""
    """Test file."""
    unit: Literal["line", "document", "article"] = "line"
    """What an example is: a line; lines up to a blank one (a sentence a line); or an article of
    WikiText, its headings left out and its punctuation put back."""

    def load(self, split: str) -> Sequence[dict[str, Any]]:
        """Lines {"text"}, or documents and articles {"text", "sentences"}."""
        readers = {
            "line": files.text_lines,
            "document": files.text_documents,
            "article": wikitext.articles,
        }
        if self.unit not in readers:
            raise unknown_name("unit", self.unit, readers)
        check_split(split)
        return readers[self.unit](given(getattr(self, split), split, split))


@dataclass(frozen=True)
class LongText:
    """A file that is one text, such as a book: it is trained on up to a place, and held out after.

    With batching.over_length=split it becomes consecutive windows.
    """

    file: str = ""
    """The file (.txt or .txt.gz)."""
    held_out: float = 10.0
    """Percent of its characters that are the validation split: the last ones."""
    test: str = ""
    """Another file, to test on; empty where there is none."""

    def load(self, split: str) -> Sequence[dict[str, Any]]:
        """One text {"text"}."""
        check_split(split)
        if split == "test":
            return Columns({"text": [files.whole_text(given(self.test, "test", split))]})
        kept, held_out = files.split_text(given(self.file, "file", split), self.held_out)
        return Columns({"text": [kept if split == "train" else held_out]})


@dataclass(frozen=True)
class Jsonl:
    """Files with a JSON object a line (.jsonl), or with one array of objects (.json)."""

    train: str = ""
    """Training file (.jsonl, .json, or either with .gz)."""
    validation: str = ""
    """Validation file; the training file again: a part of it is held out."""
    test: str = ""
    """Test file; the training file again: a part of it is held out."""
    source: str = "source"
    """Key of the source (of the text, where target is empty); empty keeps objects as they are."""
    target: str = "target"
    """Key of the target; empty for text alone."""
    columns: tuple[str, ...] = ()
    """Fields as NAME=KEY, such as text=premise label=labels/label; in place of source and
    target."""
    held_out: int = 10
    """Percent of the objects of a shared file that are validation, and as many test: by a hash of
    the first field."""

    def load(self, split: str) -> Examples:
        """Pairs {"source", "target"}, {"text"}, the fields of `columns`, or whole objects."""
        whole = not self.source and not self.columns
        columns = {} if whole else _columns(self.source, self.target, self.columns)

        def read(path: str) -> Examples:
            return files.json_objects(path, columns)

        return load_part(self, split, read, _first_field)


@dataclass(frozen=True)
class Tfds:
    """A dataset of TensorFlow Datasets, read without TensorFlow."""

    name: str = "wmt14_translate/de-en"
    """Name, with its configuration and version if it has any: name/config:version."""
    source: str = "de"
    """Feature of the source (of the text, where target is empty); a/b is b within a."""
    target: str = "en"
    """Feature of the target; empty for text alone."""
    columns: tuple[str, ...] = ()
    """Fields as NAME=FEATURE, in place of source and target; empty: those known for GLUE, SuperGLUE
    and SQuAD."""
    train: str = "train"
    """Name of the dataset's training split."""
    validation: str = "validation"
    """Name of its validation split."""
    test: str = "test"
    """Name of its test split."""
    data_dir: str | None = None
    """Folder of prepared datasets; none means TFDS's own (~/tensorflow_datasets)."""
    download: bool = False
    """Download and prepare the dataset where it is not on disk."""

    def load(self, split: str) -> Sequence[dict[str, Any]]:
        """Pairs {"source", "target"}, {"text"}, or the fields of `columns`."""
        check_split(split)
        return tfds_split(
            self.name,
            given(getattr(self, split), split, split),
            _columns(self.source, self.target, self.columns or known_columns(self.name)),
            data_dir=self.data_dir,
            download=self.download,
        )


def _columns(source: str, target: str, columns: tuple[str, ...]) -> dict[str, str]:
    """Field -> column."""
    if columns:
        return parse_columns(columns)
    if not source:
        raise InputError("source must name a column")
    return {"source": source, "target": target} if target else {"text": source}


def _first_field(example: dict[str, Any]) -> str:
    return str(next(iter(example.values())))
