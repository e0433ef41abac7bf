"""The bidirectional language model: its rows, its loss by hand, and the sampled softmax."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.models.elmo import ElmoConfig
from flaxformers_edu.objectives import BidirectionalLM
from flaxformers_edu.objectives.sampled_softmax import draw, log_uniform_V, sampled_cross_entropy
from flaxformers_edu.text.characters import CharacterTokenizer, train_words, word_of

CORPUS = [{"sentences": ["the cat sat .", "the dog ran"]}, {"sentences": ["a cat ran ."]}]
TOKENIZER = train_words((s for e in CORPUS for s in e["sentences"]), vocab_size=9)
CONFIG = ElmoConfig(
    vocab_size=TOKENIZER.vocab_size,
    character_size=2,
    filters=((1, 4),),
    num_highway=0,
    projection_size=4,
    hidden_size=4,
    num_layers=1,
    dropout=0.0,
)


def rows(max_length=6):
    found = BidirectionalLM().encode_corpus(CORPUS, TOKENIZER, max_length=max_length, seed=0)
    return list(found)


def test_rows_are_sentences_one_after_another():
    columns = {"input_ids": [], "labels": [], "backward_labels": []}
    assert [len(row["input_ids"]) for row in rows()] == [6, 6, 5]
    for row in rows():
        for name, values in row.items():
            columns[name] += values
    words = [word_of(word) for word in columns["input_ids"]]
    assert " ".join(words) == ("<S> the cat sat . </S> <S> the dog ran </S> <S> a cat ran . </S>")
    numbers = TOKENIZER.word_ids(words)
    for place, word in enumerate(words):
        after = -100 if word == "</S>" else numbers[place + 1]
        before = -100 if word == "<S>" else numbers[place - 1]
        assert (columns["labels"][place], columns["backward_labels"][place]) == (after, before)


def test_raw_text_is_split_into_words():
    objective = BidirectionalLM(split_punctuation=True)
    assert objective.words("Don't (well-known) go, U.S.!") == [
        *("Don't", "(", "well-known", ")", "go", ",", "U.S", ".", "!")
    ]
    [text] = objective.texts({"text": "One, two."})
    assert text == "One , two ."


@pytest.fixture(scope="module")
def trained():
    """A model, parameters, a batch, and the jitted loss of an objective."""
    batch = BidirectionalLM().collate(CONFIG)(rows(), 4, 6)
    model = CONFIG.build("bidirectional_lm")
    variables = jax.jit(lambda key: model.init(key, **model.dummy_inputs()))(jax.random.key(0))
    params = jax.tree.map(lambda x: 5 * x, nn.meta.unbox(variables["params"]))
    return model, params, batch


def test_the_loss_is_the_mean_of_both_directions(trained):
    model, params, batch = trained
    loss = jax.jit(lambda p, b: BidirectionalLM(loss_chunks=2).loss(model, p, b, None))(
        params, batch
    )
    out = jax.jit(lambda p, b: model.apply({"params": p}, b["input_ids"], b["attention_mask"]))(
        params, batch
    )
    nlls = {}
    for direction, name in (("forward", "labels"), ("backward", "backward_labels")):
        logp = np.asarray(jax.nn.log_softmax(getattr(out, f"{direction}_logits")))
        labels = batch[name]
        nlls[direction] = [
            -logp[place][labels[place]] for place in zip(*np.nonzero(labels >= 0), strict=True)
        ]
    assert {name: len(nll) for name, nll in nlls.items()} == {"forward": 14, "backward": 14}
    both = np.concatenate(list(nlls.values()))
    assert float(loss.weight) == 28
    np.testing.assert_allclose(loss.sum, both.sum(), rtol=1e-5)
    means = {"loss": float(loss.sum / loss.weight)}
    means |= {name: float(value / loss.weight) for name, value in loss.counts.items()}
    found = BidirectionalLM().measures(means)
    assert found["perplexity"] == pytest.approx(np.exp(both.mean()), rel=1e-5)
    for direction, nll in nlls.items():
        assert found[f"{direction}_perplexity"] == pytest.approx(np.exp(np.mean(nll)), rel=1e-5)


def test_training_samples_and_evaluation_does_not(trained):
    model, params, batch = trained
    objective = BidirectionalLM(negatives=3)
    shapes = jax.eval_shape(
        lambda p, b: objective.loss(model, p, b, jax.random.key(1)), params, batch
    )
    assert shapes.counts == {} and objective.measures({"loss": 1.0}) == {"loss": 1.0}
    shapes = jax.eval_shape(lambda p, b: objective.loss(model, p, b, None), params, batch)
    assert "forward_nll" in shapes.counts


def test_words_are_drawn_by_zipfs_law_each_once():
    p_V = np.asarray(log_uniform_V(50))
    assert p_V.sum() == pytest.approx(1, abs=1e-5)
    assert p_V[0] == pytest.approx(np.log(2) / np.log(51), rel=1e-5)
    keys = jax.random.split(jax.random.key(0), 4000)
    numbers_NS, log_expected_NV = jax.jit(jax.vmap(lambda key: draw(key, 50, 8)))(keys)
    assert all(len(set(row)) == 8 for row in np.asarray(numbers_NS[:100]).tolist())
    # 1 / expected count, summed over the words drawn, estimates how many words there are.
    chosen_NS = jnp.take_along_axis(log_expected_NV, numbers_NS, axis=1)
    assert float(jnp.exp(-chosen_NS).sum(1).mean()) == pytest.approx(50, rel=0.03)


def test_the_sampled_partition_is_unbiased():
    """The mean over many samples of Σ exp(logit) / expected count is the whole softmax's sum."""
    rng = np.random.default_rng(0)
    hidden_ND = jnp.asarray(rng.standard_normal((2, 4)), jnp.float32)
    table_VD = jnp.asarray(rng.standard_normal((30, 4)), jnp.float32)
    bias_V = jnp.asarray(rng.standard_normal(30), jnp.float32)

    def partition(key):
        numbers_S, log_expected_V = draw(key, 30, 12)
        logits_NV = hidden_ND @ table_VD.T + bias_V[None] - log_expected_V[None]
        return jnp.exp(logits_NV[:, numbers_S]).sum(1)

    found_KN = jax.jit(jax.vmap(partition))(jax.random.split(jax.random.key(0), 20000))
    whole_N = jnp.exp(hidden_ND @ table_VD.T + bias_V[None]).sum(1)
    np.testing.assert_allclose(found_KN.mean(0), whole_N, rtol=0.03)


def test_nearly_all_words_sampled_give_nearly_the_whole_loss():
    rng = np.random.default_rng(1)
    hidden_ND = jnp.asarray(rng.standard_normal((3, 4)), jnp.float32)
    table_VD = jnp.asarray(rng.standard_normal((20, 4)), jnp.float32)
    labels_N = jnp.array([0, 7, -100])

    def mean_loss(key):
        return sampled_cross_entropy(hidden_ND, labels_N, table_VD, jnp.zeros(20), key, 19).sum

    found = jax.jit(jax.vmap(mean_loss))(jax.random.split(jax.random.key(2), 500)).mean()
    logp = jax.nn.log_softmax(hidden_ND @ table_VD.T)
    np.testing.assert_allclose(found, -(logp[0, 0] + logp[1, 7]), rtol=0.05)


def test_a_sampled_step_counts_the_words_that_it_compares_with():
    batch = {"input_ids": (2, 6, 50)}
    assert BidirectionalLM().shapes(batch) == batch
    parts = {
        negatives: CONFIG.forward_flops(
            BidirectionalLM(negatives=negatives).shapes(batch), task="bidirectional_lm"
        )
        for negatives in (0, 3)
    }
    assert parts[3].pop("output") == parts[0].pop("output") * 4 / CONFIG.vocab_size
    assert parts[3] == parts[0]


def test_bad_settings_are_refused():
    with pytest.raises(InputError, match="objective.negatives is -1"):
        BidirectionalLM(negatives=-1)
    with pytest.raises(InputError, match="below the 9 words"):
        BidirectionalLM(negatives=9).collate(CONFIG)
    with pytest.raises(InputError, match="packing"):
        BidirectionalLM().collate(CONFIG, packed=True)
    with pytest.raises(InputError, match="tokenizer.kind to elmo"):
        next(BidirectionalLM().encode_corpus(CORPUS, CharacterTokenizer(), max_length=4, seed=0))
