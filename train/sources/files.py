r"""Local files as sources: parallel lines, tsv, plain text, jsonl; each may be gzipped (.gz).

All are UTF-8 and are read into memory. Lines end at "\n" or "\r\n" only, so that line numbers
are those of other tools. Every error is an InputError of one line that names the file.
"""

import difflib
import gzip
import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flaxformers_edu.errors import InputError
from train.sources.base import Columns
from train.sources.columns import picked, value_at


def find_file(path: str | Path) -> Path:
    """The file at `path` (~ and $VARIABLES expanded), or the same name with .gz.

    Raises InputError, with the nearest existing name, where there is neither.
    """
    path = Path(os.path.expandvars(path)).expanduser()
    for candidate in (path, path.with_name(path.name + ".gz")):
        if candidate.is_file():
            return candidate
    if path.is_dir():
        raise InputError(f"{path} is a folder, not a file")
    if not path.parent.is_dir():
        raise InputError(f"file {path} does not exist: there is no folder {path.parent}")
    names = sorted(p.name for p in path.parent.iterdir() if p.is_file())
    near = difflib.get_close_matches(path.name, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"the folder has {len(names)} files"
    raise InputError(f"file {path} does not exist; {hint}")


def read_lines(path: str | Path) -> list[str]:
    """Lines of a text file, without their ends.

    Raises InputError for a missing, unreadable or empty file, a broken .gz, and invalid UTF-8
    (with the line and the byte within it, both counted from 1).
    """
    path = find_file(path)
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path} is not a whole gzip file: {error}") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # error.object lacks the byte order mark, if there was one: positions are within it.
        before = error.object[: error.start]
        line = before.count(b"\n") + 1
        byte = error.start - (before.rfind(b"\n") + 1) + 1
        raise InputError(
            f"{path} is not valid UTF-8: line {line}, byte {byte} is "
            f"0x{error.object[error.start]:02x}; convert it, for example with iconv -t utf-8"
        ) from error
    if not text.strip():
        raise InputError(f"{path} is empty")
    lines = text.split("\n")
    if not lines[-1]:
        del lines[-1]
    return [line.removesuffix("\r") for line in lines]


def parallel_pairs(source: str | Path, target: str | Path) -> Columns:
    """Pairs {"source", "target"} of two files with one sentence a line.

    Raises InputError where the files have different numbers of lines.
    """
    sources, targets = read_lines(source), read_lines(target)
    if len(sources) != len(targets):
        raise InputError(
            f"{source} has {len(sources)} lines but {target} has {len(targets)}: "
            "line n of one must translate line n of the other"
        )
    return Columns({"source": sources, "target": targets})


def tsv_columns(path: str | Path, columns: dict[str, str], *, header: bool) -> Columns:
    """Columns of a tab-separated file, without quoting.

    columns: field of the examples -> a name in the header line, or an index from 0 as text.
    Raises InputError for a column that is not there, and a line with too few columns.
    """
    lines = read_lines(path)
    names = lines.pop(0).split("\t") if header else []
    if not lines:
        raise InputError(f"{path} has a header line but no rows")
    wanted = {}
    width = len(names) if header else lines[0].count("\t") + 1
    for field, column in columns.items():
        if column in names:
            wanted[field] = names.index(column)
        elif column.isdecimal() and int(column) < width:
            wanted[field] = int(column)
        else:
            near = difflib.get_close_matches(column, names, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            have = f"columns: {', '.join(names)}" if header else f"columns: 0 to {width - 1}"
            raise InputError(f"{path} has no column {column!r}; {hint}{have}")
    needed = max(wanted.values()) + 1
    rows = [line.split("\t") for line in lines]
    for number, row in enumerate(rows, start=1 + header):
        if len(row) < needed:
            raise InputError(
                f"{path}, line {number} has {len(row)} tab-separated columns, expected at least "
                f"{needed}"
            )
    return Columns({field: [row[i] for row in rows] for field, i in wanted.items()})


def text_lines(path: str | Path) -> Columns:
    """One example {"text"} for each line that is not blank."""
    return Columns({"text": [line for line in read_lines(path) if line.strip()]})


def text_documents(path: str | Path) -> Columns:
    """Documents separated by blank lines: {"text", "sentences"}, one sentence a line."""
    documents: list[list[str]] = [[]]
    for line in read_lines(path):
        if line.strip():
            documents[-1].append(line.strip())
        elif documents[-1]:
            documents.append([])
    documents = [sentences for sentences in documents if sentences]
    texts = ["\n".join(sentences) for sentences in documents]
    return Columns({"text": texts, "sentences": documents})


def whole_text(path: str | Path) -> str:
    """A file as one text, whose last line ends as all others do."""
    return "\n".join(read_lines(path)) + "\n"


def split_text(path: str | Path, held_out: float) -> tuple[str, str]:
    """The beginning of a file, and its last `held_out` percent of characters.

    Raises InputError where one of them is empty.
    """
    text = whole_text(path)
    cut = len(text) - round(len(text) * held_out / 100)
    if not 0 < cut < len(text):
        raise InputError(
            f"held_out is {held_out}: of the {len(text)} characters of {path} some must be left to "
            "train on, and some held out"
        )
    return text[:cut], text[cut:]


def read_json(path: str | Path) -> Any:
    """The value in a JSON file.

    Raises InputError where it is none.
    """
    try:
        return json.loads("\n".join(read_lines(path)))
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{find_file(path)} is not valid JSON: {error}") from error


def json_objects(path: str | Path, columns: Mapping[str, str]) -> list[dict[str, Any]]:
    """Objects of a file with one JSON object a line or, named .json, with an array of them.

    columns: field of the examples -> key of the objects, in the terms of `train.sources.columns`;
    empty keeps the objects as they are.
    Raises InputError for a line or an element that is no JSON object or lacks a key.
    """
    path = find_file(path)
    if path.name.removesuffix(".gz").endswith(".json"):
        values = read_json(path)
        if not isinstance(values, list):
            raise InputError(f"{path} holds no JSON array of objects")
        return [
            _fields(value, columns, f"{path}, element {index}")
            for index, value in enumerate(values)
        ]
    examples = []
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            raise InputError(f"{path}, line {number} is not valid JSON: {error}") from error
        examples.append(_fields(value, columns, f"{path}, line {number}"))
    return examples


def _fields(value: Any, columns: Mapping[str, str], where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{where} is not a JSON object")
    if not columns:
        return value
    try:
        return {
            field: picked(column, lambda name: value_at(value, name))
            for field, column in columns.items()
        }
    except KeyError as error:
        key = error.args[0]
        near = difflib.get_close_matches(key, value, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise InputError(f"{where} has no key {key!r}; {hint}keys: {', '.join(value)}") from error
