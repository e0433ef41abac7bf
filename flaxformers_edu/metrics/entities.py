"""Scores of named entities: an entity counts where its type and both of its borders are right.

By the rules of seqeval's default mode, which are those of CoNLL-2000's `conlleval` script: tags
are read tolerantly, so that IOB1, IOB2, IOBES and what a model makes up all have entities.
"""

from collections.abc import Sequence
from typing import NamedTuple

from flaxformers_edu.errors import InputError
from flaxformers_edu.metrics.classification import Counts, Scores, scores

OUTSIDE = "O"


class Entity(NamedTuple):
    """Words `start` up to, not including, `end`."""

    type: str
    start: int
    end: int


def entities(tags: Sequence[str]) -> list[Entity]:
    """The entities of a sentence's tags, in order.

    A tag is O, or one of the letters B, I, E, S before a type: B-PER, I-PER; I alone is of the
    type "_". An entity goes on over I and E of its type, up to an E; any other tag begins a new
    one, whatever its letter.

    >>> entities(["I-PER", "I-PER", "I-LOC", "O", "B-LOC", "B-LOC"])[:2]
    [Entity(type='PER', start=0, end=2), Entity(type='LOC', start=2, end=3)]
    """
    found: list[Entity] = []
    is_open = False
    for place, tag in enumerate(tags):
        letter, kind = tag[:1], tag[1:].split("-", maxsplit=1)[-1] or "_"
        if letter == OUTSIDE:
            is_open = False
            continue
        if is_open and letter in ("I", "E") and kind == found[-1].type:
            found[-1] = found[-1]._replace(end=place + 1)
        else:
            found.append(Entity(kind, place, place + 1))
        is_open = letter in ("B", "I")
    return found


def entity_counts(
    labels: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]]
) -> dict[str, Counts]:
    """Right, surplus and missed entities by type, over sentences.

    Raises:
        InputError: there is no sentence, or two that belong together differ in their words.
    """
    if not len(labels):
        raise InputError("there are no sentences to score")
    if len(labels) != len(predictions):
        raise InputError(f"{len(labels)} sentences do not pair with {len(predictions)}")
    counts: dict[str, Counts] = {}
    for number, (true, said) in enumerate(zip(labels, predictions, strict=True)):
        if len(true) != len(said):
            raise InputError(f"sentence {number} has {len(true)} tags, but {len(said)} predictions")
        wanted, found = set(entities(true)), set(entities(said))
        for entity in wanted | found:
            of_this = Counts(
                true_positives=int(entity in wanted and entity in found),
                false_positives=int(entity not in wanted),
                false_negatives=int(entity not in found),
            )
            counts[entity.type] = counts.get(entity.type, Counts()) + of_this
    return counts


def entity_scores(
    labels: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]]
) -> tuple[Scores, dict[str, Scores]]:
    """Precision, recall and F1 over all entities (micro), and by type.

    Raises:
        InputError: there is no sentence, or two that belong together differ in their words.
    """
    counts = entity_counts(labels, predictions)
    by_type = {kind: scores(counts[kind]) for kind in sorted(counts)}
    return scores(sum(counts.values(), Counts())), by_type
