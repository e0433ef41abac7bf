r"""English prose that every machine has: the docstrings of Python's own standard library.

A document is a module: the sentences of its docstrings, in the order of the file.
Nothing is imported or executed, files are parsed only. Python 3.11 gives 466 documents of 12,283
sentences, 159,849 words (another version a little more or less), counted by:

    python -c "from train.sources.stdlib_docs import stdlib_documents as d; \
        print([(len(d(s)), sum(len(x['text'].split()) for x in d(s))) \
            for s in ('train', 'validation', 'test')])"
"""

import ast
import inspect
import re
import sysconfig
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from flaxformers_edu.text.sentences import split_sentences
from train.sources.base import Columns, check_split, split_of

SKIPPED_FOLDERS = frozenset(
    {"test", "tests", "idlelib", "idle_test", "lib2to3", "site-packages", "dist-packages"}
    | {"__pycache__", "turtledemo", "ensurepip", "pip"}
)
HELD_OUT_PERCENT = 5
MIN_WORDS = 4
MIN_LETTERS = 0.75  # of a sentence's characters; less is a signature, a path or a table

_LIST_ITEM = re.compile(r"^(?:[-*o+]|\(?\d+[.)]|:\w[^:]*:|@\w+)\s")
_TABLE = re.compile(r"[-=+~^]{3,}|\||\S {3,}\S|\t")


@cache
def stdlib_documents(split: str) -> Columns:
    """Documents {"text", "sentences"} of a split; kept in memory after the first call.

    A module belongs to the split that a hash of its name says: 90 % train, 5 % validation,
    5 % test. text: the sentences with a space between them.
    """
    check_split(split)
    documents = [
        sentences for name, sentences in _modules() if split_of(name, HELD_OUT_PERCENT) == split
    ]
    texts = [" ".join(sentences) for sentences in documents]
    return Columns({"text": texts, "sentences": documents})


PACKAGES = ("asyncio", "email", "http", "importlib", "logging", "tkinter", "unittest", "xml")
"""Of which there is much prose; in every version of Python from 3.11."""


@cache
def stdlib_packages(split: str) -> Columns:
    """Sentences {"text", "label"} of a split, each with the package whose docstring it is from.

    A sentence belongs to the split that a hash of it says.
    """
    check_split(split)
    found = [
        (sentence, package)
        for name, sentences in _modules()
        if (package := name.partition(".")[0]) in PACKAGES
        for sentence in sentences
        if split_of(sentence, 2 * HELD_OUT_PERCENT) == split
    ]
    texts, labels = zip(*found, strict=True)
    return Columns({"text": texts, "label": labels})


@cache
def _modules() -> tuple[tuple[str, list[str]], ...]:
    root = Path(sysconfig.get_paths()["stdlib"])
    seen: set[str] = set()  # licences and inherited docstrings are copied from module to module
    modules = []
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).parts
        if SKIPPED_FOLDERS.intersection(parts):
            continue
        # dict.fromkeys drops repetitions within the file and keeps the order.
        sentences = [s for s in dict.fromkeys(_sentences_of_file(path)) if s not in seen]
        seen.update(sentences)
        if sentences:
            modules.append((".".join(parts).removesuffix(".py"), sentences))
    return tuple(modules)


def _sentences_of_file(path: Path) -> Iterator[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old escapes in the library's own strings
            tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return  # a file that is broken on purpose, or not readable, has no documents
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    nodes = [node for node in ast.walk(tree) if isinstance(node, documented)]
    for node in sorted(nodes, key=lambda node: getattr(node, "lineno", 0)):
        docstring = ast.get_docstring(node, clean=False)
        if docstring:
            yield from sentences_of_docstring(docstring)


def sentences_of_docstring(docstring: str) -> list[str]:
    """Sentences of a docstring's prose; doctests, code, tables, lists and headings are left out."""
    sentences = []
    for paragraph in prose_paragraphs(docstring):
        for sentence in split_sentences(paragraph):
            letters = sum(c.isalpha() or c == " " for c in sentence)
            if (
                sentence[-1] in ".!?"
                and sentence[0].isupper()
                and len(sentence.split()) >= MIN_WORDS
                and letters >= MIN_LETTERS * len(sentence)
            ):
                sentences.append(sentence)
    return sentences


def prose_paragraphs(docstring: str) -> list[str]:
    """Paragraphs of running text, each on one line."""
    paragraphs = []
    code_follows = False
    for block in re.split(r"\n\s*\n", inspect.cleandoc(docstring)):
        lines = [line.rstrip() for line in block.split("\n") if line.strip()]
        if not lines:
            continue
        indented = lines[0].startswith(" ")
        if code_follows and indented:
            continue
        code_follows = lines[-1].endswith("::")
        is_prose = not any(
            line.lstrip().startswith((">>>", "...", "$ ", "%", "#"))
            or _TABLE.search(line.strip())
            or _LIST_ITEM.match(line.lstrip())
            for line in lines
        )
        # Lines of a paragraph align; code and hanging definitions step in.
        indents = {len(line) - len(line.lstrip()) for line in lines[1:]}
        if is_prose and not indented and len(indents) <= 1:
            paragraphs.append(" ".join(line.strip() for line in lines))
    return paragraphs
