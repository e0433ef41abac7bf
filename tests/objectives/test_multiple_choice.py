import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.objectives import Classification, MultipleChoice
from tests.objectives.finetuning import config, encode, says, tokenizer

PIECES = tokenizer()
THREE = MultipleChoice(labels=("A", "B", "C"))
EXAMPLE = {"question": "the fox jumps", "choices": ["dog", "the old river bank", ""], "label": "B"}


def test_each_choice_is_a_pair_with_the_question():
    rows = encode(THREE, [EXAMPLE, {**EXAMPLE, "choices": ["fox"] * 3, "label": 2}], PIECES)
    batch = THREE.collate(config())(list(rows), 3, 32)
    assert batch["input_ids"].shape == (3, 3, 32)
    np.testing.assert_array_equal(batch["labels"], [1, 2, -100])
    assert not batch["attention_mask"][2].any()
    for choice, text in enumerate(EXAMPLE["choices"]):
        pair = {"text": EXAMPLE["question"], "text_pair": text}
        row = Classification().encode(pair, PIECES, max_length=64)
        length = len(row["input_ids"])
        assert batch["input_ids"][0, choice, :length].tolist() == row["input_ids"]
        assert batch["token_type_ids"][0, choice, :length].tolist() == row["token_type_ids"]
        assert batch["attention_mask"][0, choice].sum() == length
    assert rows.lengths.max() == batch["attention_mask"].sum(-1).max()  # of a choice, not of all


def test_the_softmax_is_over_the_choices():
    rows = encode(THREE, [EXAMPLE], PIECES)
    batch = jax.tree.map(jnp.asarray, THREE.collate(config())(list(rows), 1, 32))
    logits = np.array([[1.0, 2.0, 0.0]], np.float32)
    loss = THREE.loss(says(logits=logits), {}, batch, None)
    assert float(loss.sum) == pytest.approx(float(np.log(np.exp(logits).sum()) - 2.0), rel=1e-6)
    predicted = THREE.predict(says(logits=logits), {}, batch)["probabilities"]
    said = [{"probabilities": np.asarray(predicted[0])}]
    outcomes = THREE.outcomes(said, rows, [EXAMPLE], PIECES)
    assert outcomes[0]["label"] == "B"
    assert outcomes[0]["choice"] == "the old river bank"
    assert THREE.score(outcomes, [EXAMPLE]) == {"accuracy": 1.0}
    assert THREE.score(outcomes, [{**EXAMPLE, "label": "C"}]) == {"accuracy": 0.0}


def test_a_choice_fills_the_blank():
    objective = MultipleChoice(labels=("1", "2"), blank="_")
    example = {"question": "the dog saw _ near the bank", "choices": ["fox", "river"], "label": "2"}
    row = objective.encode(example, PIECES, max_length=64)
    pair = {"text": "the dog saw ", "text_pair": "river near the bank"}
    expected = Classification().encode(pair, PIECES, max_length=64)["input_ids"]
    assert row["input_ids"][row["choice_lengths"][0] :] == expected
    assert row["labels"] == [1]
    with pytest.raises(InputError, match="has '_' 0 times, not once"):
        objective.encode({**example, "question": "the dog"}, PIECES, max_length=64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"choices": ["dog"]}, "1 choices, but objective.labels has 3: A, B, C"),
        ({"choices": "dog"}, "must be a list of texts"),
        ({"choices": [1, 2, 3]}, "must be a list of texts"),
        ({"label": "D", "id": "x"}, "id 'x': label 'D' is none of objective.labels: A, B, C"),
    ],
)
def test_bad_examples(change, message):
    with pytest.raises(InputError, match=message):
        THREE.encode(EXAMPLE | change, PIECES, max_length=16)
