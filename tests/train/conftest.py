"""One tiny trained run, shared by all tests that only read it."""

from pathlib import Path

import pytest

from tests.train.tiny import CONFIG
from train.__main__ import main


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run. Copy it before changing anything in it."""
    workdir = tmp_path_factory.mktemp("trained") / "run"
    assert main(["run", CONFIG, "--workdir", str(workdir)]) == 0
    return workdir
