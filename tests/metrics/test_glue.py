import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from flaxformers_edu.errors import InputError
from flaxformers_edu.metrics.glue import (
    CLASSIFIER_METRICS,
    GLUE,
    REGRESSION_METRICS,
    f1,
    macro_f1,
    matthews,
    pearson,
    score,
    spearman,
)


def test_classification_by_hand():
    labels, said = [1, 1, 1, 0, 0, 0], [1, 1, 0, 0, 0, 1]
    assert score(labels, said, ("accuracy",)) == {"accuracy": pytest.approx(4 / 6)}
    assert f1(labels, said) == pytest.approx(2 / 3)
    # TP 2, TN 2, FP 1, FN 1: (4 - 1) / sqrt(3 · 3 · 3 · 3)
    assert matthews(labels, said) == pytest.approx(3 / 9)
    assert matthews(labels, labels) == 1
    assert matthews([0, 1], [1, 0]) == -1
    assert matthews(labels, [1] * 6) == 0  # one class only says nothing
    assert macro_f1([0, 1, 2], [0, 1, 1]) == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_correlation_by_hand():
    assert pearson([0, 1, 2], [10, 20, 30]) == pytest.approx(1)
    assert pearson([1, 2, 3], [1, 3, 2]) == pytest.approx(0.5)
    assert spearman([1, 2, 3], [1, 100, 1000]) == pytest.approx(1)
    # Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: 4.5 / sqrt(4.5 · 5)
    assert spearman([1, 2, 2, 3], [1, 2, 3, 4]) == pytest.approx(4.5 / math.sqrt(4.5 * 5))
    assert pearson([1, 2], [3, 3]) == 0


def test_a_task_has_the_published_metrics_and_their_mean():
    found = score([1, 0, 1], [1, 1, 1], GLUE["mrpc"])
    assert found == {"accuracy": pytest.approx(2 / 3), "f1": 0.8, "mean": pytest.approx(11 / 15)}
    known = CLASSIFIER_METRICS | REGRESSION_METRICS
    assert all(metric in known for metrics in GLUE.values() for metric in metrics)
    assert GLUE["cola"] == ("matthews",)


CLASSES = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30)


@pytest.mark.filterwarnings("ignore:A single label was found")
@given(CLASSES)
def test_equal_to_sklearn(pairs):
    metrics = pytest.importorskip("sklearn.metrics", exc_type=ImportError)
    labels, said = map(list, zip(*pairs, strict=True))
    assert matthews(labels, said) == pytest.approx(metrics.matthews_corrcoef(labels, said))
    expected = metrics.f1_score(labels, said, average="macro", zero_division=0)
    assert macro_f1(labels, said) == pytest.approx(expected)


@given(
    st.lists(
        st.tuples(st.integers(-5, 5), st.floats(-10, 10, allow_subnormal=False)),
        min_size=3,
        max_size=30,
    )
)
def test_equal_to_scipy(pairs):
    a, b = map(np.array, zip(*pairs, strict=True))
    if np.ptp(a) == 0 or np.ptp(b) < 1e-3:
        assert abs(pearson(a.tolist(), b.tolist())) <= 1 + 1e-9
        return
    assert pearson(a.tolist(), b.tolist()) == pytest.approx(stats.pearsonr(a, b)[0], abs=1e-9)
    assert spearman(a.tolist(), b.tolist()) == pytest.approx(stats.spearmanr(a, b)[0], abs=1e-9)


def test_bad_input():
    with pytest.raises(InputError, match="no examples to score"):
        score([], [], ("accuracy",))
    with pytest.raises(InputError, match="2 labels do not pair with 1"):
        score([0, 1], [0], ("accuracy",))
    with pytest.raises(InputError, match="unknown metric 'acuracy'; did you mean 'accuracy'"):
        score([0], [0], ("acuracy",))
