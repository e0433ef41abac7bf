"""Pipelines on tiny random models: what comes out is what the model says, however it is batched."""

import json

import jax
import numpy as np
import pytest

from flaxformers_edu import pipeline
from flaxformers_edu.errors import InputError
from flaxformers_edu.interop import from_pretrained
from flaxformers_edu.pipelines.token_classification import whole_entities
from flaxformers_edu.text.training import train_byte_bpe, train_wordpiece
from tests.tiny_bert import TEXTS, tokenizer, write

CONTEXT = "the cat sat on the mat and the dog ran in the park . " * 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """(task, changes of the config) -> the folder of a model that has its weights."""
    return lambda task, **changes: write(tmp_path_factory.mktemp("models") / task, task, **changes)


def direct(path, task, text):
    """The model's own output for one text, as it is."""
    found = from_pretrained(path, task)
    return found.model.apply({"params": found.params}, **found.tokenizer([text]))


def test_masks_are_filled_by_the_likeliest_pieces(folder):
    path = folder("masked_lm")
    fill = pipeline("fill-mask", path, batch_size=2)
    one, several = fill(["the [MASK] sat", "a [MASK] ran in [MASK] park"], top_k=3)
    logits = direct(path, "masked_lm", "the [MASK] sat").logits[0, 2]
    best = np.argsort(-np.asarray(logits))[:3]
    assert [guess["token"] for guess in one] == best.tolist()
    assert [guess["token_str"] for guess in one] == tokenizer().tokens(best)
    scores = [guess["score"] for guess in one]
    assert scores == pytest.approx(jax.nn.softmax(logits)[best].tolist(), rel=1e-4)
    assert len(several) == 2 and all(len(guesses) == 3 for guesses in several)
    assert one[0]["token_str"].removeprefix("##") in one[0]["sequence"]
    assert fill("the [MASK] sat", top_k=3) == one
    with pytest.raises(InputError, match=r"has no \[MASK\] to be filled in"):
        fill("nothing to fill")


def test_labels_of_texts_and_pairs(folder):
    path = folder("sequence_classification")
    classify = pipeline("text-classification", path, batch_size=2)
    found = classify([*TEXTS, {"text": TEXTS[0], "text_pair": TEXTS[2]}])
    logits = direct(path, "sequence_classification", TEXTS[1]).logits[0]
    best = int(logits.argmax())
    assert found[1]["label"] == f"LABEL_{best}"
    assert found[1]["score"] == pytest.approx(float(jax.nn.softmax(logits)[best]), rel=1e-4)
    assert found[3] != found[0]
    every = classify(TEXTS[1], top_k=None)
    assert every[0] == pytest.approx(found[1]) and len(every) == 3
    assert sum(one["score"] for one in every) == pytest.approx(1.0)


def test_labels_that_do_not_exclude_each_other(folder):
    path = folder("sequence_classification")
    config = json.loads((path / "config.json").read_text())
    several = {**config, "problem_type": "multi_label_classification"}
    (path / "config.json").write_text(json.dumps(several))
    found = pipeline("text-classification", path)(TEXTS[0], top_k=None)
    logits = direct(path, "sequence_classification", TEXTS[0]).logits[0]
    scores = {one["label"]: one["score"] for one in found}
    wanted = jax.nn.sigmoid(logits).tolist()
    assert [scores[f"LABEL_{i}"] for i in range(3)] == pytest.approx(wanted, rel=1e-4)


def test_a_model_with_one_output_gives_numbers(folder):
    path = folder("sequence_classification", num_labels=1)
    value = pipeline("text-classification", path)(TEXTS[0])["value"]
    logits = direct(path, "sequence_classification", TEXTS[0]).logits
    assert value == pytest.approx(float(logits[0, 0]), rel=1e-4)


def test_entities_have_their_characters(folder):
    path = folder("token_classification")
    tag = pipeline("token-classification", path)
    entities = tag(TEXTS[0], ignore=())
    logits = direct(path, "token_classification", TEXTS[0]).logits[0]
    assert [e["entity"] for e in entities] == [
        f"LABEL_{best}" for best in logits[1 : 1 + len(entities)].argmax(-1)
    ]
    assert "".join(e["word"] for e in entities) == TEXTS[0].replace(" ", "")
    assert all(TEXTS[0][e["start"] : e["end"]] == e["word"] for e in entities)
    kept = tag(TEXTS[0], ignore=(entities[0]["entity"],))
    assert kept == [e for e in entities if e["entity"] != entities[0]["entity"]]


@pytest.mark.parametrize("train", [train_wordpiece, train_byte_bpe])
def test_entities_as_a_whole(train):
    tokenizer = train([*TEXTS * 20, "mats, dogs, cats"], vocab_size=300)
    text = "cats sand, thedog mats"
    tags = {0: "B-PER", 5: "I-PER", 9: "O", 11: "B-LOC", 18: "B-LOC"}  # by where a word begins
    found = tokenizer.pieces(text)
    pieces = [
        {"entity": tags.get(start, "B-wrong"), "score": start / 20, "word": text[start:end]}
        | {"start": start, "end": end}
        for start, end in found.spans
    ]
    assert any(piece["entity"] == "B-wrong" for piece in pieces)
    whole = whole_entities(text, pieces, tokenizer.starts_word[found.ids].tolist())
    assert [(e["entity_group"], e["word"]) for e in whole] == [
        ("PER", "cats sand"),
        ("LOC", "thedog"),
        ("LOC", "mats"),
    ]
    assert [e["score"] for e in whole] == pytest.approx([0.125, 0.55, 0.9])
    assert all(text[e["start"] : e["end"]] == e["word"] for e in whole)


def test_a_tagger_groups_what_it_says_of_pieces(folder):
    tag = pipeline("token-classification", folder("token_classification"))
    first, *_ = pieces = tag(TEXTS[0], ignore=())
    whole = tag(TEXTS[0], grouped=True, ignore=())
    assert whole[0]["start"] == first["start"] and whole[-1]["end"] == pieces[-1]["end"]
    kind = whole[0]["entity_group"]
    assert kind == first["entity"]  # which is no tag, such as B-PER, but a type
    kept = tag(TEXTS[0], grouped=True, ignore=(kind,))
    assert kept == [e for e in whole if e["entity_group"] != kind]


def test_answers_lie_in_contexts_of_several_windows(folder):
    answer = pipeline("question-answering", folder("question_answering"), batch_size=2)
    found = answer({"question": "who sat", "context": CONTEXT})
    assert found["answer"] == CONTEXT[found["start"] : found["end"]] and found["candidates"]


def test_choices_of_different_numbers(folder):
    choose = pipeline("multiple-choice", folder("multiple_choice"))
    two = {"question": "the cat", "choices": ["sat", "ran"]}
    three = {"question": "the dog", "choices": ["sat", "ran", "on the mat"]}
    found = choose([three, two])
    assert [len(one["probabilities"]) for one in found] == [3, 2]
    alone = choose(two)
    assert found[1]["choice"] == alone["choice"] and found[0]["choice"] in three["choices"]
    assert found[1]["probabilities"] == pytest.approx(alone["probabilities"], rel=1e-4)
    assert found[0]["choice"] == three["choices"][int(found[0]["label"])]
    with pytest.raises(InputError, match="a question has 1 choices; give at least 2"):
        choose({"question": "the cat", "choices": ["sat"]})


def test_features_do_not_depend_on_the_batch(folder):
    path = folder("base")
    features = pipeline("feature-extraction", path, batch_size=2)
    for text, states in zip(TEXTS, features(list(TEXTS)), strict=True):
        wanted = direct(path, "base", text).last_hidden_state[0]
        np.testing.assert_allclose(states, wanted, atol=2e-5)


def test_it_compiles_once_a_length(folder):
    features = pipeline("feature-extraction", folder("base"), batch_size=2)
    features(list(TEXTS))
    step = features._compiled["features"]
    before = step._cache_size()
    features(list(reversed(TEXTS)) * 2)
    features("the mat")
    assert step._cache_size() == before == 1


def test_what_cannot_be(folder, tmp_path):
    with pytest.raises(InputError, match="did you mean 'fill-mask'"):
        pipeline("fill-masks", tmp_path)
    path = folder("base")
    with pytest.raises(InputError, match="has not learnt text-classification: .*classifier"):
        pipeline("text-classification", path)
    features = pipeline("feature-extraction", path)
    with pytest.raises(InputError, match="longer than the model reads, 48"):
        features(CONTEXT * 2)
    with pytest.raises(InputError, match="input 3 is not a text"):
        features(3)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (path / name).unlink(missing_ok=True)
    with pytest.raises(InputError, match="has no tokeniser"):
        pipeline("feature-extraction", path)
