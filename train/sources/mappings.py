"""Documents that demonstrate made-up mappings, `; kalo brimu ; sena doki`; needs no files.

A document holds pairs of one mapping, so that a language model can learn to find out from the first
pairs what the others will be. There are three kinds, each with words of its own:

- translation: from one language into another. Which words mean the same has to be known; into
  which language it goes is seen from the first pair.
- labels: whether things have a property, in one of the pairs of words that say so. Which things
  have it has to be known; which property it is and in which words is seen from the first pair.
- dictionary: four keys with four values, new in every document. Only what was shown can be known.

An eighth of the pairs of each translation and of each wording of a property is held out: training
documents never show these, but the same meaning in other languages, the same property in other
words.
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from flaxformers_edu.errors import unknown_name
from train.sources.base import SPLITS, Columns, check_split, split_of

KINDS = ("translation", "labels", "dictionary")
PAIRS = 16
"""Of a document."""
LANGUAGES, MEANINGS = 16, 256
PROPERTIES, WORDINGS, THINGS = 16, 4, 256
KEYS, ENTRIES = 32, 4
HELD_OUT = 12
"""Percent of the pairs of a translation, and of a wording."""
COPIES = 3
"""Of each entry of a dictionary that demonstrations are drawn from: they repeat, as in training."""

Pair = tuple[str, str]


class Mapping(NamedTuple):
    """What a document demonstrates."""

    name: str
    shown: tuple[Pair, ...]
    """Pairs that may be demonstrated."""
    asked: tuple[Pair, ...]
    """Pairs that a model is asked for, to find out whether it generalises."""


def _made_up_words() -> list[str]:
    """All words there are, two syllables each, in an order that is always the same."""
    syllables = [consonant + vowel for consonant in "bdfghjklmnprstvz" for vowel in "aeiou"]
    words = [first + second for first in syllables for second in syllables]
    return [words[i] for i in np.random.default_rng(0).permutation(len(words))]


_WORDS = iter(_made_up_words())


def _take(number: int) -> tuple[str, ...]:
    return tuple(next(_WORDS) for _ in range(number))


_LANGUAGES = tuple(_take(MEANINGS) for _ in range(LANGUAGES))
_KEYS, _VALUES = _take(KEYS), _take(KEYS)
_THINGS = _take(THINGS)
_LABELS = tuple(tuple(_take(2) for _ in range(WORDINGS)) for _ in range(PROPERTIES))
"""Of each property and wording: what is said of a thing without it, and of one that has it."""
_HAS = np.random.default_rng(1).permuted(np.tile(np.arange(THINGS) % 2, (PROPERTIES, 1)), axis=1)
"""Half of all things have a property."""


def _partly_held_out(name: str, pairs: Sequence[Pair]) -> Mapping:
    """A mapping of which some pairs are asked for, and the others shown."""
    held = [split_of(f"{name} {i}", HELD_OUT) == "validation" for i in range(len(pairs))]
    return Mapping(
        name,
        tuple(pair for pair, out in zip(pairs, held, strict=True) if not out),
        tuple(pair for pair, out in zip(pairs, held, strict=True) if out),
    )


@cache
def translation(source: int, target: int) -> Mapping:
    """From one language into another."""
    pairs = list(zip(_LANGUAGES[source], _LANGUAGES[target], strict=True))
    return _partly_held_out(f"{source}>{target}", pairs)


@cache
def labels(prop: int, wording: int) -> Mapping:
    """What is said of each thing: that it has a property, or that it has it not."""
    words = _LABELS[prop][wording]
    pairs = [(thing, words[has]) for thing, has in zip(_THINGS, _HAS[prop], strict=True)]
    return _partly_held_out(f"{prop} {wording}", pairs)


def dictionary(rng: np.random.Generator) -> Mapping:
    """A few keys with values, drawn anew."""
    keys = [_KEYS[i] for i in rng.choice(KEYS, ENTRIES, replace=False)]
    values = [_VALUES[i] for i in rng.choice(KEYS, ENTRIES, replace=False)]
    pairs = tuple(zip(keys, values, strict=True))
    return Mapping(" ".join(f"{key}={value}" for key, value in pairs), pairs, pairs)


def draw(kind: str, rng: np.random.Generator) -> Mapping:
    """A mapping of a kind."""
    if kind == "dictionary":
        return dictionary(rng)
    if kind == "labels":
        return labels(int(rng.integers(PROPERTIES)), int(rng.integers(WORDINGS)))
    source, target = (int(i) for i in rng.choice(LANGUAGES, 2, replace=False))
    return translation(source, target)


def mapping_documents(split: str, *, size: int, seed: int) -> Columns:
    """Documents {"text"} of a split, kinds in equal parts; what is held out occurs in none."""
    check_split(split)
    rng = np.random.default_rng([seed, SPLITS.index(split)])
    texts = []
    for _ in range(size):
        kind = KINDS[int(rng.integers(len(KINDS)))]
        shown = draw(kind, rng).shown
        chosen = rng.choice(len(shown), PAIRS, replace=kind == "dictionary")
        texts.append(" ".join(f"; {shown[i][0]} {shown[i][1]}" for i in chosen))
    return Columns({"text": texts})


def mapping_examples(
    kind: str, *, number: int, seed: int
) -> tuple[Sequence[dict[str, str]], Sequence[dict[str, str]]]:
    """Demonstrations and questions {"mapping", "x", "y"}, one question a mapping that is drawn.

    Raises InputError for an unknown kind.
    """
    if kind not in KINDS:
        raise unknown_name("kind of mapping", kind, KINDS)
    rng = np.random.default_rng([seed, len(SPLITS), KINDS.index(kind)])
    shown: dict[tuple, dict[str, str]] = {}
    asked = []
    for _ in range(number):
        mapping = draw(kind, rng)
        x, y = mapping.asked[int(rng.integers(len(mapping.asked)))]
        asked.append({"mapping": mapping.name, "x": x, "y": y})
        for copy in range(COPIES if kind == "dictionary" else 1):
            for x, y in mapping.shown:
                example = {"mapping": mapping.name, "x": x, "y": y}
                if kind == "dictionary":  # another example than the question: it may be shown
                    example["copy"] = str(copy)
                shown[mapping.name, x, copy] = example
    return list(shown.values()), asked
