"""Tiny finished runs, as fixtures: made once, by whichever worker of pytest-xdist asks first."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.train import tiny, tiny_classifier
from train.__main__ import main


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A worker's own copy of the folder that `make` fills; all the workers wait for the first."""
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder, finished = base / f"{name}-once", base / f"{name}-once.finished"
    with (base / f"{name}-once.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not finished.exists():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            finished.touch()
    return Path(shutil.copytree(folder, factory.mktemp(name) / "run"))


def finished_run(factory: pytest.TempPathFactory, name: str, *command: str) -> Path:
    """The folder of a run of this command, made once."""

    def make(workdir: Path) -> None:
        assert main(["run", *command, "--workdir", str(workdir)]) == 0

    return made_once(factory, name, make)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of `tiny`."""
    return finished_run(tmp_path_factory, "trained", tiny.CONFIG)


@pytest.fixture(scope="session")
def labelled_examples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the data of `tiny_classifier`, whose config finds it."""
    folder = tmp_path_factory.mktemp("examples")
    tiny_classifier.write_examples(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(tiny_classifier.DATA, str(folder))
        yield folder


@pytest.fixture(scope="session")
def classified(tmp_path_factory: pytest.TempPathFactory, labelled_examples: Path) -> Path:
    """The folder of a finished run of `tiny_classifier`."""
    return finished_run(tmp_path_factory, "classified", tiny_classifier.CONFIG)


@pytest.fixture(scope="session")
def masked(tmp_path_factory: pytest.TempPathFactory, labelled_examples: Path) -> Path:
    """The folder of a finished run of `tiny_masked`."""
    return finished_run(tmp_path_factory, "masked", tiny_classifier.MASKED_CONFIG)
