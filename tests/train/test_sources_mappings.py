"""Made-up mappings: what documents show, what they never do, and that words are tokens."""

import itertools
import re
from collections import Counter

import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.text.training import train_gpt2_bpe
from train.commands.arguments import load_config
from train.sources import MadeUpMappings
from train.sources.mappings import (
    _KEYS,
    _LABELS,
    _LANGUAGES,
    _THINGS,
    _VALUES,
    ENTRIES,
    KINDS,
    LANGUAGES,
    PAIRS,
    PROPERTIES,
    THINGS,
    WORDINGS,
    labels,
    mapping_examples,
    translation,
)

PAIR = re.compile(r"; (\w+) (\w+)")


@pytest.fixture(scope="module")
def documents():
    texts = [example["text"] for example in MadeUpMappings(documents=3000).load("train")]
    return [PAIR.findall(text) for text in texts]


def kind_of(pairs):
    return {**dict.fromkeys(_KEYS, "dictionary"), **dict.fromkeys(_THINGS, "labels")}.get(
        pairs[0][0], "translation"
    )


def test_documents_hold_pairs_of_one_mapping(documents):
    assert {len(pairs) for pairs in documents} == {PAIRS}
    for pairs in documents:
        assert len(dict(pairs)) == len(set(pairs))  # a mapping: no word has two meanings
        if kind_of(pairs) == "translation":
            places = [
                [(i, words.index(word)) for i, words in enumerate(_LANGUAGES) if word in words]
                for pair in pairs
                for word in pair
            ]
            assert all(len(place) == 1 for place in places)
            meanings = [place[0][1] for place in places]
            assert meanings[::2] == meanings[1::2]
            assert {place[0][0] for place in places[::2]}.isdisjoint(
                {place[0][0] for place in places[1::2]}
            )
    kinds = Counter(map(kind_of, documents))
    assert set(kinds) == set(KINDS) and min(kinds.values()) > 850


@pytest.mark.parametrize("kind", ["translation", "labels"])
def test_what_is_asked_is_in_no_document(documents, kind):
    _, asked = mapping_examples(kind, number=300, seed=0)
    shown = {pair for pairs in documents if kind_of(pairs) == kind for pair in pairs}
    questions = {(one["x"], one["y"]) for one in asked}
    assert not shown & questions


@pytest.mark.parametrize(
    "mappings",
    [
        [translation(i, j) for i, j in itertools.permutations(range(LANGUAGES), 2)],
        [labels(i, j) for i, j in itertools.product(range(PROPERTIES), range(WORDINGS))],
    ],
    ids=["translation", "labels"],
)
def test_both_words_of_a_question_are_shown_but_not_together(mappings):
    shown = {pair for mapping in mappings for pair in mapping.shown}
    asked = {pair for mapping in mappings for pair in mapping.asked}
    assert 0.05 < len(asked) / (len(asked) + len(shown)) < 0.2
    assert not shown & asked
    assert {x for x, _ in asked} <= {x for x, _ in shown}
    assert {y for _, y in asked} <= {y for _, y in shown}


def test_a_thing_has_a_property_in_all_of_its_wordings():
    for prop in range(PROPERTIES):
        answers = []
        for wording in range(WORDINGS):
            mapping = labels(prop, wording)
            named = dict(mapping.shown + mapping.asked)
            answers.append([_LABELS[prop][wording].index(named[thing]) for thing in _THINGS])
            assert sum(answers[-1]) == THINGS // 2
        assert all(answer == answers[0] for answer in answers)


def test_demonstrations_are_of_the_mapping_that_is_asked():
    for kind in KINDS:
        pool, asked = mapping_examples(kind, number=50, seed=1)
        by_mapping = {}
        for one in pool:
            by_mapping.setdefault(one["mapping"], {}).setdefault(one["x"], one["y"])
        for question in asked:
            pairs = by_mapping[question["mapping"]]
            assert len(pairs) >= ENTRIES
            if kind == "dictionary":
                assert pairs[question["x"]] == question["y"]
    pool, asked = mapping_examples("dictionary", number=20, seed=1)
    assert {one["y"] for one in asked} <= set(_VALUES)
    assert not any(one == question for one in pool for question in asked)
    with pytest.raises(InputError, match="unknown kind of mapping 'labls'; did you mean 'labels'"):
        mapping_examples("labls", number=1, seed=0)


def test_splits_differ_and_are_always_the_same():
    source = MadeUpMappings(documents=20, held_out_documents=20)
    splits = [source.load(split).columns["text"] for split in ("train", "validation", "test")]
    assert splits[0] == source.load("train").columns["text"]
    assert not set(splits[0]) & set(splits[1]) and splits[1] != splits[2]


def test_each_word_is_a_token_of_the_ladders_vocabulary():
    experiment = load_config("configs/few_shot/small.py")
    texts = MadeUpMappings(documents=8000).load("train").columns["text"]
    tokenizer = train_gpt2_bpe(texts, vocab_size=experiment.model.vocab_size)
    assert {len(tokenizer.encode(text)) for text in texts[:500]} == {experiment.model.max_length}
