"""The scores of the GLUE benchmark, and which of them each task is published with.

Labels are numbers from 0. Everything is computed in float64.
"""

from collections.abc import Callable, Sequence

import numpy as np

from flaxformers_edu.errors import InputError, unknown_name
from flaxformers_edu.metrics.classification import precision_recall_f

GLUE = {
    "cola": ("matthews",),
    "sst2": ("accuracy",),
    "mrpc": ("accuracy", "f1"),
    "qqp": ("accuracy", "f1"),
    "stsb": ("pearson", "spearman"),
    "mnli": ("accuracy",),
    "qnli": ("accuracy",),
    "rte": ("accuracy",),
    "wnli": ("accuracy",),
}
"""Metrics of each task; where there are two, the published score is their mean (Wang et al. 2019,
table 1 and section 3)."""


def accuracy(labels: Sequence[int], predictions: Sequence[int]) -> float:
    """The part that is right."""
    return float(np.mean(np.asarray(labels) == np.asarray(predictions)))


def f1(labels: Sequence[int], predictions: Sequence[int]) -> float:
    """F1 of class 1 among two."""
    return precision_recall_f(labels, predictions, average="binary", positive=1).f


def macro_f1(labels: Sequence[int], predictions: Sequence[int]) -> float:
    """Mean F1 of the classes that occur in labels or predictions."""
    return precision_recall_f(labels, predictions, average="macro").f


def matthews(labels: Sequence[int], predictions: Sequence[int]) -> float:
    """Correlation of two classifications of any number of classes, from -1 to 1.

    (c s - Σ p_k t_k) / sqrt((s² - Σ p_k²)(s² - Σ t_k²)) with s examples, c of them right, and each
    class k predicted p_k and true t_k times (Gorodkin 2004, eq. 8); for two classes that of
    Matthews 1975. 0 where either side has one class only.
    """
    labels_N, predictions_N = np.asarray(labels), np.asarray(predictions)
    classes = np.union1d(labels_N, predictions_N)
    true_C = np.array([(labels_N == k).sum() for k in classes], np.float64)
    predicted_C = np.array([(predictions_N == k).sum() for k in classes], np.float64)
    right, number = float((labels_N == predictions_N).sum()), float(labels_N.size)
    spread = (number**2 - predicted_C @ predicted_C) * (number**2 - true_C @ true_C)
    if spread == 0:
        return 0.0
    return float((right * number - predicted_C @ true_C) / np.sqrt(spread))


def pearson(labels: Sequence[float], predictions: Sequence[float]) -> float:
    """Linear correlation, from -1 to 1; 0 where either side is constant, and has none."""
    a_N, b_N = np.asarray(labels, np.float64), np.asarray(predictions, np.float64)
    if np.ptp(a_N) == 0 or np.ptp(b_N) == 0:
        return 0.0
    a_N, b_N = a_N - a_N.mean(), b_N - b_N.mean()
    return float(a_N @ b_N / (np.linalg.norm(a_N) * np.linalg.norm(b_N)))


def spearman(labels: Sequence[float], predictions: Sequence[float]) -> float:
    """Linear correlation of the ranks; equal values share the mean of their ranks."""
    from scipy.stats import rankdata  # the better part of a second, at every start of a command

    return pearson(rankdata(labels).tolist(), rankdata(predictions).tolist())


CLASSIFIER_METRICS: dict[str, Callable[..., float]] = {
    "accuracy": accuracy,
    "f1": f1,
    "macro_f1": macro_f1,
    "matthews": matthews,
}
REGRESSION_METRICS: dict[str, Callable[..., float]] = {"pearson": pearson, "spearman": spearman}


def score(
    labels: Sequence[float], predictions: Sequence[float], metrics: Sequence[str]
) -> dict[str, float]:
    """Each of the metrics by its name and, of several, their "mean".

    Raises:
        InputError: there is nothing to score, the two differ in number, or a metric is unknown.
    """
    if not len(labels):
        raise InputError("there are no examples to score")
    if len(labels) != len(predictions):
        raise InputError(f"{len(labels)} labels do not pair with {len(predictions)} predictions")
    known = CLASSIFIER_METRICS | REGRESSION_METRICS
    for metric in metrics:
        if metric not in known:
            raise unknown_name("metric", metric, known)
    found = {metric: known[metric](labels, predictions) for metric in metrics}
    if len(found) > 1:
        found["mean"] = sum(found.values()) / len(found)
    return found
