"""Every kind of search against Hugging Face's `generate`: tokens, and what samples are drawn from.

`python -m benchmarks.generation_table` compares on many more models.
"""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytestmark = pytest.mark.parity

from tests.parity.generation import (  # noqa: E402
    FAMILIES,
    KINDS,
    SAMPLING,
    compare,
    compare_sampling,
)

NEW = ("n-gram blocking", "banned tokens", "stop sequences")
"""Kinds that test_generate_gpt2.py and test_beam_search_hf.py do not have."""
CASES = [
    pytest.param(family, kind, marks=() if quick else pytest.mark.slow)
    for family in FAMILIES
    for kind in KINDS
    for quick in [family == "gpt2" and kind in NEW]
]


@pytest.mark.parametrize(("family", "kind"), CASES)
def test_tokens(family, kind):
    for seed in range(3):
        for settings in KINDS[kind]:
            found, expected = compare(family, settings, seed)
            np.testing.assert_array_equal(found, expected)
    assert found.shape[1] > 5


@pytest.mark.parametrize(
    "family", ["gpt2", *(pytest.param(f, marks=pytest.mark.slow) for f in FAMILIES if f != "gpt2")]
)
def test_what_samples_are_drawn_from(family):
    for seed in range(len(SAMPLING)):
        deviation, draws = compare_sampling(family, seed)
        assert deviation < 1e-5, SAMPLING[seed]
        assert draws > 4
