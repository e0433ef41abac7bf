import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.metrics import precision_recall_f
from flaxformers_edu.metrics.classification import Counts, confusion, scores

LABELS = ["cat", "cat", "cat", "dog", "dog", "fox"]
PREDICTIONS = ["cat", "cat", "dog", "dog", "cat", "cat"]


def test_confusion_by_hand():
    assert confusion(LABELS, PREDICTIONS) == {
        "cat": Counts(true_positives=2, false_positives=2, false_negatives=1),
        "dog": Counts(true_positives=1, false_positives=1, false_negatives=1),
        "fox": Counts(false_negatives=1),
    }


def test_binary_by_hand():
    # cat: P = 2/4, R = 2/3, F1 = 2·(1/2)(2/3)/(7/6) = 4/7
    result = precision_recall_f(LABELS, PREDICTIONS, average="binary", positive="cat")
    assert (result.precision, result.recall) == pytest.approx((1 / 2, 2 / 3))
    assert result.f == pytest.approx(4 / 7)


def test_macro_by_hand():
    # dog: all 1/2; fox: all 0
    result = precision_recall_f(LABELS, PREDICTIONS, average="macro")
    assert result.precision == pytest.approx((1 / 2 + 1 / 2 + 0) / 3)
    assert result.recall == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert result.f == pytest.approx((4 / 7 + 1 / 2 + 0) / 3)


def test_micro_over_all_classes_is_accuracy():
    result = precision_recall_f(LABELS, PREDICTIONS, average="micro")
    assert (result.precision, result.recall, result.f) == pytest.approx((0.5, 0.5, 0.5))


def test_micro_without_a_class_by_hand():
    # cat and fox: 2 right, 2 wrongly said, 2 missed
    result = precision_recall_f(LABELS, PREDICTIONS, average="micro", classes=["cat", "fox"])
    assert (result.precision, result.recall, result.f) == pytest.approx((0.5, 0.5, 0.5))
    dog = precision_recall_f(LABELS, PREDICTIONS, average="micro", classes=["dog", "owl"])
    assert dog.precision == pytest.approx(0.5)
    macro = precision_recall_f(LABELS, PREDICTIONS, average="macro", classes=["dog", "owl"])
    assert macro.f == pytest.approx(0.25)


def test_beta_weighs_recall():
    counts = Counts(true_positives=1, false_positives=3, false_negatives=1)
    # P = 1/4, R = 1/2: F2 = 5·(1/8)/(4·1/4 + 1/2) = 5/12; F½ = 1.25·(1/8)/(1/16 + 1/2) = 5/18
    assert scores(counts, beta=2).f == pytest.approx(5 / 12)
    assert scores(counts, beta=0.5).f == pytest.approx(5 / 18)


def test_nothing_predicted_and_nothing_there_are_zero():
    assert scores(Counts()).f == 0.0
    assert precision_recall_f([0, 0], [0, 0], average="binary").recall == 0.0
    assert precision_recall_f([], [], average="macro").f == 0.0


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: precision_recall_f([1], []), "1 labels do not pair with 0"),
        (lambda: precision_recall_f([1], [1], average="mikro"), "did you mean 'micro'"),
        (lambda: scores(Counts(), beta=0), "beta=0"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
