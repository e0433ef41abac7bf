"""AWD-LSTM: sizes, what is dropped, states that go in and come out, chunks, decoding, bad fields.

Dims: B batch, T length, N hypotheses a row.
"""

import dataclasses
import math
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import flaxformers_edu as ff
from flaxformers_edu import flops
from flaxformers_edu.errors import InputError
from flaxformers_edu.models.awd_lstm import PRESETS, TASKS, AWDLSTMConfig, parameter_count
from flaxformers_edu.sharding import PARAMETER_RULES
from tests.models.decoders import assert_cached_decoding_equals_full_recomputation
from tests.trees import random_params, shapes

V, B, T = 19, 3, 10
STILL = dict.fromkeys(
    (f"{rate}_dropout" for rate in ("embedding", "input", "weight", "hidden", "output")), 0.0
)
CONFIG = AWDLSTMConfig(
    vocab_size=V,
    embedding_size=4,
    hidden_size=6,
    num_layers=2,
    chunk_length=4,
    pooled_length=8,
    classifier_size=5,
    num_labels=3,
    pad_token_id=0,
    eos_token_id=1,
    **STILL | {"classifier_dropout": 0.0},
)
IDS = np.random.default_rng(0).integers(2, V, (B, T))


@pytest.fixture(scope="module")
def language():
    module = CONFIG.build()
    params = random_params(module, **module.dummy_inputs())

    @jax.jit
    def run(ids, mask=None, states=None):
        return module.apply({"params": params}, ids, mask, states=states)

    return module, params, run


@pytest.fixture(scope="module")
def classifier():
    module = CONFIG.build("sequence_classification")
    params = random_params(module, **module.dummy_inputs())
    return module, params, jax.jit(partial(module.apply, {"params": params}))


@pytest.mark.parametrize(("name", "number"), [("awd-lstm-ptb", 24_221_600), ("ulmfit", 44_333_280)])
def test_published_sizes(name, number):
    assert parameter_count(PRESETS[name]) == ff.count_params(PRESETS[name], "causal_lm") == number


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("layers", [1, 3])
def test_formula_of_the_count(task, layers):
    config = dataclasses.replace(CONFIG, num_layers=layers)
    assert parameter_count(config, task) == ff.count_params(config, task)


def test_names_and_axes():
    tree = shapes(CONFIG.build("sequence_classification"), jnp.zeros((1, 1), jnp.int32))
    assert set(tree) == {"embedding", "layers", "classifier"}
    assert set(tree["layers"]) == {"0", "1"}
    boxed = jax.tree.leaves(tree, is_leaf=lambda x: isinstance(x, nn.LogicallyPartitioned))
    assert {name for leaf in boxed for name in leaf.names} <= set(PARAMETER_RULES)
    base = shapes(CONFIG.build("base"), jnp.zeros((1, 1), jnp.int32))
    assert set(base) == {"embedding", "layers"}


def test_states_go_on_and_padding_changes_nothing(language):
    """In two windows, the first of them padded: as in one."""
    _, _, run = language
    whole = run(IDS)
    padded = np.concatenate([IDS[:, :4], np.zeros((B, 2), int)], axis=1)
    first = run(padded, (np.arange(6) < 4).astype(int)[None].repeat(B, 0))
    second = run(IDS[:, 4:], None, first.states)
    np.testing.assert_allclose(first.logits[:, :4], whole.logits[:, :4], atol=1e-6)
    np.testing.assert_allclose(second.logits, whole.logits[:, 4:], atol=1e-6)
    for one, other in zip(
        jax.tree.leaves(second.states), jax.tree.leaves(whole.states), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_cached_decoding_equals_full_recomputation(language):
    module, params, _ = language
    assert_cached_decoding_equals_full_recomputation(module, params)


def test_generates(language):
    module, params, run = language
    found = ff.generate(module, params, IDS[:, :3], max_new_tokens=4, num_beams=1, eos_token_id=1)
    tokens = IDS[:, :3]
    for _ in range(4):
        newest = np.asarray(run(tokens).logits[:, -1].argmax(axis=-1))
        tokens = np.concatenate([tokens, newest[:, None]], axis=1)
    row = int(np.argmin([(t[3:] == 1).any() for t in tokens]))  # one that does not end early
    np.testing.assert_array_equal(np.asarray(found.sequences)[row], tokens[row])


def test_a_text_is_classified_alike_on_whichever_side_it_is_padded(classifier):
    _, _, run = classifier
    text = IDS[:1, :6]
    alone = run(text).logits
    right, left = np.zeros((2, 1, T), int)
    right[:, :6], left[:, -6:] = text, text
    for ids, mask in ((right, np.arange(T) < 6), (left, np.arange(T) >= T - 6)):
        found = run(ids, mask[None].astype(int)).logits
        np.testing.assert_allclose(found, alone, atol=1e-6)


def test_pooled_are_the_last_tokens_and_gradients_stop_between_chunks(classifier):
    """Ten tokens are chunks of 2, 4 and 4 that all are read, and of which the last two are pooled.

    The words of the first change what is pooled, through the state, but learn nothing from it.
    """
    module, params, run = classifier
    ids = np.arange(2, 2 + T)[None]
    other = ids.copy()
    other[0, 0] = 18
    states, others = (run(x).last_hidden_state for x in (ids, other))
    assert np.abs(states - others).max() > 1e-5
    assert states.shape == (1, 8, 4)

    @jax.jit
    def gradient(params):
        return jax.grad(lambda p: module.apply({"params": p}, ids).logits.sum())(params)

    rows = np.abs(np.asarray(gradient(params)["embedding"]["embedding"])).max(axis=1)
    assert (rows[ids[0, :2]] == 0).all() and (rows[ids[0, 2:]] > 0).all()


@pytest.mark.parametrize("rate", ["input", "weight", "output"])
def test_what_is_dropped_depends_on_the_key_alone(rate):
    """Of the output it shows that it is the same features at all places of a text."""
    module = dataclasses.replace(CONFIG, **{f"{rate}_dropout": 0.5}).build()
    params = random_params(module, **module.dummy_inputs())

    @jax.jit
    def outputs(seed):
        keys = {"dropout": jax.random.key(seed)}
        return module.apply({"params": params}, IDS, deterministic=False, rngs=keys)

    one, again, other = (outputs(seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.logits, again.logits)
    assert np.abs(one.logits - other.logits).max() > 1e-6
    if rate == "output":
        states_BTE = np.asarray(one.last_hidden_state)
        kept_BTE = states_BTE != 0
        assert (kept_BTE == kept_BTE[:, :1]).all() and kept_BTE.any() and not kept_BTE.all()
        undropped_BTE = np.asarray(one.undropped_state)
        np.testing.assert_allclose(states_BTE[kept_BTE], 2 * undropped_BTE[kept_BTE], rtol=1e-6)


def test_words_are_dropped_wherever_they_stand():
    """A word that is left out is the zero vector, and the others are twice as large."""
    module = dataclasses.replace(CONFIG, embedding_dropout=0.5, num_layers=1).build("base")
    params = random_params(module, **module.dummy_inputs())
    ids = np.repeat(np.arange(V)[:, None], 2, axis=1)

    @partial(jax.jit, static_argnums=1)
    def states(factor, drops):
        table = jax.tree.map(lambda x: factor * x, params["embedding"])
        keys = {"dropout": jax.random.key(2)} if drops else {}
        given = {"params": params | {"embedding": table}}
        return module.apply(given, ids, deterministic=not drops, rngs=keys).last_hidden_state

    found, silent, twice = states(1.0, True), states(0.0, False), states(2.0, False)
    dropped_V = np.isclose(found, silent, atol=1e-6).all(axis=(1, 2))
    kept_V = np.isclose(found, twice, atol=1e-6).all(axis=(1, 2))
    assert (dropped_V ^ kept_V).all() and dropped_V.any() and kept_V.any()


def test_how_weights_begin():
    config = dataclasses.replace(CONFIG, vocab_size=400, embedding_size=16, hidden_size=64)
    module = config.build()
    params = nn.meta.unbox(
        jax.jit(partial(module.init, **module.dummy_inputs()))(jax.random.key(0))
    )
    params = params["params"]
    table = np.abs(params["embedding"]["embedding"])
    assert 0.099 < table.max() <= 0.1 and not params["output"]["bias"].any()
    recurrent = np.abs(params["layers"]["0"]["recurrent"]["kernel"])
    assert 0.12 < recurrent.max() <= 64**-0.5


def test_flops_are_those_of_xla():
    """Of a step in time written out, where there is no loop that XLA would count once."""
    config = dataclasses.replace(
        CONFIG, embedding_size=64, hidden_size=128, num_layers=3, vocab_size=512
    )
    module = config.build()
    params = jax.eval_shape(
        lambda: nn.meta.unbox(module.init(jax.random.key(0), **module.dummy_inputs()))
    )
    ids = jax.ShapeDtypeStruct((16, 1), jnp.int32)
    counted = jax.jit(module.apply).lower(params, ids).cost_analysis()["flops"]
    closed = config.forward_flops({"input_ids": (16, 1)})
    assert math.fsum(closed.values()) == pytest.approx(counted, rel=0.03)
    heads = config.forward_flops({"input_ids": (2, 7)}, task="sequence_classification")
    assert heads["classifier"] == flops.linear(2, 192, 5) + flops.linear(2, 5, 3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hidden_size": 0}, "model.hidden_size is 0; it must be at least 1"),
        ({"weight_dropout": 1.0}, "model.weight_dropout is 1.0; it must be at least 0 and below 1"),
        ({"eos_token_id": 19}, "model.eos_token_id is 19; it must be in the vocabulary of 19"),
        ({"pooled_length": 10}, "model.pooled_length 10 is no multiple of model.chunk_length 4"),
    ],
)
def test_bad_fields(fields, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(CONFIG, **fields)


def test_a_task_that_it_does_not_have():
    with pytest.raises(InputError, match="did you mean 'causal_lm'"):
        CONFIG.build("casual_lm")


def test_rates_times_a_factor():
    found = PRESETS["ulmfit"].scaled_dropout(0.5)
    assert (found.weight_dropout, found.classifier_dropout) == (0.1, 0.1)
