"""The linear probe: what it reads of a text, and that it finds what is there."""

import numpy as np
import pytest

from flaxformers_edu.pipelines import pipeline
from tests import tiny_bert

pytest.importorskip("sklearn")

from benchmarks import linear_probe  # noqa: E402


def test_a_text_is_read_in_four_ways(tmp_path):
    features = pipeline("feature-extraction", tiny_bert.write(tmp_path / "bert", "masked_lm"))
    texts = ["cats and dogs", "the cat sat on the cat"]
    found = linear_probe.readings(features, texts)
    ids = list(features.tokenizer.pieces(texts[1]).ids)
    embedding = features.pretrained.params["embeddings"]["token"]["embedding"]
    states = features(texts[1])
    assert set(np.flatnonzero(found[linear_probe.PIECES][1])) == set(ids) and len(set(ids)) < len(
        ids
    )
    np.testing.assert_allclose(
        found[linear_probe.VECTORS][1], np.mean([embedding[i] for i in ids], axis=0), rtol=1e-6
    )
    np.testing.assert_allclose(found[linear_probe.STATES][1], states[1:-1].mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(found[linear_probe.CLS][1], states[0], atol=1e-5)


@pytest.mark.parametrize("scaled", [False, True])
def test_a_label_that_is_there_is_found_and_noise_is_not(scaled):
    random = np.random.default_rng(0)
    features, noise = random.normal(size=(400, 8)), random.normal(size=(400, 8))
    labels = [str(int(x > 0)) for x in features[:, 3]]

    def found(x):
        return linear_probe.accuracy(x[:300], labels[:300], x[300:], labels[300:], scaled=scaled)

    assert found(features) > 0.9 and 0.3 < found(noise) < 0.7


def test_the_table_has_a_row_a_reading():
    shown = linear_probe.table(
        {"one": {"a": [0.5, 0.6], "b": [0.1, 0.1]}, "two": {"a": [0.7, 0.7], "b": [0.2, 0.4]}}
    )
    assert "| read | one | two |" in shown and "| a | 0.550 ± 0.071 | 0.700 ± 0.000 |" in shown
    assert "| b | 0.100 ± 0.000 | 0.300 ± 0.141 |" in shown
