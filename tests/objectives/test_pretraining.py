"""MaskedLM, BertPretraining, ReplacedTokenDetection: rows, losses, and what gradients reach."""

import collections
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.models import AlbertConfig, BertConfig, ElectraConfig, RobertaConfig
from flaxformers_edu.objectives import (
    OBJECTIVES,
    BertPretraining,
    Loss,
    MaskedLM,
    Masking,
    ReplacedTokenDetection,
)
from flaxformers_edu.objectives.masking import mask_batch
from flaxformers_edu.objectives.replaced_tokens import detection_loss, replace
from flaxformers_edu.text.sentencepiece_training import train_sentencepiece
from flaxformers_edu.text.training import train_byte_bpe, train_wordpiece

SIZES = {
    "vocab_size": 120, "hidden_size": 16, "num_layers": 1, "num_heads": 2, "intermediate_size": 32,
    "max_length": 32, "eos_token_id": 3, "mask_token_id": 4, "layout": "unrolled", "dropout": 0.0,
    "attention_dropout": 0.0,
}  # fmt: skip
BERT = BertConfig(**SIZES)
WORDS = ["the", "a", "cat", "dog", "park", "sees", "meets", "walking", "quickly", "under", "trees"]


def a_corpus(documents: int = 8) -> list[dict]:
    rng = np.random.default_rng(0)
    return [
        {"sentences": [" ".join(rng.choice(WORDS, 7)) + "." for _ in range(6)]}
        for _ in range(documents)
    ]


@pytest.fixture(scope="module")
def tokenizer():
    return train_wordpiece([s for d in a_corpus() for s in d["sentences"]], vocab_size=70)


def rows_of(objective, tokenizer, max_length: int = 32, seed: int = 0) -> list[dict]:
    return list(objective.encode_corpus(a_corpus(), tokenizer, max_length=max_length, seed=seed))


def batch_of(objective, rows, config) -> dict:
    batch = objective.collate(config)(rows, len(rows), 32)
    return {name: jnp.asarray(array) for name, array in batch.items()}


@functools.cache
def started(config, task: str):
    """The model and its initial parameters. Compiled whole: op by op takes ten times as long."""
    model = config.build(task)
    params = jax.jit(model.init)(jax.random.key(0), **model.dummy_inputs())["params"]
    return model, nn.meta.unbox(params)


def loss_of(objective, model, params, key=None):
    """The loss as a compiled function of the batch."""
    compiled = jax.jit(lambda params, batch: objective.loss(model, params, batch, key))
    return functools.partial(compiled, params)


@pytest.mark.parametrize("name", ["masked_lm", "bert_pretraining", "replaced_tokens"])
def test_rows(name, tokenizer) -> None:
    objective = OBJECTIVES[name]()
    rows = rows_of(objective, tokenizer)
    for row in rows:
        ids, maskable = row["input_ids"], row["maskable"]
        assert 3 <= len(ids) <= 32
        assert len(ids) == len(maskable) == len(row["token_type_ids"])
        assert (ids[0], ids[-1]) == (2, 3)
        np.testing.assert_array_equal(maskable == 0, np.isin(ids, [0, 2, 3, 4]))
        assert maskable[1] == 1
        if "sentence_labels" in row:
            assert row["token_type_ids"].max() == 1
    np.testing.assert_array_equal(
        rows[1]["input_ids"], rows_of(objective, tokenizer)[1]["input_ids"]
    )
    batch = objective.collate(BERT)(rows[:2], 3, 40)
    assert batch["maskable"].shape == (3, 40)
    assert not batch["maskable"][2].any()
    assert not batch["attention_mask"][2].any()
    empty = objective.collate(BERT)([], 2, 8)
    assert {name: array.shape for name, array in empty.items()}.keys() == batch.keys()
    assert objective.shapes({"input_ids": (2, 40)})["predict_positions"] == (2, 6)
    with pytest.raises(InputError, match="batching.packing"):
        objective.collate(BERT, packed=True)
    plain = train_sentencepiece(WORDS, vocab_size=25)
    with pytest.raises(InputError, match="no mask token"):
        rows_of(objective, plain)
    with pytest.raises(InputError, match="no room for text"):
        rows_of(objective, tokenizer, max_length=2)


@pytest.mark.parametrize("name", ["masked_lm", "bert_pretraining", "replaced_tokens"])
def test_rows_know_how_often_their_tokens_stand_in_the_corpus(name, tokenizer) -> None:
    objective = OBJECTIVES[name](masking=Masking(smoothing=0.7))
    sentences = [tokenizer.encode(s, add_eos=False) for d in a_corpus() for s in d["sentences"]]
    counts = collections.Counter(token for ids in sentences for token in ids)
    rows = rows_of(objective, tokenizer)[:3]
    for row in rows:
        assert row["counts"].tolist() == [counts[token] for token in row["input_ids"].tolist()]
    batch = batch_of(objective, rows, BERT)
    assert batch["counts"].shape == batch["maskable"].shape
    assert "counts" not in batch_of(OBJECTIVES[name](), rows, BERT)
    inputs, labels = mask_batch(batch, BERT, objective.masking, jax.random.key(0))
    assert "counts" not in inputs
    assert (labels != -100).any()


def test_pretraining_rows_differ_by_seed_and_duplicate(tokenizer) -> None:
    once = rows_of(BertPretraining(), tokenizer)
    thrice = rows_of(BertPretraining(duplicates=3), tokenizer)
    assert 2.5 < len(thrice) / len(once) < 3.5
    assert any(
        not np.array_equal(a["input_ids"], b["input_ids"])
        for a, b in zip(once, thrice[len(once) :], strict=False)
    )
    labels = [row["sentence_labels"][0] for row in thrice]
    assert 0.2 < np.mean(labels) < 0.8


def test_masked_lm_is_cross_entropy_of_what_is_hidden() -> None:
    config = RobertaConfig(**(SIZES | {"eos_token_id": 2, "pad_token_id": 1}), num_token_types=1)
    sentences = [s for d in a_corpus() for s in d["sentences"]]
    tokenizer = train_byte_bpe(sentences, vocab_size=300)
    config = config.__class__(**{**config.__dict__, "vocab_size": 300})
    objective = MaskedLM()
    batch = batch_of(objective, rows_of(objective, tokenizer)[:4], config)
    assert "token_type_ids" not in batch
    model, params = started(config, "masked_lm")
    measure = loss_of(objective, model, params)
    loss = measure(batch)
    inputs, labels = jax.jit(lambda batch: objective.mask(batch, config, None))(batch)
    apply = jax.jit(model.apply)
    logits = apply({"params": params}, inputs["input_ids"], inputs["attention_mask"]).logits
    nll = -np.asarray(jax.nn.log_softmax(logits))
    total = sum(
        float(nll[row, place, label])
        for row, places in enumerate(np.asarray(inputs["predict_positions"]))
        for place, label in zip(places, np.asarray(labels[row]), strict=True)
        if label != -100
    )
    np.testing.assert_allclose(loss.sum, total, rtol=1e-5)
    assert loss.weight == (labels != -100).sum()
    assert loss.sum == measure(batch).sum
    assert loss.sum != loss_of(objective, model, params, jax.random.key(1))(batch).sum
    means = objective.measures({"loss": 2.0, "nll": 2.0, "accuracy": 0.5})
    assert means["perplexity"] == pytest.approx(np.exp(2.0))


@pytest.mark.parametrize("pairs", ["nsp", "sop"])
def test_joint_loss_is_the_sum_of_both_means(pairs, tokenizer) -> None:
    config = BERT if pairs == "nsp" else AlbertConfig(**SIZES, embedding_size=8)
    objective = BertPretraining(pairs=pairs)
    rows = rows_of(objective, tokenizer)[:6]
    batch = objective.collate(config)(rows, 8, 32)  # two empty rows count for nothing
    batch = {name: jnp.asarray(array) for name, array in batch.items()}
    model, params = started(config, "pretraining")
    loss = loss_of(objective, model, params)(batch)
    means = {name: float(value / loss.weight) for name, value in loss.counts.items()}
    found = objective.measures({"loss": float(loss.sum / loss.weight), **means})
    np.testing.assert_allclose(found["loss"], loss.sum / loss.weight, rtol=1e-6)
    np.testing.assert_allclose(found["loss"], found["nll"] + found["sentence_loss"], rtol=1e-6)
    assert float(loss.counts["sentence_weight"]) == 6
    # Of few words and two answers, untrained: near the logarithms of what there is to choose from.
    assert found["nll"] == pytest.approx(np.log(120), abs=0.5)
    assert found["sentence_loss"] == pytest.approx(np.log(2), abs=0.2)
    with pytest.raises(InputError, match="did you mean 'sop'"):
        BertPretraining(pairs="sopp")


def test_parts_of_an_accumulated_batch(tokenizer) -> None:
    objective = BertPretraining(masking=Masking(masked=1.0, random=0.0))
    batch = batch_of(objective, rows_of(objective, tokenizer)[:8], BERT)
    model, params = started(BERT, "pretraining")
    measure = loss_of(objective, model, params)

    def parts(of: list[dict]) -> Loss:
        first, *rest = map(measure, of)
        for loss in rest:
            first += loss
        return first

    split = [{name: x[start : start + 4] for name, x in batch.items()} for start in (0, 4)]
    both = parts(split)
    means = {name: float(value / both.weight) for name, value in both.counts.items()}
    exact = objective.measures(means)["loss"]
    # The measured means are exact; the sum that is differentiated is so up to the parts' ratios.
    halves = [parts([half]) for half in split]
    sentence = sum(h.counts["sentence_loss"] for h in halves) / 8
    np.testing.assert_allclose(exact, means["nll"] + sentence, rtol=1e-6)
    np.testing.assert_allclose(both.sum / both.weight, exact, rtol=0.02)
    assert both.counts["sentence_weight"] == 8


def test_no_gradient_passes_through_what_is_drawn(tokenizer) -> None:
    config = ElectraConfig(**SIZES, generator_fraction=0.5)
    objective = ReplacedTokenDetection()
    batch = batch_of(objective, rows_of(objective, tokenizer)[:4], config)
    model, params = started(config, "joint_pretraining")

    def gradients(weight: float) -> dict:
        objective = ReplacedTokenDetection(discriminator_weight=weight)
        key = jax.random.key(7)
        return jax.jit(jax.grad(lambda p: objective.loss(model, p, batch, key).sum))(params)

    alone, joint = gradients(0.0), gradients(50.0)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        alone["generator"], joint["generator"],
    )  # fmt: skip
    assert not any(
        jnp.any(g) for g in jax.tree.leaves(alone["discriminator"]["discriminator_head"])
    )
    shared = joint["discriminator"]["embeddings"]["token"]["embedding"]
    assert not np.allclose(shared, alone["discriminator"]["embeddings"]["token"]["embedding"])


def test_replaced_tokens_measures(tokenizer) -> None:
    config = ElectraConfig(**SIZES, generator_fraction=0.5)
    objective = ReplacedTokenDetection()
    batch = batch_of(objective, rows_of(objective, tokenizer)[:4], config)
    model, params = started(config, "joint_pretraining")
    loss = loss_of(objective, model, params)(batch)
    means = {name: float(value / loss.weight) for name, value in loss.counts.items()}
    found = objective.measures({"loss": float(loss.sum / loss.weight), **means})
    np.testing.assert_allclose(found["loss"], loss.sum / loss.weight, rtol=1e-5)
    assert loss.counts["discriminator_weight"] == batch["attention_mask"].sum()
    # An untrained generator guesses hardly any of 15% right.
    assert 0.1 < found["replaced"] < 0.16
    assert found["discriminator_loss"] == pytest.approx(np.log(2), abs=0.2)
    assert found["explained"] < 0  # it does not know yet that few are


@pytest.mark.parametrize(("right", "explained"), [(0.0, 0.0), (1.0, 1.0)])
def test_what_a_discriminator_explains(right: float, explained: float) -> None:
    """Of one that says one tenth of each token, and one that knows them."""
    uncertain = -0.1 * np.log(0.1) - 0.9 * np.log(0.9)
    means = {
        "nll": 1.0,
        "accuracy": 0.0,
        "discriminator_weight": 2.0,
        "discriminator_loss": 2 * (0.0 if right else uncertain),
        "discriminator_accuracy": 2.0,
        "discriminator_replaced": 0.2,
        "discriminator_called": 0.2 * right,
        "discriminator_right": 0.2 * right,
    }
    found = ReplacedTokenDetection().measures({"loss": 1.0, **means})
    assert found["explained"] == pytest.approx(explained, abs=1e-9)
    assert found["recall"] == found["precision"] == right


def test_replace_and_detect() -> None:
    ids = jnp.array([[2, 7, 8, 9, 3]])
    new = replace(ids, jnp.array([[1, 3, 0]]), jnp.array([[7, 5, -100]]))
    np.testing.assert_array_equal(new, [[2, 7, 8, 5, 3]])
    logits = jnp.array([[-1.0, 2.0, -2.0, 3.0, 9.0]])
    mask = jnp.array([[1, 1, 1, 1, 0]])
    loss = detection_loss(logits, new != ids, mask)
    real = [np.log1p(np.exp(x)) for x in (-1.0, 2.0, -2.0)] + [np.log1p(np.exp(-3.0))]
    np.testing.assert_allclose(loss.sum, sum(real), rtol=1e-6)
    assert loss.weight == 4
    counts = {name: float(value) for name, value in loss.counts.items()}
    assert counts == {"accuracy": 3, "replaced": 1, "called": 2, "right": 1}


def test_bad_fields() -> None:
    with pytest.raises(InputError, match=r"objective.duplicates is 0"):
        BertPretraining(duplicates=0)
    with pytest.raises(InputError, match=r"objective.short_fraction is 2"):
        BertPretraining(short_fraction=2)
    with pytest.raises(InputError, match=r"objective.discriminator_weight is -1"):
        ReplacedTokenDetection(discriminator_weight=-1)
    with pytest.raises(InputError, match="num_token_types is 1"):
        BertPretraining().collate(RobertaConfig(**SIZES, num_token_types=1))
