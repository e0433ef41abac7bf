"""Tasks: how examples become prompts, and which answer is right."""

import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.prompting import Choice, Cloze, Generation, RunningText

RTE = Choice(
    name="rte",
    description="Does the first follow?",
    prompt="{premise}\nQuestion: {hypothesis} True or False?\nAnswer:",
    candidates=("True", "False"),
    labels=("entailment", "not_entailment"),
)
ONE = {"premise": "It rains.", "hypothesis": "It is wet.", "label": "entailment"}
TWO = {"premise": "It snows.", "hypothesis": "It is hot.", "label": "not_entailment"}


def test_a_prompt_is_description_demonstrations_and_the_example():
    assert RTE.compose(ONE, [TWO]) == (
        "Does the first follow?\n\n"
        "It snows.\nQuestion: It is hot. True or False?\nAnswer: False\n\n"
        "It rains.\nQuestion: It is wet. True or False?\nAnswer:"
    )
    plain = Cloze(name="c", prompt="{a} ->", answer="{b}", separator=" ; ", between="=")
    assert plain.compose({"a": 1, "b": 2}) == "1 ->"
    assert plain.compose({"a": 1}, [{"a": 3, "b": 4}]) == "3 ->=4 ; 1 ->"


def test_the_right_candidate_by_label_number_or_text():
    assert [RTE.right_of(example) for example in (ONE, TWO)] == [0, 1]
    own = Choice(name="own", prompt="{q}", candidates_from="choices")
    example = {"q": "?", "choices": ["7", "no", "1"], "label": 1}
    assert own.right_of(example) == 2  # a text before a number
    assert own.right_of({**example, "label": 0}) == 0
    assert own.answer_of({**example, "label": "no"}) == "no"
    filled = Choice(name="f", prompt="{q}", candidates=("{a}", "not {a}"), answer="{truth}")
    assert filled.right_of({"q": "", "a": "wet", "truth": "not wet"}) == 1


@pytest.mark.parametrize(
    ("example", "words"),
    [
        ({"q": "", "choices": ["a"], "label": 0}, "there are 1 candidates"),
        ({"q": "", "choices": "ab", "label": 0}, "must be a list"),
        (
            {"q": "", "choises": ["a", "b"], "label": 0},
            "unknown field of candidates 'choices'; did",
        ),
        ({"q": "", "choices": ["a", "b"], "label": 2}, "unknown label '2'"),
        ({"q": "", "choices": ["a", "b"], "lable": 2}, "unknown field of the template 'label'"),
    ],
)
def test_examples_that_do_not_fit(example, words):
    task = Choice(name="own", prompt="{q}", candidates_from="choices")
    with pytest.raises(InputError, match=words):
        task.right_of(example)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Choice(name="n", prompt="a"), "either candidates or candidates_from"),
        (lambda: Choice(name="n", prompt="a", candidates=("a", "b"), labels=("x",)), "1 labels"),
        (lambda: Choice(name="n", prompt="a", candidates=("a", "b"), score="mean"), "score"),
        (
            lambda: Choice(
                name="n", prompt="a", candidates=("a", "b"), score="unconditional", unconditional=""
            ),
            "needs unconditional",
        ),
        (lambda: Cloze(name="n", prompt="{", answer="{b}"), "template"),
        (lambda: Generation(name="n", prompt="a", answer="b", metrics=("blue",)), "mean 'bleu'"),
        (lambda: Generation(name="n", prompt="a", answer="b", metrics=()), "metrics is empty"),
        (lambda: Generation(name="n", prompt="a", answer="b", stop=("",)), "empty text"),
        (lambda: RunningText(name="n", stride=-1), "stride is -1"),
        (lambda: RunningText(name="n", text="{}"), "template"),
    ],
)
def test_tasks_that_cannot_be(make, words):
    with pytest.raises(InputError, match=words):
        make()
