"""Documents that demonstrate made-up mappings, `; kalo brimu ; sena doki`; needs no files.

A document holds pairs of one mapping, so that a language model can learn to find out from the first
pairs what the others will be. There are three kinds, each with words of its own:

- translation: from one of six languages into another. Which words mean the same has to be known;
  into which language it goes is seen from the first pair. An eighth of the words of each direction
  is held out: no training document translates them so.
- dictionary: four keys with four values, new in every document. Only what was shown can be known.
- labels: one of three properties of a thing, yes or no, under two labels. Which property and which
  labels has to be seen. An eighth of these mappings is held out.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from flaxformers_edu.errors import unknown_name
from train.sources.base import SPLITS, Columns, check_split, split_of

KINDS = ("translation", "dictionary", "labels")
PAIRS = 16
"""Of a document."""
LANGUAGES, MEANINGS, ENTRIES, PROPERTIES = 6, 64, 4, 3
KEYS, LABELS, THINGS = 32, 16, 16
HELD_OUT = 12
"""Percent of what can be held out."""
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
_LABELS, _THINGS = _take(LABELS), _take(THINGS)


def _is_held_out(key: str) -> bool:
    return split_of(key, HELD_OUT) == "validation"


def translation(source: int, target: int) -> Mapping:
    """From one language into another."""
    name = f"{source}>{target}"
    pairs = list(zip(_LANGUAGES[source], _LANGUAGES[target], strict=True))
    held = [_is_held_out(f"{name} {meaning}") for meaning in range(MEANINGS)]
    return Mapping(
        name,
        tuple(pair for pair, out in zip(pairs, held, strict=True) if not out),
        tuple(pair for pair, out in zip(pairs, held, strict=True) if out),
    )


def dictionary(rng: np.random.Generator) -> Mapping:
    """A few keys with values, drawn anew."""
    keys = [_KEYS[i] for i in rng.choice(KEYS, ENTRIES, replace=False)]
    values = [_VALUES[i] for i in rng.choice(KEYS, ENTRIES, replace=False)]
    pairs = tuple(zip(keys, values, strict=True))
    return Mapping(" ".join(f"{key}={value}" for key, value in pairs), pairs, pairs)


def labels(prop: int, without: int, having: int) -> Mapping:
    """One label for things without a property, and one for those that have it.

    Properties are bits of a thing's number; all of them occur together equally often.
    """
    names = (_LABELS[without], _LABELS[having])
    pairs = tuple((thing, names[n >> prop & 1]) for n, thing in enumerate(_THINGS))
    return Mapping(f"{prop} {names[0]} {names[1]}", pairs, pairs)


def draw(kind: str, rng: np.random.Generator, *, held_out: bool) -> Mapping:
    """A mapping of a kind: of those that training documents show, or of those that none does."""
    if kind == "dictionary":
        return dictionary(rng)
    if kind == "translation":
        source, target = (int(i) for i in rng.choice(LANGUAGES, 2, replace=False))
        return translation(source, target)
    while True:
        without, having = (int(i) for i in rng.choice(LABELS, 2, replace=False))
        found = labels(int(rng.integers(PROPERTIES)), without, having)
        if _is_held_out(found.name) == held_out:
            return found


def mapping_documents(split: str, *, size: int, seed: int) -> Columns:
    """Documents {"text"} of a split, kinds in equal parts; what is held out occurs in none."""
    check_split(split)
    rng = np.random.default_rng([seed, SPLITS.index(split)])
    texts = []
    for _ in range(size):
        kind = KINDS[int(rng.integers(len(KINDS)))]
        shown = draw(kind, rng, held_out=False).shown
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
        mapping = draw(kind, rng, held_out=True)
        x, y = mapping.asked[int(rng.integers(len(mapping.asked)))]
        asked.append({"mapping": mapping.name, "x": x, "y": y})
        for copy in range(COPIES if kind == "dictionary" else 1):
            for x, y in mapping.shown:
                example = {"mapping": mapping.name, "x": x, "y": y}
                if kind == "dictionary":  # another example than the question: it may be shown
                    example["copy"] = str(copy)
                shown[mapping.name, x, copy] = example
    return list(shown.values()), asked
