from types import SimpleNamespace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.objectives import OBJECTIVES, Classification, Regression
from tests.objectives.finetuning import CLS, SEP, config, encode, says, tokenizer

PIECES = tokenizer()
PAIR = {"text": "the quick brown fox", "text_pair": "the lazy dog", "label": "yes"}


def test_a_pair_in_the_models_template():
    objective = Classification(labels=("no", "yes"))
    row = objective.encode(PAIR, PIECES, max_length=64)
    a, b = (PIECES.pieces(PAIR[name]).ids for name in ("text", "text_pair"))
    assert row["input_ids"] == [CLS, *a, SEP, *b, SEP]
    assert row["token_type_ids"] == [0] * (len(a) + 2) + [1] * (len(b) + 1)
    assert row["labels"] == [1]
    assert OBJECTIVES["classification"] is Classification


def test_the_longer_text_is_cut_first():
    objective = Classification()
    example = {"text": "the " * 30, "text_pair": "fox"}
    row = objective.encode(example, PIECES, max_length=12)
    (the,), fox = PIECES.pieces("the").ids, PIECES.pieces("fox").ids
    assert row["input_ids"] == [CLS, *[the] * (9 - len(fox)), SEP, *fox, SEP]
    single = objective.encode({"text": "the " * 30}, PIECES, max_length=12)
    assert single["input_ids"] == [CLS, *[the] * 10, SEP]
    with pytest.raises(InputError, match="length of 3 has no room"):
        objective.encode(example, PIECES, max_length=3)


def test_labels_by_name_or_number():
    objective = Classification(labels=("no", "yes"))

    def label(**fields):
        (found,) = objective.encode({"text": "fox"} | fields, PIECES, max_length=8)["labels"]
        return found

    assert [label(label=x) for x in ("no", "yes", 0, "1", np.int64(1), True)] == [0, 1, 0, 1, 1, 1]
    assert [label(), label(label=None), label(label=-1)] == [-100] * 3
    with pytest.raises(InputError, match="id 'q7': label 'maybe' is none of .*: no, yes"):
        label(id="q7", label="maybe")
    with pytest.raises(InputError, match="label 2 is none"):
        label(label=2)
    # Where names are numbers, a number is a name and never an index.
    numbered = Classification(labels=("1", "2"))
    assert numbered.encode({"text": "fox", "label": 2}, PIECES, max_length=8)["labels"] == [1]
    with pytest.raises(InputError, match="label 0 is none"):
        numbered.encode({"text": "fox", "label": 0}, PIECES, max_length=8)


def test_batches_and_loss():
    objective = Classification(labels=("no", "yes"))
    rows = encode(objective, [PAIR, {**PAIR, "label": "no", "text": "fox"}], PIECES)
    batch = objective.collate(config())(list(rows), 3, 32)
    assert batch["input_ids"].shape == (3, 32)
    assert batch["attention_mask"].sum(1).tolist() == [len(row["input_ids"]) for row in rows] + [0]
    np.testing.assert_array_equal(batch["labels"], [1, 0, -100])
    assert "token_type_ids" not in objective.collate(config(num_token_types=0))(list(rows), 3, 32)
    logits = [[0.0, 2.0], [0.0, 2.0], [9.0, 0.0]]
    loss = objective.loss(says(logits=logits), {}, jax.tree.map(jnp.asarray, batch), None)
    expected = np.log(1 + np.exp(-2.0)) + np.log(1 + np.exp(2.0))
    assert float(loss.sum) == pytest.approx(expected, rel=1e-6)
    assert float(loss.weight) == 2  # the empty row counts nothing
    assert objective.measures({"loss": 1.0, "accuracy": 0.5, "nll": 1.0}) == {
        "loss": 1.0, "accuracy": 0.5
    }  # fmt: skip


def test_outcomes_and_scores():
    objective = Classification(labels=("no", "yes"), metrics=("accuracy", "f1"))
    examples = [PAIR, {**PAIR, "label": "no"}]
    rows = encode(objective, examples, PIECES)
    batch = jax.tree.map(jnp.asarray, objective.collate(config())(list(rows), 2, 32))
    predicted = objective.predict(says(logits=[[0.0, 3.0], [0.0, 1.0]]), {}, batch)
    said = [{"probabilities": np.asarray(p)} for p in predicted["probabilities"]]
    outcomes = objective.outcomes(said, rows, examples, PIECES)
    assert [outcome["label"] for outcome in outcomes] == ["yes", "yes"]
    assert sum(outcomes[0]["probabilities"].values()) == pytest.approx(1)
    assert outcomes[0]["probabilities"]["yes"] > outcomes[1]["probabilities"]["yes"] > 0.5
    scores = objective.score(outcomes, examples)
    assert scores == {"accuracy": 0.5, "f1": pytest.approx(2 / 3), "mean": pytest.approx(7 / 12)}
    assert objective.metric == "mean"
    assert Classification().metric == "accuracy"


def test_regression():
    objective = Regression()
    examples = [{**PAIR, "label": "4.5"}, {**PAIR, "label": 1}, {"text": "fox", "text_pair": "dog"}]
    rows = encode(objective, examples, PIECES)
    batch = objective.collate(config(num_labels=1))(list(rows), 4, 32)
    assert batch["labels"].dtype == np.float32
    np.testing.assert_array_equal(batch["labels"], [4.5, 1, np.nan, np.nan])
    arrays = jax.tree.map(jnp.asarray, batch)
    model = says(logits=[[4.0], [3.0], [7.0], [7.0]])
    loss = objective.loss(model, {}, arrays, None)
    assert (float(loss.sum), float(loss.weight)) == (0.25 + 4.0, 2)
    values = np.asarray(objective.predict(model, {}, arrays)["values"])
    outcomes = objective.outcomes([{"values": v} for v in values[:3]], rows, examples, PIECES)
    assert outcomes[0] == {"value": 4.0}
    scores = objective.score(outcomes[:2], examples[:2])
    assert scores == pytest.approx({"pearson": 1, "spearman": 1, "mean": 1})
    assert [objective.labelled(example) for example in examples] == [True, True, False]
    with pytest.raises(InputError, match="label 'high' is not a number"):
        objective.encode({**PAIR, "label": "high"}, PIECES, max_length=32)


def test_the_gradient_of_an_unknown_number_is_zero():
    batch = {"input_ids": jnp.zeros((2, 4), jnp.int32), "attention_mask": jnp.ones((2, 4))}
    batch["labels"] = jnp.array([1.0, jnp.nan])

    class Scale(nn.Module):
        @nn.compact
        def __call__(self, input_ids, attention_mask, deterministic):
            scale = self.param("scale", nn.initializers.ones, ())
            return SimpleNamespace(logits=jnp.ones((2, 1)) * scale)

    def loss(scale):
        return Regression().loss(Scale(), {"scale": scale}, batch, None).sum

    assert float(jax.grad(loss)(jnp.float32(3.0))) == 4.0  # 2 (3 - 1), of the first row alone


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Classification(labels=("a",)), "has 1 names; give at least 2"),
        (lambda: Classification(labels=("a", "a")), "'a' more than once"),
        (lambda: Classification(metrics=("f2",)), "unknown objective.metrics 'f2'"),
        (lambda: Classification(metrics=()), "objective.metrics is empty"),
        (lambda: Classification(labels=("a", "b", "c"), metrics=("f1",)), "take macro_f1"),
        (lambda: Regression(metrics=("accuracy",)), "unknown objective.metrics 'accuracy'"),
        (lambda: Classification().collate(config(3)), "model.num_labels is 3, .* predicts 2"),
        (lambda: Classification().collate(config(), packed=True), "batching.packing"),
        (lambda: Classification().encode({"txt": ""}, PIECES, max_length=9), "no field 'text'"),
        (lambda: Classification().texts({"text": 3}), "text is 3; it must be a text"),
        (lambda: encode(Classification(), [], PIECES), "there are no examples"),
        (lambda: Classification().score([], []), "no examples to score"),
        (lambda: encode(Classification(), [PAIR], PIECES), "example 0: label 'yes' is none"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_a_text_read_from_its_end():
    example = {"text": "the quick brown fox", "label": "positive"}
    rows = [Classification(backward=b).encode(example, PIECES, max_length=5) for b in (False, True)]
    assert rows[0]["input_ids"] == rows[1]["input_ids"][::-1]
    assert rows[0]["labels"] == rows[1]["labels"] == [1]


def test_several_models_together():
    """The mean of their probabilities decides, not the number of their votes."""
    objective = Classification(labels=("no", "yes"))

    def said(*of_yes):
        return [{"probabilities": {"no": 1 - p, "yes": p}} for p in of_yes]

    found = objective.averaged([said(0.9, 0.4), said(0.4, 0.4), said(0.4, 0.1)])
    assert [outcome["label"] for outcome in found] == ["yes", "no"]
    assert found[0]["probabilities"]["yes"] == pytest.approx(1.7 / 3)
