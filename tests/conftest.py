"""One CPU backend with eight devices, strict promotion, checked shapes, reproducible examples."""

import os
import sys
import tempfile
import types
from pathlib import Path

from tests.xla import EIGHT_DEVICES, QUICK_TO_COMPILE

# Before the first import of jax: both are read once, when the backend starts.
os.environ["JAX_PLATFORMS"] = "cpu"
for _flag in (EIGHT_DEVICES, QUICK_TO_COMPILE):
    if _flag not in os.environ.get("XLA_FLAGS", ""):
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_flag}".strip()

import jax
import jaxtyping
import pytest
from beartype import BeartypeConf, beartype
from hypothesis import settings

jax.config.update("jax_numpy_rank_promotion", "raise")

# Shared by the workers of pytest-xdist and by later runs: most of a cold run is compilation.
_CACHE = os.environ.get("JAX_COMPILATION_CACHE_DIR") or str(
    Path(tempfile.gettempdir()) / f"flaxformers_edu-jax-cache-{os.getuid()}"
)
# For the commands that system tests start, too.
os.environ["JAX_COMPILATION_CACHE_DIR"] = _CACHE
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
jax.config.update("jax_compilation_cache_dir", _CACHE)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def _check(function, **_):
    """Beartype for functions and methods; an int is good where a float is asked for.

    Constructors are let through. jax rebuilds pytree dataclasses with whatever is at hand (tracers'
    batches, shapes, None), so that their fields' types do not hold there; and a config must be able
    to refuse a bad value in its own words.
    """
    if function.__name__ == "__init__":
        return function
    return beartype(function, conf=BeartypeConf(is_pep484_tower=True))


# Before the library's first import: its jaxtyping signatures are then checked in every call.
# The hook takes its checker by a dotted name only, and test folders are no packages.
_CHECKER = types.ModuleType("flaxformers_edu_test_checker")
_CHECKER.check = _check
sys.modules[_CHECKER.__name__] = _CHECKER
jaxtyping.install_import_hook("flaxformers_edu", f"{_CHECKER.__name__}.check")

settings.register_profile("default", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("default")

LONGEST_FIRST = ("system", "train", "parity")
"""Folders whose files take longest: with several workers, none is left with one at the end."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Orders tests for the workers of pytest-xdist; a single process keeps the usual order."""
    if not hasattr(config, "workerinput"):
        return

    def rank(item: pytest.Item) -> int:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        return LONGEST_FIRST.index(folder) if folder in LONGEST_FIRST else len(LONGEST_FIRST)

    items.sort(key=rank)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log):
    """The tests of a file go to one worker, for they share fixtures; files in the order above."""
    if config.getoption("dist") != "load":  # what `-n` alone means
        return None
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False
    return LoadFileScheduling(config, log)
