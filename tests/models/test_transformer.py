"""The Transformer: counts, causality, symmetries, packing, cached decoding, golden numbers.

Dims: B batch, S source length, T target length, N hypotheses a row, L layers, H heads,
V vocabulary.
"""

import dataclasses
import itertools
import json
import math
from functools import partial
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import flaxformers_edu as ff
from flaxformers_edu.errors import InputError
from flaxformers_edu.layers.stack import unstack_layers
from flaxformers_edu.models.transformer import TransformerConfig, parameter_count
from flaxformers_edu.objectives import Translation
from flaxformers_edu.text.batching import collate_translation, collate_translation_packed
from tests.trees import random_params, shapes

GOLDEN = Path(__file__).parent.parent / "golden"
CONFIG = TransformerConfig(
    vocab_size=19,
    hidden_size=8,
    num_layers=2,
    num_heads=2,
    intermediate_size=12,
    dropout=0.0,
    max_length=16,
)
DUMMY = {"input_ids": jnp.zeros((1, 1), jnp.int32)}


def variant(**fields):
    return dataclasses.replace(CONFIG, **fields).build()


def params_of(module, seed=0):
    return random_params(module, **DUMMY, seed=seed)


@partial(jax.jit, static_argnums=0)
def logits_of(module, params, inputs):
    return module.apply({"params": params}, **inputs).logits


# Counts.


@pytest.mark.parametrize(
    ("name", "number"), [("transformer-base", 63_082_496), ("transformer-big", 214_245_376)]
)
def test_published_sizes(name, number):
    config = ff.models.presets()[name]
    assert ff.count_params(config, "seq2seq_lm") == number
    assert parameter_count(config) == number


@pytest.mark.parametrize(
    ("norm_position", "tie_embeddings", "share", "layout"),
    [
        *itertools.product(
            ["pre", "post"], [True], ["none", "attention", "ffn", "all"], ["scanned"]
        ),
        *itertools.product(["pre", "post"], [False], ["none", "ffn", "all"], ["unrolled"]),
    ],
)
def test_formula_of_the_count(norm_position, tie_embeddings, share, layout):
    config = TransformerConfig(
        vocab_size=23,
        hidden_size=12,
        num_layers=3,
        num_heads=3,
        intermediate_size=20,
        norm_position=norm_position,
        tie_embeddings=tie_embeddings,
        share=share,
        layout=layout,
    )
    assert parameter_count(config) == ff.count_params(config, "seq2seq_lm")


# The tree of parameters.


def test_golden_parameter_tree():
    """Names, shapes, dtypes and logical axes: what checkpoints and sharding rules rely on."""
    boxed = shapes(variant(norm_position="pre", tie_embeddings=False), **DUMMY)
    leaves = jax.tree_util.tree_leaves_with_path(
        boxed, is_leaf=lambda leaf: isinstance(leaf, nn.LogicallyPartitioned)
    )
    tree = {
        "/".join(key.key for key in path): f"{leaf.value.dtype}{list(leaf.value.shape)} "
        + " ".join(leaf.names)
        for path, leaf in leaves
    }
    path = GOLDEN / "transformer_tree.json"
    assert tree == json.loads(path.read_text()), (
        "the parameters' names, shapes, dtypes or axes have changed, and old checkpoints no longer "
        f"load; if that is meant, write this to {path.name}:\n{json.dumps(tree, indent=1)}"
    )


def test_initialisation_gives_unit_inputs_and_unit_logits():
    config = TransformerConfig(
        vocab_size=400, hidden_size=64, num_layers=1, num_heads=2, layout="unrolled"
    )
    module = config.build()
    params = nn.meta.unbox(jax.jit(partial(module.init, **DUMMY))(jax.random.key(0)))["params"]
    table = params["embedding"]["embedding"]
    assert np.std(table) == pytest.approx(64**-0.5, rel=0.02)
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        name = jax.tree_util.keystr(path)
        if "bias" in name:
            assert not leaf.any(), name
        elif "scale" in name:
            assert (leaf == 1).all(), name
        elif "kernel" in name:
            # Glorot of the whole matrix: 64 x 64 for the projections, 64 x 2048 for the rest.
            fans = 64 + 2048 if "mlp" in name else 64 + 64
            bound = math.sqrt(6 / fans)
            assert 0.98 * bound < np.abs(leaf).max() <= bound, name
            assert np.std(leaf) == pytest.approx(bound / math.sqrt(3), rel=0.05), name


# What may depend on what.


def test_causality_by_gradients():
    """Every token occurs once, so that a row of the table is a place in one of the inputs."""
    module = variant(tie_embeddings=False)
    params = params_of(module)
    S, T = 5, 4
    inputs = {
        "input_ids": jnp.arange(2, 2 + S)[None],
        "attention_mask": jnp.array([[1, 1, 1, 1, 0]]),
        "decoder_input_ids": jnp.arange(10, 10 + T)[None],
    }
    direction = jnp.asarray(np.random.default_rng(0).normal(size=(19, 1)), jnp.float32)

    @jax.jit
    @jax.jacrev
    def jacobian(table):
        replaced = {**params, "embedding": {"embedding": table}}
        logits = module.apply({"params": replaced}, **inputs).logits
        return (logits[0] @ direction)[:, 0]

    influence = np.abs(jacobian(params["embedding"]["embedding"])).max(axis=-1)  # [T, V]
    assert influence.shape == (T, 19)
    of_target = influence[:, 10 : 10 + T]
    of_source = influence[:, 2 : 2 + S]
    assert (of_target[np.triu_indices(T, 1)] == 0).all(), "a later target token has influence"
    assert (of_target[np.tril_indices(T)] > 0).all(), "an earlier target token has none"
    assert (of_source[:, -1] == 0).all(), "the source's padding has influence"
    assert (of_source[:, :-1] > 0).all(), "a source token has no influence"
    rest = np.delete(influence, [*range(2, 2 + S), *range(10, 10 + T)], axis=1)
    assert (rest == 0).all()


def test_encoder_without_order_is_equivariant_to_permutations():
    module = variant()
    params = params_of(module)
    ids = jnp.array([[3, 14, 5, 9, 2, 6]])
    order = np.array([4, 0, 5, 2, 1, 3])

    @jax.jit
    def encode(ids, positions):
        return module.apply({"params": params}, ids, positions=positions, method="encode")

    nowhere, places = jnp.zeros((1, 6), jnp.int32), jnp.arange(6)[None]
    np.testing.assert_allclose(
        encode(ids[:, order], nowhere), encode(ids, nowhere)[:, order], atol=1e-5
    )
    # With positions order matters, unless they move along.
    assert np.abs(encode(ids[:, order], places) - encode(ids, places)[:, order]).max() > 1e-2
    np.testing.assert_allclose(
        encode(ids[:, order], places[:, order]), encode(ids, places)[:, order], atol=1e-5
    )


EXAMPLES = [
    {"input_ids": [5, 3, 1], "labels": [7, 8, 9, 1]},
    {"input_ids": [4, 4, 6, 2, 1], "labels": [3, 1]},
    {"input_ids": [9, 1], "labels": [6, 5, 1]},
    {"input_ids": [8, 7, 1], "labels": [2, 2, 2, 2, 1]},
]


def test_packed_equals_unpacked():
    module = variant()
    params = params_of(module)
    settings = {"pad_token_id": 0, "decoder_start_token_id": 0}
    unpacked = collate_translation(EXAMPLES, 5, 11, **settings)
    packed = collate_translation_packed([EXAMPLES[:3], EXAMPLES[3:]], 2, 11, **settings)
    unpacked, packed = (jax.tree.map(jnp.asarray, batch) for batch in (unpacked, packed))

    def run(batch):
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        logits = logits_of(module, params, inputs)
        real = np.asarray(batch["labels"]) != -100
        return np.asarray(logits)[real], jax.jit(partial(Translation().loss, module))(
            params, batch, None
        )

    # Both list the tokens of the examples in the same order.
    (ours, loss), (theirs, expected) = run(packed), run(unpacked)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    np.testing.assert_allclose(loss.sum, expected.sum, rtol=1e-5)
    assert loss.weight == expected.weight == 14


def test_without_decoder_inputs_the_decoder_reads_its_start():
    module = variant(decoder_start_token_id=7)
    params = params_of(module)
    ids = jnp.array([[3, 4], [5, 6]])
    start = {"input_ids": ids, "decoder_input_ids": jnp.full((2, 1), 7)}
    ours = logits_of(module, params, {"input_ids": ids})
    assert ours.shape == (2, 1, 19)
    np.testing.assert_allclose(ours, logits_of(module, params, start), atol=1e-6)


# Layouts and precision.

BATCH = jax.tree.map(
    jnp.asarray, collate_translation(EXAMPLES, 4, 6, pad_token_id=0, decoder_start_token_id=0)
)
INPUTS = {name: value for name, value in BATCH.items() if name != "labels"}


@pytest.mark.parametrize("share", ["none", "ffn"])
def test_scanned_equals_unrolled(share):
    module = variant(share=share)
    params = params_of(module)
    expected = logits_of(module, params, INPUTS)
    found = logits_of(variant(share=share, layout="unrolled"), unstack_layers(params), INPUTS)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_bfloat16_computes_and_the_loss_is_float32():
    module = variant(dtype="bfloat16")
    params = params_of(module)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    half = logits_of(module, params, INPUTS)
    assert half.dtype == jnp.bfloat16
    full = logits_of(variant(), params, INPUTS)
    real = np.asarray(BATCH["labels"]) != -100
    np.testing.assert_allclose(half.astype(jnp.float32)[real], full[real], atol=0.15)
    loss = jax.jit(partial(Translation().loss, module))(params, BATCH, None)
    assert loss.sum.dtype == jnp.float32
    # The very logits, in float32, give the very loss: nothing is rounded to bfloat16 after them.
    labels = np.asarray(BATCH["labels"])[real]
    x = np.asarray(half, np.float64)[real]
    nll = np.log(np.exp(x).sum(axis=-1)) - x[np.arange(len(labels)), labels]
    np.testing.assert_allclose(loss.sum, nll.sum(), rtol=1e-2)


def test_looking_inside_all_three_attentions():
    module = variant()
    params = params_of(module)
    look = jax.jit(partial(module.apply, mutable=["intermediates"]))
    _, sown = look({"params": params}, **INPUTS)
    sown = sown["intermediates"]
    L, B, H, S, T = 2, 4, 2, 6, 6
    encoder, decoder = sown["encoder"], sown["decoder"]
    assert encoder["attention"]["weights"].shape == (L, B, H, S, S)
    assert decoder["attention"]["weights"].shape == (L, B, H, T, T)
    cross = np.asarray(decoder["cross_attention"]["weights"])
    assert cross.shape == (L, B, H, T, S)
    np.testing.assert_allclose(cross.sum(axis=-1), 1.0, atol=1e-6)
    padding = np.asarray(BATCH["attention_mask"]) == 0
    assert (cross.transpose(1, 4, 0, 2, 3)[padding] == 0).all()


# Cached decoding.


@partial(jax.jit, static_argnums=(0, 3, 4))
def start(module, params, source, N, M):
    ids, mask = source
    return module.apply(
        {"params": params}, ids, mask, num_beams=N, max_new_tokens=M, method="start_cache"
    )


@partial(jax.jit, static_argnums=0)
def step(module, params, tokens_BN, cache):
    return module.apply({"params": params}, tokens_BN, cache, method="decode_step")


@pytest.mark.parametrize(
    "fields",
    [
        {"layout": "scanned"},
        {"layout": "unrolled", "norm_position": "pre", "tie_embeddings": False},
        {"layout": "scanned", "share": "all"},
        {"layout": "unrolled", "share": "attention"},
    ],
    ids=str,
)
def test_cached_decoding_equals_full_recomputation(fields):
    """Over several hypotheses a row which are reordered, padding in the source, three steps."""
    module = variant(**fields)
    params = params_of(module)
    N, M, B = 3, 3, 2
    ids, mask = jnp.array([[5, 6, 2, 1], [7, 1, 0, 0]]), jnp.array([[1, 1, 1, 1], [1, 1, 0, 0]])
    cache = start(module, params, (ids, mask), N, M)
    generator = np.random.default_rng(0)
    histories = np.zeros((B, N, 0), np.int32)
    for _ in range(M):
        tokens = generator.integers(0, 19, (B, N)).astype(np.int32)
        histories = np.concatenate([histories, tokens[..., None]], axis=2)
        logits, cache = step(module, params, jnp.asarray(tokens), cache)
        # One length for all steps: what comes after a token does not change its logits.
        padded = np.pad(histories, ((0, 0), (0, 0), (0, M - histories.shape[2])))
        full = logits_of(
            module,
            params,
            {
                "input_ids": jnp.repeat(ids, N, axis=0),
                "attention_mask": jnp.repeat(mask, N, axis=0),
                "decoder_input_ids": jnp.asarray(padded.reshape(B * N, M)),
            },
        )
        newest = full[:, histories.shape[2] - 1].reshape(B, N, -1)
        np.testing.assert_allclose(logits, newest, atol=2e-5)
        parents = generator.integers(0, N, (B, N))
        cache = cache.reorder(jnp.asarray(parents))
        histories = np.take_along_axis(histories, parents[..., None], axis=1)


GENERATION = {"max_new_tokens": 6, "eos_token_id": 1, "pad_token_id": 2}


@pytest.fixture(scope="module")
def speaker():
    """A model sharp enough for its choices to be clear, and a batch of sources of odd lengths."""
    module = variant()
    params = params_of(module, seed=5)
    ids = jnp.array([[5, 6, 12, 1, 0], [7, 1, 0, 0, 0], [3, 3, 16, 11, 1]])
    return module, params, ids, (ids != 0).astype(jnp.int32)


def test_greedy_is_the_argmax_of_full_recomputation(speaker):
    module, params, ids, mask = speaker
    found = ff.generate(module, params, ids, mask, **GENERATION)
    tokens, total = np.zeros((3, 1), np.int32), np.zeros(3)
    done = np.zeros(3, bool)
    for t in range(6):
        padded = np.pad(tokens, ((0, 0), (0, 6 - tokens.shape[1])))
        logits = logits_of(
            module,
            params,
            {"input_ids": ids, "attention_mask": mask, "decoder_input_ids": jnp.asarray(padded)},
        )[:, t]
        log_probs = np.asarray(jax.nn.log_softmax(logits))
        best = np.where(done, 2, log_probs.argmax(axis=-1))
        total += np.where(done, 0.0, log_probs.max(axis=-1))
        done |= best == 1
        tokens = np.concatenate([tokens, best[:, None].astype(np.int32)], axis=1)
    length = found.sequences.shape[1]
    np.testing.assert_array_equal(found.sequences, tokens[:, :length])
    assert (tokens[:, length:] == 2).all()
    np.testing.assert_allclose(found.scores, total, atol=1e-4)


def test_beams_of_a_row_do_not_depend_on_its_batch_or_its_padding(speaker):
    module, params, ids, mask = speaker
    settings = {**GENERATION, "num_beams": 3, "num_return_sequences": 2}
    together = ff.generate(module, params, ids, mask, **settings)
    unrolled = ff.generate(
        variant(layout="unrolled"), unstack_layers(params), ids, mask, **settings
    )
    np.testing.assert_array_equal(unrolled.sequences, together.sequences)
    np.testing.assert_allclose(unrolled.scores, together.scores, atol=1e-5)
    alone = ff.generate(module, params, ids[1:2, :2], None, **settings)
    width = alone.sequences.shape[1]
    np.testing.assert_array_equal(alone.sequences, together.sequences[2:4, :width])
    np.testing.assert_allclose(alone.scores, together.scores[2:4], atol=1e-5)


# Golden numbers.


def test_golden_step():
    """One AdamW step on fixed numbers: a change here is a change of what training computes."""
    module = variant()
    params = params_of(module, seed=11)
    objective = Translation(label_smoothing=0.1)
    key = jax.random.key(0)

    def mean_loss(params):
        loss = objective.loss(module, params, BATCH, key)
        return loss.sum / loss.weight

    @jax.jit
    def train(params):
        optimizer = optax.adamw(1e-2, weight_decay=0.01)
        before, gradients = jax.value_and_grad(mean_loss)(params)
        updates, _ = optimizer.update(gradients, optimizer.init(params), params)
        after = mean_loss(optax.apply_updates(params, updates))
        return {"before": before, "after": after, "norm": optax.tree.norm(gradients)}

    numbers = {name: float(value) for name, value in train(params).items()}
    path = GOLDEN / "transformer_step.json"
    assert numbers == pytest.approx(json.loads(path.read_text()), rel=1e-4), (
        "a training step computes other numbers than it did; if that is meant (another loss, "
        "another forward pass), say so in the changelog and write this to "
        f"{path.name}: {json.dumps(numbers)}"
    )


# Configurations.


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hidden_size": 10, "num_heads": 3}, "model.hidden_size 10.*model.num_heads 3"),
        ({"num_layers": 0}, "model.num_layers is 0"),
        ({"num_heads": 0}, "model.num_heads is 0"),
        ({"vocab_size": 0}, "model.vocab_size is 0"),
        ({"eos_token_id": 19}, "model.eos_token_id is 19.*vocabulary of 19"),
        ({"pad_token_id": -1}, "model.pad_token_id is -1"),
        ({"activation": "reul"}, "did you mean 'relu'"),
    ],
)
def test_bad_fields_are_named(fields, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(CONFIG, **fields)


def test_unknown_task_names_the_nearest():
    with pytest.raises(InputError, match="did you mean 'seq2seq_lm'"):
        ff.models.build(CONFIG, "seq2seq")
    assert "seq2seq_lm" in ff.models.TASKS
