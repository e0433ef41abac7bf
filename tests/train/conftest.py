"""Tiny trained runs, shared by all tests that only read them. Copy one before changing it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.train import tiny, tiny_classifier
from train.__main__ import main


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of `tiny`."""
    workdir = tmp_path_factory.mktemp("trained") / "run"
    assert main(["run", tiny.CONFIG, "--workdir", str(workdir)]) == 0
    return workdir


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
    workdir = tmp_path_factory.mktemp("classified") / "run"
    assert main(["run", tiny_classifier.CONFIG, "--workdir", str(workdir)]) == 0
    return workdir


@pytest.fixture(scope="session")
def masked(tmp_path_factory: pytest.TempPathFactory, labelled_examples: Path) -> Path:
    """The folder of a finished run of `tiny_masked`."""
    workdir = tmp_path_factory.mktemp("masked") / "run"
    assert main(["run", tiny_classifier.MASKED_CONFIG, "--workdir", str(workdir)]) == 0
    return workdir
