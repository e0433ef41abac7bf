"""Texts after prompts: the plain greedy loop, stop strings, batches."""

import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.prompting import Reader, Writing, write_after
from tests.prompting.tiny import LENGTH, log_probs_TV, pretrained, tokenizer

PROMPTS = ("is the sky blue?", "maybe the", "is the sea red? answer: no. maybe", "is", "yes")


@pytest.fixture(scope="module")
def contexts():
    return [Reader.of(pretrained()).context(text) for text in PROMPTS]


@pytest.fixture(scope="module")
def written(contexts):
    return write_after(pretrained(), contexts, Writing(6), batch_size=3)


def by_loop(context, number):
    ids = list(context)
    for _ in range(number):
        ids.append(int(log_probs_TV(ids)[len(ids) - 1].argmax()))
        if ids[-1] == tokenizer().eos_token_id:
            break
    return tokenizer().decode(ids[len(context) :])


def test_greedy_texts_are_those_of_a_plain_loop(contexts, written):
    assert written == [by_loop(context, 6) for context in contexts]
    assert len(set(written)) > 1


def test_a_stop_string_ends_a_text_wherever_tokens_end(contexts, written):
    text = max(written, key=len)
    stop = text[2:4]
    found = write_after(pretrained(), contexts, Writing(6, stop=(stop, "\n")), batch_size=3)
    assert found == [one.split(stop)[0].split("\n")[0] for one in written]
    assert found != written


def test_prompts_that_leave_no_room(contexts):
    writing = Writing(LENGTH)
    with pytest.raises(InputError, match=r"prompt 1 has \d+ tokens; with max_new_tokens=48"):
        write_after(pretrained(), contexts, writing)
    assert write_after(pretrained(), [], writing) == []
