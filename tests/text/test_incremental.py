"""Text by and by: what comes out in pieces is what the whole decodes to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flaxformers_edu.text.incremental import StopStrings, TextStream, text_of
from flaxformers_edu.text.training import train_tokenizer

CORPUS = ["The cat sees a dog in the park, 3 times.", "고양이가 개를 봐요 😀"] * 5
TEXTS = ("The cat's dog 고양이 😀!", "  two  spaces\nand a line", "개")


@pytest.fixture(scope="module", params=["gpt2", "characters", "bpe", "wordpiece"])
def tokenizer(request):
    sizes = {"gpt2": 300, "characters": 60, "bpe": 320, "wordpiece": 90}
    return train_tokenizer(
        request.param, CORPUS, vocab_size=sizes[request.param], byte_fallback=True
    )


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("step", [1, 3])
def test_pieces_add_up(tokenizer, text, step) -> None:
    ids = tokenizer.encode(text, add_eos=False)
    stream = TextStream(tokenizer)
    pieces = [stream.add(ids[i : i + step]) for i in range(0, len(ids), step)]
    assert "".join(pieces) + stream.rest() == tokenizer.decode(ids)
    assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in pieces)


def test_a_context_is_not_told_again_but_its_spaces_count(tokenizer) -> None:
    ids = tokenizer.encode("The cat sees a dog in the park", add_eos=False)
    whole = tokenizer.decode(ids)
    for cut in range(1, len(ids)):
        before = tokenizer.decode(ids[:cut])
        assert before + text_of(tokenizer, ids[:cut], ids[cut:]) == whole


def test_an_incomplete_character_waits_and_is_given_in_the_end() -> None:
    tokenizer = train_tokenizer("gpt2", ["abc"], vocab_size=257)
    ids = tokenizer.encode("a😀b", add_eos=False)
    assert len(ids) == 6
    stream = TextStream(tokenizer)
    assert [stream.add([i]) for i in ids] == ["a", "", "", "", "😀", "b"]
    stream = TextStream(tokenizer, ids[:3])
    assert [stream.add([i]) for i in ids[3:]] == ["", "😀", "b"]
    stream = TextStream(tokenizer)
    assert [stream.add([i]) for i in ids[:3]] == ["a", "", ""]
    assert stream.rest() == "\N{REPLACEMENT CHARACTER}"


@given(
    text=st.text("ab", max_size=12),
    strings=st.lists(st.text("ab", min_size=1, max_size=3), max_size=2),
    cuts=st.lists(st.integers(0, 12), max_size=3),
)
def test_stop_strings_cut_at_the_first(text, strings, cuts) -> None:
    """In whichever pieces the text comes, as if all of it were there."""
    stop = StopStrings(strings)
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    told = ""
    for start, end in zip(edges, edges[1:], strict=False):
        told += stop.add(text[start:end])
        assert all(string not in told for string in strings)
    places = [place for string in strings if (place := text.find(string)) >= 0]
    assert stop.met == bool(places)
    told += stop.rest()
    if len(edges) == 2:
        assert told == text[: min(places)] if places else told == text
    else:
        assert text.startswith(told)
        assert stop.met or told == text
