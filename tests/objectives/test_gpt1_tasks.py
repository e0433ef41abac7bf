"""GPT-1's four formats: the rows, the two losses as plain numpy has them, and what is refused.

Dims: B rows, C texts of a row, T length, D hidden size, V vocabulary.
"""

import dataclasses
import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.models import BertConfig, GPTConfig, LlamaConfig
from flaxformers_edu.objectives import (
    OBJECTIVES,
    GPT1Classification,
    GPT1MultipleChoice,
    GPT1Regression,
)
from tests.objectives.finetuning import encode, tokenizer
from tests.trees import random_params
from train.measure import step_flops
from train.saved import from_json, to_json

PLAIN = tokenizer()
PIECES = PLAIN.with_task_tokens()
START, DELIMITER, EXTRACT = range(PLAIN.vocab_size, PLAIN.vocab_size + 3)
CONFIG = GPTConfig(
    vocab_size=PIECES.vocab_size,
    hidden_size=8,
    num_layers=1,
    num_heads=2,
    intermediate_size=12,
    max_length=32,
    pad_token_id=0,
    eos_token_id=3,
    dropout=0.0,
    embedding_dropout=0.0,
    attention_dropout=0.0,
    classifier_dropout=0.0,
    layout="unrolled",
)
ONE = {"text": "the quick fox", "label": "positive"}
TWO = {"text": "the quick brown fox jumps", "text_pair": "lazy dog", "label": 0}
CHOICE = {"question": "the fox", "choices": ["dog", "old river", "bank"], "label": "C"}

CLASSIFY = GPT1Classification(labels=("negative", "positive"))
ALIKE = GPT1Classification(labels=("other", "same"), symmetric=True)
NUMBER = GPT1Regression()
CHOOSE = GPT1MultipleChoice(labels=("A", "B", "C"))


def ids(text):
    return PLAIN.encode(text, add_eos=False)


def batch_of(objective, examples, config=CONFIG, rows=None, length=16):
    """The rows of examples, and a batch of them."""
    found = encode(objective, examples, PIECES)
    arrays = objective.collate(config)(list(found), rows or len(examples), length)
    return found, jax.tree.map(jnp.asarray, arrays)


# The formats.


def test_one_text():
    row = CLASSIFY.encode(ONE, PIECES, max_length=16)
    assert row["input_ids"] == [START, *ids(ONE["text"]), EXTRACT]
    assert row["labels"] == [1]


def test_premise_and_hypothesis():
    row = CLASSIFY.encode(TWO, PIECES, max_length=16)
    a, b = ids(TWO["text"]), ids(TWO["text_pair"])
    assert row["input_ids"] == [START, *a, DELIMITER, *b, EXTRACT]
    assert row["length"] == [len(a) + len(b) + 3]


@pytest.mark.parametrize("objective", [ALIKE, NUMBER], ids=["label", "number"])
def test_both_orders_of_a_pair(objective):
    row = objective.encode(TWO, PIECES, max_length=16)
    a, b = ids(TWO["text"]), ids(TWO["text_pair"])
    assert row["input_ids"] == [
        *(START, *a, DELIMITER, *b, EXTRACT),
        *(START, *b, DELIMITER, *a, EXTRACT),
    ]
    assert row["choice_lengths"] == [len(a) + len(b) + 3] * 2
    assert row["labels"] == [0]


def test_an_answer_each():
    rows, batch = batch_of(CHOOSE, [CHOICE], rows=2)
    assert batch["input_ids"].shape == (2, 3, 16)
    for place, answer in enumerate(CHOICE["choices"]):
        wanted = [START, *ids(CHOICE["question"]), DELIMITER, *ids(answer), EXTRACT]
        mask = np.asarray(batch["attention_mask"][0, place]) != 0
        assert np.asarray(batch["input_ids"][0, place])[mask].tolist() == wanted
    np.testing.assert_array_equal(batch["labels"], [2, -100])
    assert not batch["attention_mask"][1].any()
    assert rows.lengths.max() == batch["attention_mask"].sum(-1).max()


def test_the_longer_text_is_cut_and_the_last_token_stays():
    row = CLASSIFY.encode(TWO, PIECES, max_length=8)
    a, b = ids(TWO["text"]), ids(TWO["text_pair"])
    kept = 5 - len(b)
    assert 0 < kept < len(a)
    assert row["input_ids"] == [START, *a[:kept], DELIMITER, *b, EXTRACT]
    assert CLASSIFY.encode(ONE, PIECES, max_length=4)["input_ids"] == [
        START, *ids(ONE["text"])[:2], EXTRACT
    ]  # fmt: skip


# The losses.


@pytest.fixture(scope="module")
def models():
    """A module for each objective, and parameters; the body and the table are the same."""
    found = {}
    for objective in (CLASSIFY, ALIKE, NUMBER, CHOOSE):
        config = dataclasses.replace(CONFIG, num_labels=getattr(objective, "num_labels", 2))
        module = config.build(objective.task)
        found[objective] = config, module, random_params(module, **module.dummy_inputs())
    return found


def log_softmax(x):
    x = np.asarray(x, np.float64)
    x = x - x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


@jax.jit
def language_model(params, ids_RT, mask_RT):
    """Logits and states of a language model with the body and the table of `params`."""
    body = {name: leaf for name, leaf in params.items() if name != "classifier"}
    output = CONFIG.build("causal_lm").apply({"params": body}, ids_RT, mask_RT)
    return output.logits, output.last_hidden_state


def by_hand(params, batch, head):
    """(the task's logits, the mean over rows of the mean nll of a row's tokens), in numpy."""
    B, C, T = batch["input_ids"].shape
    flat = [np.zeros((6, T), np.int32) for _ in range(2)]  # one shape for all cases
    for array, name in zip(flat, ("input_ids", "attention_mask"), strict=True):
        array[: B * C] = np.asarray(batch[name]).reshape(-1, T)
    logits_RTV, states_RTD = map(np.asarray, language_model(params, *flat))
    rows = []
    for ids, mask, logits in zip(*flat, logits_RTV, strict=True):
        n = mask.sum()
        if n:
            rows.append(-log_softmax(logits)[np.arange(n - 1), ids[1:n]].mean())
    last = [states[mask.sum() - 1] for states, mask in zip(states_RTD, flat[1], strict=True)]
    x_BCD = np.array(last, np.float64)[: B * C].reshape(B, C, -1)
    return head(x_BCD), float(np.mean(rows))


def linear(params, x):
    classifier = params["classifier"]
    return x @ np.asarray(classifier["kernel"], np.float64) + np.asarray(classifier.get("bias", 0))


def nll(logits, labels):
    return -log_softmax(logits)[np.arange(len(labels)), labels].mean()


CASES = {
    "classification": (
        CLASSIFY,
        [ONE, TWO],
        lambda params, x: linear(params, x[:, 0]),
        lambda logits: nll(logits, [1, 0]),
    ),
    "similarity": (
        ALIKE,
        [TWO, {**TWO, "text_pair": "the bank", "label": 1}],
        lambda params, x: linear(params, x[:, 0] + x[:, 1]),
        lambda logits: nll(logits, [0, 1]),
    ),
    "number": (
        NUMBER,
        [{**TWO, "label": 2.5}],
        lambda params, x: linear(params, x[:, 0] + x[:, 1]),
        lambda logits: ((logits[:, 0] - 2.5) ** 2).mean(),
    ),
    "choice": (
        CHOOSE,
        [CHOICE, {**CHOICE, "question": "the lazy dog near", "label": "A"}],
        lambda params, x: linear(params, x)[..., 0],
        lambda logits: nll(logits, [2, 0]),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_joint_loss_is_that_of_plain_numpy(name, models):
    objective, examples, head, of_task = CASES[name]
    config, module, params = models[objective]
    _, batch = batch_of(objective, examples, config)
    logits, language = by_hand(params, batch, partial(head, params))
    _, padded = batch_of(objective, examples, config, rows=len(examples) + 1)  # one is empty
    loss = jax.jit(partial(objective.loss, module))(params, padded, None)
    assert loss.weight == len(examples)
    mean = float(loss.sum / loss.weight)
    assert mean == pytest.approx(of_task(logits) + 0.5 * language, rel=1e-5)

    means = {name: float(x / loss.weight) for name, x in loss.counts.items()}
    measures = objective.measures({"loss": mean, **means})
    assert measures["task_loss"] == pytest.approx(of_task(logits), rel=1e-5)
    assert measures["lm_loss"] == pytest.approx(language, rel=1e-5)
    assert measures["loss"] == pytest.approx(mean, rel=1e-5)


def test_without_the_weight_there_is_the_task_alone(models):
    config, module, params = models[CLASSIFY]
    alone = dataclasses.replace(CLASSIFY, lm_weight=0.0)
    _, batch = batch_of(alone, [ONE, TWO], config)
    both = jax.jit(partial(CLASSIFY.loss, module))(params, batch, None)
    one = jax.jit(partial(alone.loss, module))(params, batch, None)
    assert float(one.sum) == pytest.approx(float(both.counts["task_loss"]), rel=1e-6)
    assert set(one.counts) == {"accuracy", "nll"}
    assert alone.measures({"loss": 1.0, "nll": 1.0}) == {"loss": 1.0}
    assert (CLASSIFY.auxiliary_task, alone.auxiliary_task) == ("causal_lm", "")


def test_similarity_has_no_order(models):
    config, module, params = models[NUMBER]
    swapped = {**TWO, "text": TWO["text_pair"], "text_pair": TWO["text"]}
    rows, batch = batch_of(NUMBER, [TWO, swapped], config)
    values = jax.jit(partial(NUMBER.predict, module))(params, batch)["values"]
    np.testing.assert_allclose(values[0], values[1], rtol=1e-5)
    assert NUMBER.outcomes([{"values": np.asarray(v)} for v in values], rows, [], PIECES) == [
        {"value": pytest.approx(float(values[0, 0]))}, {"value": pytest.approx(float(values[0, 0]))}
    ]  # fmt: skip


def test_what_is_dropped_is_the_same_for_all_choices(models):
    """Equal choices keep equal scores: their loss is that of guessing, and dropout acts on it."""
    config = dataclasses.replace(CONFIG, classifier_dropout=0.5)
    module, params = config.build("multiple_choice"), models[CHOOSE][2]
    alone = dataclasses.replace(CHOOSE, lm_weight=0.0)
    _, batch = batch_of(alone, [{**CHOICE, "choices": ["dog"] * 3}], config)
    logits = jax.jit(partial(alone.logits, module))
    kept, dropped = (logits(params, batch, key) for key in (None, jax.random.key(0)))
    np.testing.assert_allclose(dropped, dropped[:, :1].repeat(3, axis=1), rtol=1e-6)
    assert abs(float(kept[0, 0] - dropped[0, 0])) > 1e-3


def test_the_auxiliary_output_layer_is_counted():
    shapes = {"input_ids": (4, 1, 16)}
    experiment = type("Experiment", (), {"model": CONFIG, "objective": CLASSIFY})
    alone = type("Experiment", (), {"model": CONFIG, "objective": dataclasses.replace(
        CLASSIFY, lm_weight=0.0)})  # fmt: skip
    more = step_flops(experiment, shapes) - step_flops(alone, shapes)
    assert more == 3 * 2 * 4 * 16 * CONFIG.hidden_size * CONFIG.vocab_size


def test_they_survive_their_json():
    for objective in (CLASSIFY, ALIKE, NUMBER, CHOOSE):
        assert type(objective) in OBJECTIVES.values()
        assert from_json(json.loads(json.dumps(to_json(objective)))) == objective


# What is refused.


@pytest.mark.parametrize(
    ("objective", "example", "message"),
    [
        (CLASSIFY, {**ONE, "label": "good"}, "label 'good' is none of objective.labels: negative"),
        (CHOOSE, {**CHOICE, "label": "D"}, "label 'D' is none of objective.labels: A, B, C"),
        (NUMBER, {**TWO, "label": "high"}, "label 'high' is not a number"),
        (ALIKE, {**ONE, "label": 0}, "there is no field 'text_pair', and similarity is of two"),
    ],
)
def test_bad_examples(objective, example, message):
    with pytest.raises(InputError, match=message):
        objective.encode(example, PIECES, max_length=16)


@pytest.mark.parametrize(
    ("objective", "example"), [(CLASSIFY, ONE), (ALIKE, TWO), (CHOOSE, CHOICE)]
)
def test_no_room_and_no_tokens(objective, example):
    with pytest.raises(InputError, match=r"no room for text beside . special tokens"):
        objective.encode(example, PIECES, max_length=2)
    with pytest.raises(InputError, match=r"the tokeniser has no start, delimiter and extract"):
        objective.encode(example, PLAIN, max_length=16)


def test_bad_settings():
    with pytest.raises(InputError, match="objective.lm_weight is -1.0; it must be 0 or more"):
        GPT1MultipleChoice(lm_weight=-1.0)
    with pytest.raises(InputError, match="model.num_labels is 2, but the objective predicts 1"):
        NUMBER.collate(CONFIG)
    with pytest.raises(InputError, match="batching.packing is set"):
        CHOOSE.collate(CONFIG, packed=True)
    with pytest.raises(InputError, match="a BertConfig, and GPT-1's tasks are for one that reads"):
        CLASSIFY.collate(BertConfig())
    untied = LlamaConfig(num_labels=2, tie_embeddings=False)
    with pytest.raises(InputError, match="set model.tie_embeddings, or objective.lm_weight to 0"):
        CLASSIFY.collate(untied)
    dataclasses.replace(CLASSIFY, lm_weight=0.0).collate(untied)
