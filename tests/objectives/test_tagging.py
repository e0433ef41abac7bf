import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.objectives import Tagging
from tests.objectives.finetuning import config, encode, says, tokenizer

PIECES = tokenizer()
TAGGING = Tagging(labels=("O", "B-X", "I-X"))
WORDS = ["the", "xylophone", "\u200b", "fox", "24–10", "dog"]
TAGS = ["O", "B-X", "O", "I-X", "O", "B-X"]


def test_labels_are_on_first_pieces():
    row = TAGGING.encode({"words": WORDS, "tags": TAGS}, PIECES, max_length=64)
    spans = PIECES.pieces(" ".join(WORDS)).spans
    starts = np.cumsum([0] + [len(word) + 1 for word in WORDS])
    labels = [-100]
    for start, _ in spans:
        is_first = start in starts
        labels.append(TAGGING.labels.index(TAGS[list(starts).index(start)]) if is_first else -100)
    assert row["labels"] == [*labels, -100]
    assert len(spans) > len(WORDS)  # some word has several pieces
    assert row["words"][2] == -1  # a character that the tokeniser drops
    places = [place for place in row["words"] if place >= 0]
    assert places == sorted(set(places)) and len(places) == 5


def test_words_beyond_the_maximum_are_outside():
    examples = [{"words": WORDS, "tags": TAGS}]
    rows = encode(TAGGING, examples, PIECES, max_length=4)
    assert len(rows[0]["input_ids"]) == 4
    assert rows[0]["words"][-1] == -1
    said = [{"tags": np.full(8, 1)}]
    (outcome,) = TAGGING.outcomes(said, rows, examples, PIECES)
    assert len(outcome["tags"]) == len(WORDS)
    assert outcome["tags"][0] == "B-X" and outcome["tags"][-1] == "O"


def test_gold_tags_come_back_from_gold_labels():
    examples = [
        {"words": WORDS, "tags": TAGS},
        {"words": ["서울이다", "fox"], "tags": ["B-X", "I-X"]},
        {"words": ["dog"], "tags": [2]},
    ]
    rows = encode(TAGGING, examples, PIECES)
    batch = TAGGING.collate(config(num_labels=3))(list(rows), 4, 32)
    assert batch["labels"].shape == (4, 32) and (batch["labels"][3] == -100).all()
    logits = 9.0 * jax.nn.one_hot(jnp.asarray(batch["labels"]), 3)
    arrays = jax.tree.map(jnp.asarray, batch)
    loss = TAGGING.loss(says(logits=logits), {}, arrays, None)
    assert float(loss.weight) == 8  # all words but the dropped one
    assert float(loss.counts["accuracy"]) == 8
    tags = np.asarray(TAGGING.predict(says(logits=logits), {}, arrays)["tags"])
    outcomes = TAGGING.outcomes([{"tags": row} for row in tags[:3]], rows, examples, PIECES)
    assert outcomes[0]["tags"] == TAGS
    scores = TAGGING.score(outcomes, examples)
    assert scores == {"precision": 1.0, "recall": 1.0, "f1": 1.0, "f1_X": 1.0}
    wrong = [{"tags": ["O"] * len(example["words"])} for example in examples]
    assert TAGGING.score(wrong, examples)["f1"] == 0


@pytest.mark.parametrize(
    ("example", "message"),
    [
        ({"words": ["a", "b"], "tags": ["O"]}, "2 words but 1 tags"),
        ({"words": ["a"], "tags": ["B-Y"], "id": 4}, "id 4: label 'B-Y' is none of"),
        ({"words": [], "tags": []}, "must be a list of words"),
        ({"words": "fox", "tags": ["O"]}, "must be a list of words"),
        ({"words": [1], "tags": ["O"]}, "1 among the words is not a text"),
        ({"tags": ["O"]}, "no field 'words'"),
        ({"words": ["a"], "tags": [None]}, "label None is none of"),
    ],
)
def test_bad_examples(example, message):
    with pytest.raises(InputError, match=message):
        TAGGING.encode(example, PIECES, max_length=16)


def test_unlabelled_examples_can_be_encoded():
    row = TAGGING.encode({"words": ["fox"]}, PIECES, max_length=16)
    assert set(row["labels"]) == {-100} and row["words"] == [1]
    with pytest.raises(InputError, match="no 'O'"):
        Tagging(labels=("B-X", "I-X"))
