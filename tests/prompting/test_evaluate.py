"""`evaluate_prompts`: scores by the plain definition, shots that fit, one line for bad input."""

import dataclasses

import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.prompting import (
    Choice,
    Cloze,
    Generation,
    Reader,
    RunningText,
    evaluate_prompts,
)
from tests.prompting.tiny import TEXT, plainly, pretrained

CHOICE = Choice(
    name="sky",
    prompt="is {what}? answer:",
    candidates=("yes", "no, no, yes", "maybe"),
    separator=" ",
    unconditional="answer:",
)
EXAMPLES = [
    {"what": what, "label": label, "x": number}
    for number, (what, label) in enumerate(
        [("the sky", "yes"), ("red sea", "maybe"), ("no sky", "no, no, yes"), ("the sea", "yes")]
    )
]
CLOZE = Cloze(name="cloze", prompt="is {what}? answer:", answer="{label}", separator=" ")


def by_definition(example, shown=()):
    """The best candidate by each of the four scores."""
    reader = Reader.of(pretrained())
    context = CHOICE.compose(example, shown)
    scores = {"sum": [], "tokens": [], "bytes": [], "unconditional": []}
    for text in CHOICE.candidates:
        ids = reader.encode(" " + text)
        total, _ = plainly(reader.encode(context), ids)
        alone, _ = plainly(reader.encode("answer:"), ids)
        scores["sum"].append(total)
        scores["tokens"].append(total / len(ids))
        scores["bytes"].append(total / len(text))
        scores["unconditional"].append(total - alone)
    return {name: values.index(max(values)) for name, values in scores.items()}


def test_choices_by_each_of_the_scores():
    zero, one = evaluate_prompts(pretrained(), CHOICE, EXAMPLES, shots=(0, 1), seed=3, batch_size=2)
    for found in (zero, one):
        assert found.metrics["accuracy"] == found.metrics["accuracy_sum"]
        for name in ("sum", "tokens", "bytes", "unconditional"):
            hits = [outcome["chosen"][name] == outcome["right"] for outcome in found.outcomes]
            assert found.metrics[f"accuracy_{name}"] == sum(hits) / 4
    for example, outcome in zip(EXAMPLES, zero.outcomes, strict=True):
        assert outcome["chosen"] == by_definition(example)
        assert outcome["right"] == CHOICE.candidates.index(example["label"])
    assert (zero.shots, zero.shown, zero.cut) == (0, 0.0, 0)
    assert (one.shots, one.shown, one.cut) == (1, 1.0, 0)
    assert zero.outcomes != one.outcomes
    by_bytes = dataclasses.replace(CHOICE, score="bytes", unconditional="")
    [again] = evaluate_prompts(pretrained(), by_bytes, EXAMPLES, batch_size=2)
    assert again.metrics["accuracy"] == zero.metrics["accuracy_bytes"]
    assert "accuracy_unconditional" not in again.metrics


def test_only_as_many_demonstrations_as_fit():
    [found] = evaluate_prompts(pretrained(), CLOZE, EXAMPLES, shots=(3,), batch_size=4)
    assert (found.shown, found.cut) == (3, 0)
    long = [{**one, "what": one["what"] * 6} for one in EXAMPLES]
    [cut] = evaluate_prompts(pretrained(), CLOZE, long, shots=(3,), batch_size=4)
    assert cut.cut and 0 < cut.shown < 3


def test_cloze_counts_greedy_answers():
    reader = Reader.of(pretrained())
    [found] = evaluate_prompts(pretrained(), CLOZE, EXAMPLES, batch_size=4)
    for example, outcome in zip(EXAMPLES, found.outcomes, strict=True):
        ids = reader.encode(" " + example["label"])
        total, greedy = plainly(reader.encode(CLOZE.prompt_of(example)), ids)
        assert outcome["log_likelihood"] == pytest.approx(total, abs=2e-4)
        assert outcome["right"] == greedy and outcome["tokens"] == len(ids)
    assert found.metrics["accuracy"] == sum(one["right"] for one in found.outcomes) / 4
    assert found.metrics["perplexity"] > 1


def test_generated_texts_have_the_scores_that_were_asked_for():
    task = Generation(
        name="tldr",
        prompt="{what} TL;DR:",
        answer="{label}",
        metrics=("exact_match", "f1", "rouge", "bleu"),
        max_new_tokens=4,
    )
    [first] = evaluate_prompts(pretrained(), task, EXAMPLES, batch_size=4)
    said = [outcome["text"] for outcome in first.outcomes]
    truths = [{**one, "label": text or "zzz"} for one, text in zip(EXAMPLES, said, strict=True)]
    [again] = evaluate_prompts(pretrained(), task, truths, batch_size=4)
    assert again.metrics["exact_match"] == 100 * sum(map(bool, said)) / 4
    names = {"exact_match", "f1", "rouge1", "rouge2", "rougeL", "bleu"}
    assert set(again.metrics) == names and again.metrics["bleu"] > first.metrics["bleu"]


def test_running_text_has_perplexities():
    task = RunningText(name="text", stride=8)
    [found] = evaluate_prompts(pretrained(), task, [{"text": TEXT}, {"text": "yes"}], batch_size=4)
    assert set(found.metrics) == {
        *("token_perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte")
    }
    assert [outcome["bytes"] for outcome in found.outcomes] == [len(TEXT), 3]
    with pytest.raises(InputError, match="running text: it has no shots but 0"):
        evaluate_prompts(pretrained(), task, [{"text": TEXT}], shots=(0, 1))
    with pytest.raises(InputError, match="have no tokens"):
        evaluate_prompts(pretrained(), task, [{"text": ""}])


@pytest.mark.parametrize(
    ("task", "examples", "shots", "words"),
    [
        (CHOICE, [], (0,), "task sky has no examples"),
        (CHOICE, EXAMPLES, (-1,), "shots is -1"),
        (CHOICE, EXAMPLES, (4,), "task sky, example 0: 4 demonstrations cannot be drawn from 3"),
        (CHOICE, [{"waht": "a", "label": 0}], (0,), "example 0: unknown field of the template"),
        (
            CLOZE,
            [{"what": "a", "label": " "}],
            (0,),
            "example 0: the answer or candidate ' ' has no",
        ),
        (CLOZE, [{"what": TEXT, "label": "a"}], (0,), "example 0: its prompt has .* the model has"),
    ],
)
def test_bad_input_is_one_line(task, examples, shots, words):
    with pytest.raises(InputError, match=words):
        evaluate_prompts(pretrained(), task, examples, shots=shots)
