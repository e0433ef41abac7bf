"""Who may train in a folder."""

import os
import subprocess
import sys

import pytest

from flaxformers_edu.errors import InputError
from train.lock import LOCK, check_free, held

HOLDER = """
import sys, time
from pathlib import Path
from train.lock import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process, which holds tmp_path / "run"."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path / "run"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_is_refused_until_the_first_is_dead(tmp_path, holder):
    folder = tmp_path / "run"
    words = rf"run is being trained in by process {holder.pid} on \S+: wait until it ends, or give"
    with pytest.raises(InputError, match=words):
        check_free(folder)
    with pytest.raises(InputError, match=words), held(folder):
        pass
    assert (folder / LOCK).exists()
    holder.kill()
    holder.wait()
    assert (folder / LOCK).exists()  # and means nothing
    check_free(folder)
    with held(folder):
        assert (folder / LOCK).read_text().startswith(f"process {os.getpid()} on ")


def test_nothing_is_left_of_it(tmp_path):
    with held(tmp_path / "a" / "run"):
        check_free(tmp_path)
        (tmp_path / "a" / "kept").touch()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "kept"]
    with held(tmp_path / "a"):
        pass
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["kept"]


def test_a_folder_that_is_held_by_itself_is_refused_too(tmp_path):
    with held(tmp_path), pytest.raises(InputError, match=f"by process {os.getpid()} on"):
        check_free(tmp_path)
