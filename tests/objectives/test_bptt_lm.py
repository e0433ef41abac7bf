"""BPTTLanguageModel: windows as batches, drawn lengths, regularisers by formula, carried states.

Dims: B streams, T length of a window, E embedding size.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.objectives import OBJECTIVES, BPTTLanguageModel
from tests.models.test_recurrent_lm import CONFIG
from tests.objectives.finetuning import tokenizer
from tests.trees import random_params

B, T = 3, 6
OBJECTIVE = BPTTLanguageModel(bptt=4, ar=2.0, tar=1.0)
KEY = jax.random.key(0)


def window(ids, length, begins=0):
    return {"input_ids": np.array(ids, np.int32), "length": length, "begins": begins}


# The second window ends the corpus; the third row is empty.
WINDOWS = [window([5, 6, 7, 8, 9], 4), window([2, 3, 4, 11], 4, 1)]
BATCH = jax.tree.map(jnp.asarray, OBJECTIVE.collate(CONFIG)(WINDOWS, B, T))


@pytest.fixture(scope="module")
def model():
    module = CONFIG.build()
    params = random_params(module, **module.dummy_inputs())
    states = jax.tree.map(
        lambda x: jnp.asarray(np.random.default_rng(1).normal(size=x.shape), jnp.float32),
        module.start(B),
    )

    @jax.jit
    def loss(batch, states, key):
        return OBJECTIVE.carried_loss(module, params, batch, key, states)

    @jax.jit
    def output(batch, states):
        ids, mask = batch["input_ids"], batch["attention_mask"]
        return module.apply({"params": params}, ids, mask, states=states)

    return module, params, states, loss, output


def test_a_batch_of_windows():
    assert OBJECTIVES["bptt_lm"] is BPTTLanguageModel
    np.testing.assert_array_equal(BATCH["input_ids"][0], [5, 6, 7, 8, 0, 0])
    np.testing.assert_array_equal(BATCH["labels"][0], [6, 7, 8, 9, -100, -100])
    np.testing.assert_array_equal(BATCH["labels"][1], [3, 4, 11, -100, -100, -100])
    np.testing.assert_array_equal(BATCH["attention_mask"].sum(axis=1), [4, 4, 0])
    np.testing.assert_array_equal(BATCH["begins"], [0, 1, 1])
    with pytest.raises(InputError, match="batching.packing"):
        OBJECTIVE.collate(CONFIG, packed=True)


def test_texts_may_be_read_from_their_end():
    pieces = tokenizer()
    forward, backward = (
        BPTTLanguageModel(backward=b).encode({"text": "the quick fox"}, pieces, max_length=2)
        for b in (False, True)
    )
    assert forward["input_ids"][::-1] == backward["input_ids"] and len(forward["input_ids"]) > 2


def test_lengths_of_windows():
    """95% around 70, the others around 35, none below 5 (Merity et al. 2017, section 4.1)."""
    objective = BPTTLanguageModel()
    drawn = objective.lengths(np.random.default_rng(0), 85, 20_000)
    short = drawn < 50
    assert short.mean() == pytest.approx(0.05, abs=0.005)
    assert drawn[~short].mean() == pytest.approx(69.5, abs=0.2)  # rounded down
    assert drawn[~short].std() == pytest.approx(5, abs=0.2)
    assert drawn[short].mean() == pytest.approx(34.5, abs=0.5)
    assert (drawn >= 5).all() and drawn.max() <= 85
    steady = BPTTLanguageModel(bptt=7, deviation=0.0)
    assert (steady.lengths(np.random.default_rng(0), 9, 5) == 7).all()
    assert float(OBJECTIVE.update_factor(BATCH)) == 1.0
    assert float(BPTTLanguageModel(bptt=8).update_factor(BATCH)) == 0.5


def test_regularisers_by_their_formulas(model):
    """α · mean(h²) + β · mean((h_t+1 - h_t)²) over the real places; not where it is evaluated."""
    _, _, states, loss, output = model
    plain, after = loss(BATCH, states, None)
    trained, _ = loss(BATCH, states, KEY)
    assert set(plain.counts) == {"accuracy", "nll"}
    forgetting = jax.tree.map(lambda x: x.at[1:].set(0.0), states)  # rows that begin
    out = output(BATCH, forgetting)
    hidden = np.asarray(out.undropped_state)[:2, :4]
    ar, tar = (hidden**2).mean(), ((hidden[:, 1:] - hidden[:, :-1]) ** 2).mean()
    found = float(trained.sum / trained.weight)
    assert found == pytest.approx(float(plain.sum / plain.weight) + 2 * ar + tar, rel=1e-5)
    means = {name: float(x / trained.weight) for name, x in trained.counts.items()}
    measures = OBJECTIVE.measures({"loss": found, **means})
    assert measures["ar_loss"] == pytest.approx(ar, rel=1e-5)
    assert measures["tar_loss"] == pytest.approx(tar, rel=1e-5)
    assert measures["perplexity"] == pytest.approx(np.exp(means["nll"]))
    for one, other in zip(jax.tree.leaves(after), jax.tree.leaves(out.states), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_nothing_is_learnt_through_what_is_carried(model):
    module, params, states, _, _ = model

    @jax.jit
    def gradient(states):
        def next_state(states):
            after = OBJECTIVE.carried_loss(module, params, BATCH, None, states)[1]
            return sum(x.sum() for x in jax.tree.leaves(after))

        return jax.grad(next_state)(states)

    assert not any(x.any() for x in jax.tree.leaves(gradient(states)))


def test_chunks_of_logits_change_nothing(model):
    module, params, states, loss, _ = model
    chunked = BPTTLanguageModel(bptt=4, loss_chunks=3)
    run = jax.jit(lambda s: chunked.carried_loss(module, params, BATCH, None, s)[0])
    assert float(run(states).sum) == pytest.approx(
        float(loss(BATCH, states, None)[0].sum), rel=1e-5
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"bptt": 0}, "objective.bptt is 0; it must be at least 1"),
        ({"ar": -1.0}, "objective.ar is -1.0; it must be 0 or more"),
        ({"deviation": float("inf")}, "objective.deviation is inf"),
        ({"loss_chunks": 0}, "objective.loss_chunks is 0"),
    ],
)
def test_bad_fields(fields, message):
    with pytest.raises(InputError, match=message):
        BPTTLanguageModel(**fields)
