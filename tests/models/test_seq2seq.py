"""Recurrent encoder-decoders: counts, what reversing is, cached decoding, alignments, own words.

Dims: B batch, S source length, T target length, N hypotheses a row, V vocabulary.
"""

import dataclasses
import itertools
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import flaxformers_edu as ff
from flaxformers_edu.decoding import Exhaustive, decode
from flaxformers_edu.decoding.request import prompt_of, start_cache, step_of
from flaxformers_edu.errors import InputError
from flaxformers_edu.models.seq2seq import Seq2SeqConfig, parameter_count
from flaxformers_edu.models.transformer import TransformerConfig
from tests.trees import assert_close, random_params

CONFIG = Seq2SeqConfig(
    vocab_size=13, embedding_size=6, hidden_size=6, num_layers=2, dropout=0.0, reverse_source=False
)
BOTH_WAYS = {"bidirectional": True, "encoder_size": 4}
VARIANTS = {
    "none": {"attention": "none", "reverse_source": True},
    "dot": {"attention": "dot", "input_feeding": False, "tie_embeddings": True},
    "general": {"attention": "general", "kind": "gru", "source_vocab_size": 15, **BOTH_WAYS},
    "concat": {"attention": "concat", "readout_size": 5},
    "bahdanau": {"attention": "concat", "wiring": "bahdanau", "readout_size": 5, **BOTH_WAYS},
}
IDS = jnp.array([[5, 6, 7, 1], [3, 1, 0, 0]])
MASK = (IDS != 0).astype(jnp.int32)
TARGET = jnp.array([[0, 4, 5, 6], [0, 8, 9, 2]])
B, T = TARGET.shape
N = 2


def variant(name="general", **fields):
    return dataclasses.replace(CONFIG, **VARIANTS[name], **fields).build()


@partial(jax.jit, static_argnums=0)
def forward(module, params, ids, mask, target):
    return module.apply({"params": params}, ids, mask, target, mutable=["intermediates"])


@pytest.fixture(scope="module", params=VARIANTS)
def case(request):
    """A variant, its parameters, what it says of the batch, and what it shows of itself."""
    module = variant(request.param)
    params = random_params(module, **module.dummy_inputs())
    return module, params, *forward(module, params, IDS, MASK, TARGET)


# Counts.


@pytest.mark.parametrize(
    ("name", "number"),
    [
        # "384M parameters" (Sutskever et al. 2014, section 3.4), and two biases of each gate.
        ("seq2seq-sutskever", 384_000_000 + 8 * 8000),
        ("seq2seq-rnnsearch", 81_420_000),
        ("seq2seq-luong", 221_064_000),
    ],
)
def test_published_sizes(name, number):
    config = ff.models.presets()[name]
    assert parameter_count(config) == number
    assert ff.count_params(config, "seq2seq_lm") == number


def test_formula_of_the_count():
    for name, (kind, layers) in itertools.product(VARIANTS, (("lstm", 1), ("gru", 3))):
        config = variant(name).config
        config = dataclasses.replace(config, kind=kind, num_layers=layers)
        assert parameter_count(config) == ff.count_params(config, "base"), (name, kind, layers)


def test_two_flops_for_each_weight_and_token():
    """All matrices but the table that is looked up, at the tokens of their side."""
    config = dataclasses.replace(CONFIG, attention="concat", hidden_size=8, embedding_size=10)
    parts = config.forward_flops({"input_ids": (3, 7), "decoder_input_ids": (3, 5)})
    products = parts.pop("cross_attention/products")
    assert products == 2 * 3 * 5 * 7 * (8 + 8)
    D, H, F, V = 10, 8, 8, 13
    encoder = 4 * H * (D + H) + 4 * H * (H + H)
    decoder = 4 * H * (D + F + H) + 4 * H * (H + H) + H * H + 2 * H * F + F * V
    assert math.fsum(parts.values()) == 2 * (3 * 7 * (encoder + H * H) + 3 * 5 * decoder)


# What a variant is.


def test_decoding_step_by_step_is_teacher_forcing(case):
    """Two hypotheses a row that are exchanged on the way; the source is padded."""
    module, params, out, _ = case
    cache = start(module, params, IDS, MASK, N)
    other = TARGET[::-1]  # what the second hypothesis of each row says
    said = jnp.stack([TARGET, other], axis=1)
    others = forward(module, params, IDS, MASK, other)[0]
    expected = np.stack([out.logits, others.logits], axis=1)
    places = np.array([[0, 1], [0, 1]])
    swap = np.array([[1, 0], [0, 0]])
    for t in range(T):
        tokens = np.take_along_axis(said[:, :, t], places, axis=1)
        logits, cache = step(module, params, jnp.asarray(tokens), cache)
        wanted = np.take_along_axis(expected[:, :, t], places[..., None], axis=1)
        np.testing.assert_allclose(logits, wanted, atol=2e-6)
        if t == 1:
            cache = cache.reorder(jnp.asarray(swap))
            places = np.take_along_axis(places, swap, axis=1)


@partial(jax.jit, static_argnums=(0, 4))
def start(module, params, ids, mask, num_beams):
    return module.apply(
        {"params": params}, ids, mask, num_beams=num_beams, max_new_tokens=T, method="start_cache"
    )


@partial(jax.jit, static_argnums=0)
def step(module, params, tokens, cache):
    return module.apply({"params": params}, tokens, cache, method="decode_step")


def test_a_row_does_not_depend_on_its_batch_or_its_padding(case):
    module, params, out, _ = case
    alone, _ = forward(module, params, IDS[1:, :2], None, TARGET[1:])
    np.testing.assert_allclose(alone.logits, out.logits[1:], atol=2e-6)


def test_alignments_are_shown(case):
    """[layers, batch, heads, target, source], as a Transformer's: one layer, one head."""
    module, _, _, seen = case
    if module.config.attention == "none":
        assert "decoder" not in seen["intermediates"]
        return
    weights = np.asarray(seen["intermediates"]["decoder"]["cross_attention"]["weights"])
    assert weights.shape == (1, B, 1, T, IDS.shape[1])
    np.testing.assert_allclose(weights.sum(axis=-1), 1.0, atol=1e-6)
    assert (weights[0, 1, 0, :, 2:] == 0).all(), "padding is looked at"


def test_reading_backwards_is_a_reversed_source():
    """Only the real tokens change places."""
    module, forwards = variant("none"), variant("none").clone(config=NO_ATTENTION)
    params = random_params(module, **module.dummy_inputs())
    reversed_ids = jnp.array([[1, 7, 6, 5], [1, 3, 0, 0]])
    ours, _ = forward(module, params, IDS, MASK, TARGET)
    theirs, _ = forward(forwards, params, reversed_ids, MASK, TARGET)
    np.testing.assert_allclose(ours.logits, theirs.logits, atol=1e-6)


NO_ATTENTION = dataclasses.replace(CONFIG, attention="none")


# Decoding.


def test_widest_beams_find_what_exhaustive_search_finds():
    """As many beams as there are hypotheses lose none of them."""
    V, M = 6, 2
    module = dataclasses.replace(CONFIG, vocab_size=V, **BOTH_WAYS).build()
    params = jax.tree.map(lambda p: 2 * p, random_params(module, **module.dummy_inputs()))
    ids, mask = jnp.array([[2, 3, 1], [4, 1, 0]]), jnp.array([[1, 1, 1], [1, 1, 0]])
    oracle = Exhaustive(V, M, length_penalty=np.float32(1.0), eos_token_ids=(1,))

    @jax.jit
    def exhaustive(params):
        return decode(
            step_of(module, params),
            oracle,
            start_cache(module, params, oracle, ids, mask, M),
            prompt_of(0, ids, mask)[0],
            max_new_tokens=M,
        )

    best = exhaustive(params)
    settings = {"max_new_tokens": M, "eos_token_id": 1, "pad_token_id": 0}
    found = ff.generate(module, params, ids, mask, num_beams=V, **settings)
    np.testing.assert_allclose(found.scores, best.scores[:, 0], rtol=1e-5)
    width = found.sequences.shape[1]
    np.testing.assert_array_equal(found.sequences, best.sequences[:, 0, :width])


# Own words.


def speak(module, params, probability, key, target=TARGET):
    return module.apply(
        {"params": params},
        IDS,
        MASK,
        target,
        sampling_probability=jnp.full(B, probability),
        deterministic=False,
        rngs={"dropout": key},
        mutable=["intermediates"],
    )


def test_never_reading_own_words_is_teacher_forcing(case):
    """In values and in gradients: only the place of the products differs."""
    module, params, out, _ = case
    way = jnp.cos(jnp.arange(out.logits.size)).reshape(out.logits.shape)

    def spoken(params):
        found, seen = speak(module, params, 0.0, jax.random.key(0))
        return (found.logits * way).sum(), (found, seen["intermediates"]["read_ids"])

    def forced(params):
        return (forward(module, params, IDS, MASK, TARGET)[0].logits * way).sum()

    gradients, (found, read) = jax.jit(jax.grad(spoken, has_aux=True))(params)
    np.testing.assert_array_equal(read, TARGET)
    np.testing.assert_allclose(found.logits, out.logits, atol=2e-6)
    assert_close(gradients, jax.jit(jax.grad(forced))(params), atol=1e-5, rtol=1e-4)


def test_always_reading_own_words():
    """What is read at a place was drawn from the logits before; the target itself has no part."""
    module = variant("concat")
    params = random_params(module, **module.dummy_inputs())
    sharp = {**params, "output": jax.tree.map(lambda p: 1e4 * p, params["output"])}
    run = jax.jit(partial(speak, module))
    found, seen = run(sharp, 1.0, jax.random.key(0))
    read = np.asarray(seen["intermediates"]["read_ids"])
    np.testing.assert_array_equal(read[:, 0], TARGET[:, 0])
    # Logits so far apart that every draw is the likeliest word.
    np.testing.assert_array_equal(read[:, 1:], np.argmax(found.logits, axis=-1)[:, :-1])
    other = TARGET.at[:, 1:].set(11)
    np.testing.assert_array_equal(run(sharp, 1.0, jax.random.key(0), other)[0].logits, found.logits)
    # And these logits are those of the words that were read.
    forced, _ = forward(module, sharp, IDS, MASK, jnp.asarray(read))
    np.testing.assert_allclose(found.logits, forced.logits, rtol=1e-4, atol=0.1)
    draws = [run(params, 1.0, jax.random.key(k))[1]["intermediates"]["read_ids"] for k in (1, 2)]
    assert (draws[0] != draws[1]).any(), "words are drawn, not chosen"


# Configurations.


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_layers": 0}, "model.num_layers is 0"),
        ({"kind": "lsmt"}, "unknown model.kind 'lsmt'; did you mean 'lstm'"),
        ({"attention": "dott"}, "did you mean 'dot'"),
        ({"wiring": "loung"}, "did you mean 'luong'"),
        ({"eos_token_id": 13}, "model.eos_token_id is 13.*vocabulary of 13"),
        ({"dropout": 1.0}, "model.dropout is 1.0"),
        ({"bidirectional": True, "reverse_source": True}, "model.reverse_source changes nothing"),
        ({"bidirectional": True, "hidden_size": 7}, "model.hidden_size 7 does not divide"),
        ({"attention": "dot", "encoder_size": 4}, "have 4, the decoder's 6: use 'general'"),
        ({"attention": "none", "readout_size": 5}, "model.readout_size is 5"),
        ({"tie_embeddings": True, "embedding_size": 4}, "reads 6 numbers and embeddings have 4"),
    ],
)
def test_bad_fields_are_named(fields, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(CONFIG, **fields)


def test_unknown_task_names_the_nearest():
    with pytest.raises(InputError, match="did you mean 'seq2seq_lm'"):
        ff.models.build(CONFIG, "seq2seq")


def test_a_transformer_has_the_same_outputs():
    """The objective and the commands see no difference."""
    config = TransformerConfig(
        vocab_size=13, hidden_size=4, num_layers=1, num_heads=2, intermediate_size=4
    )
    theirs = jax.eval_shape(lambda: config.build().init_with_output(jax.random.key(0), IDS)[0])
    ours = jax.eval_shape(lambda: CONFIG.build().init_with_output(jax.random.key(0), IDS)[0])
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    assert ours.logits.shape == theirs.logits.shape
