import pytest
from hypothesis import given
from hypothesis import strategies as st

from flaxformers_edu.errors import InputError
from flaxformers_edu.metrics.entities import Entity, entities, entity_scores


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ("B-PER I-PER O B-LOC", [("PER", 0, 2), ("LOC", 3, 4)]),
        ("I-PER I-PER O I-LOC", [("PER", 0, 2), ("LOC", 3, 4)]),  # IOB1
        ("I-PER B-PER I-PER", [("PER", 0, 1), ("PER", 1, 3)]),
        ("B-PER I-LOC I-LOC", [("PER", 0, 1), ("LOC", 1, 3)]),  # a type that does not go on
        ("B-PER E-PER S-PER I-PER", [("PER", 0, 2), ("PER", 2, 3), ("PER", 3, 4)]),  # IOBES
        ("B-PER E-PER E-PER", [("PER", 0, 2), ("PER", 2, 3)]),
        ("B-creative-work I-creative-work", [("creative-work", 0, 2)]),
        ("O O", []),
        ("B I O", [("_", 0, 2)]),
    ],
)
def test_entities_of_tags(tags, found):
    assert entities(tags.split()) == [Entity(*entity) for entity in found]


def test_scores_by_hand():
    """Three true entities, four said, two of them right."""
    labels = [["B-PER", "I-PER", "O", "B-LOC"], ["B-LOC", "O"]]
    predictions = [["B-PER", "I-PER", "O", "B-PER"], ["B-LOC", "B-LOC"]]
    overall, by_type = entity_scores(labels, predictions)
    assert (overall.precision, overall.recall) == (2 / 4, 2 / 3)
    assert overall.f == pytest.approx(4 / 7)
    assert by_type["PER"].f == pytest.approx(2 / 3)
    assert by_type["LOC"].f == pytest.approx(1 / 2)
    # Half of an entity is nothing, and the same words in another sentence are not the same.
    assert entity_scores([["B-PER", "I-PER"]], [["B-PER", "O"]])[0].f == 0
    assert entity_scores([["B-PER"], ["O"]], [["O"], ["B-PER"]])[0].f == 0


TAGS = st.sampled_from([*(f"{p}-{t}" for p in "BIES" for t in ("X", "Y-Z")), "O", "B", "I"])


@given(st.data())
def test_equal_to_seqeval(data):
    metrics = pytest.importorskip("seqeval.metrics", exc_type=ImportError)
    from seqeval.metrics.sequence_labeling import get_entities

    labels = data.draw(st.lists(st.lists(TAGS, min_size=1, max_size=8), min_size=1, max_size=4))
    said = [data.draw(st.lists(TAGS, min_size=len(s), max_size=len(s))) for s in labels]
    for tags in (*labels, *said):
        assert [(e.type, e.start, e.end - 1) for e in entities(tags)] == get_entities(tags)
    overall, by_type = entity_scores(labels, said)
    report = metrics.classification_report(labels, said, output_dict=True, zero_division=0)
    expected = report["micro avg"]
    assert overall.precision == pytest.approx(expected["precision"])
    assert overall.recall == pytest.approx(expected["recall"])
    assert overall.f == pytest.approx(expected["f1-score"])
    # The report has the types that are true or said, and those we have are the same.
    for kind, found in by_type.items():
        assert found.f == pytest.approx(report[kind]["f1-score"])


@given(st.lists(TAGS, min_size=1, max_size=12))
def test_entities_cover_all_but_the_outside(tags):
    covered = {place for entity in entities(tags) for place in range(entity.start, entity.end)}
    assert covered == {place for place, tag in enumerate(tags) if tag != "O"}


def test_bad_input():
    with pytest.raises(InputError, match="no sentences"):
        entity_scores([], [])
    with pytest.raises(InputError, match="1 sentences do not pair with 2"):
        entity_scores([["O"]], [["O"], ["O"]])
    with pytest.raises(InputError, match="sentence 1 has 2 tags, but 1"):
        entity_scores([["O"], ["O", "O"]], [["O"], ["O"]])
