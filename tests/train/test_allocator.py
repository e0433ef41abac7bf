import os
import sys

import pytest

from train.allocator import SETTINGS, restart_with_large_pages


@pytest.fixture
def restarts(monkeypatch):
    """What the process would be replaced by; the environment is put back afterwards."""
    calls: list[list[str]] = []
    for name in SETTINGS:
        # Set before it is deleted, so that monkeypatch undoes what the function sets.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "execv", lambda program, arguments: calls.append(arguments))
    return calls


def test_restarts_once_with_the_same_arguments(restarts):
    restart_with_large_pages()
    assert restarts == [[sys.executable, *sys.orig_argv[1:]]]
    assert all(os.environ[name] == value for name, value in SETTINGS.items())
    restart_with_large_pages()
    assert len(restarts) == 1


@pytest.mark.parametrize(("name", "value"), [("JAX_PLATFORMS", "cuda"), ("MALLOC_MMAP_MAX_", "9")])
def test_leaves_accelerators_and_other_choices_alone(restarts, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    restart_with_large_pages()
    assert not restarts


def test_leaves_other_systems_alone(restarts, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    restart_with_large_pages()
    assert not restarts
