"""The manifest of a checkpoint: what was saved, the size and SHA-256 of each file, its scores.

Orbax restores arrays in which a bit is flipped without a word, so nothing is read before the hashes
agree. When saving, process 0 takes them, in the background and several files at a time; when
restoring, the processes share the files out among them.
"""

import hashlib
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from train.log import write_atomically

MANIFEST = "manifest.json"
METADATA = "_CHECKPOINT_METADATA"
COMMITTED = "commit_success.txt"
LIVE_FILES = (MANIFEST, METADATA, COMMITTED)
"""Written after the hashes are taken; no array depends on them."""
THREADS = 8
"""Files hashed at a time: hashing releases the interpreter's lock, and disks like company."""


class Damaged(ValueError):
    """A file of a checkpoint is not what was written."""


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Replaces the manifest: a reader sees the old or the new."""
    write_atomically(folder / MANIFEST, json.dumps(manifest) + "\n")


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest.

    Raises:
        Damaged: it is missing, cut short, or no manifest.
    """
    try:
        text = (folder / MANIFEST).read_text(encoding="utf-8")
        manifest = json.loads(text)
        manifest["metrics"], manifest["params"], manifest["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{MANIFEST} is missing or unreadable") from error
    if not text.endswith("\n"):
        raise Damaged(f"{MANIFEST} is cut short")
    return manifest


def check_files(folder: Path, manifest: dict[str, Any], *, share: int = 0, of: int = 1) -> None:
    """Compares files with their hashes: every `of`-th one, beginning at number `share`.

    Raises:
        Damaged: naming the first that is missing or not what was written.
    """
    names = sorted(manifest["files"])[share::of]
    found = hashes(folder, (folder / name for name in names))
    for name in names:
        if found.get(name) != manifest["files"][name]:
            raise Damaged(f"{name} is missing or not what was written")
    try:  # no hash is taken of this one, but half of an object is no JSON
        json.loads((folder / METADATA).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Damaged(f"{METADATA} is missing or unreadable") from error
    committed = folder / COMMITTED  # of several processes only; it ends with the folder's path
    if committed.exists() and not committed.read_bytes().endswith(f"/{folder.name}".encode()):
        raise Damaged(f"{COMMITTED} is cut short")


def hashed_files(folder: Path) -> list[Path]:
    """The files of a checkpoint whose hashes its manifest keeps."""
    return [p for p in sorted(folder.rglob("*")) if p.is_file() and p.name not in LIVE_FILES]


def hashes(folder: Path, paths: Iterable[Path]) -> dict[str, list[Any]]:
    """Size and SHA-256 of each file that is there, by its path within the folder."""

    def one(path: Path) -> tuple[str, list[Any]]:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return path.relative_to(folder).as_posix(), [path.stat().st_size, digest]

    with ThreadPoolExecutor(THREADS) as threads:
        return dict(threads.map(one, (path for path in paths if path.is_file())))
