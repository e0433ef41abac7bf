"""GPT: counts, initialisation, causality, packing, cached decoding, golden numbers.

Dims: B batch, T length, N hypotheses a row, V vocabulary.
"""

import dataclasses
import itertools
import json
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
from flaxformers_edu.models.gpt import GPTConfig, parameter_count
from flaxformers_edu.objectives import CausalLM
from tests.trees import random_params, shapes

GOLDEN = Path(__file__).parent.parent / "golden"
CONFIG = GPTConfig(
    vocab_size=19,
    hidden_size=8,
    num_layers=2,
    num_heads=2,
    intermediate_size=12,
    dropout=0.0,
    embedding_dropout=0.0,
    attention_dropout=0.0,
    max_length=16,
    pad_token_id=0,
    eos_token_id=1,
)


def variant(**fields):
    return dataclasses.replace(CONFIG, **fields).build()


def params_of(module, seed=0):
    return random_params(module, **module.dummy_inputs(), seed=seed)


@partial(jax.jit, static_argnums=0)
def logits_of(module, params, inputs):
    return module.apply({"params": params}, **inputs).logits


# Counts.

PUBLISHED = {
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
    "gpt3-small": 125_226_240,
    "gpt3-medium": 355_871_744,
    "gpt3-large": 760_300_032,
    "gpt3-xl": 1_315_723_264,
    "gpt3-2.7b": 2_651_553_280,
    "gpt3-6.7b": 6_658_404_352,
    "gpt3-13b": 12_853_386_240,
    "gpt3-175b": 174_604_259_328,
}


@pytest.mark.parametrize(("name", "number"), list(PUBLISHED.items()))
def test_published_sizes(name, number):
    config = ff.models.presets()[name]
    assert ff.count_params(config, "causal_lm") == number
    assert parameter_count(config) == number


@pytest.mark.parametrize(
    ("name", "printed", "number"),
    [
        ("gpt3-xl", {"num_heads": 24, "head_dim": 128}, 1_517_123_584),
        (
            "gpt3-13b",
            {"hidden_size": 5140, "intermediate_size": 20_560, "head_dim": 128},
            12_936_488_380,
        ),
    ],
)
def test_rows_of_table_2_1_whose_heads_do_not_add_up_to_the_width(name, printed, number):
    """They can be built as they are printed, 15 % and 0.6 % larger than the presets."""
    config = dataclasses.replace(ff.models.presets()[name], **printed)
    assert config.num_heads * config.width_of_heads != config.hidden_size
    assert parameter_count(config) == ff.count_params(config, "base") == number


@pytest.mark.parametrize(
    ("share", "layout", "head_dim"),
    [*itertools.product(["none", "attention", "ffn", "all"], ["scanned", "unrolled"], [None, 5])],
)
def test_formula_of_the_count(share, layout, head_dim):
    config = dataclasses.replace(CONFIG, share=share, layout=layout, head_dim=head_dim)
    assert parameter_count(config) == ff.count_params(config, "causal_lm")


# The tree of parameters.


def test_golden_parameter_tree():
    """Names, shapes, dtypes and logical axes: what checkpoints and sharding rules rely on."""
    module = variant()
    leaves = jax.tree_util.tree_leaves_with_path(
        shapes(module, **module.dummy_inputs()),
        is_leaf=lambda leaf: isinstance(leaf, nn.LogicallyPartitioned),
    )
    tree = {
        "/".join(key.key for key in path): f"{leaf.value.dtype}{list(leaf.value.shape)} "
        + " ".join(leaf.names)
        for path, leaf in leaves
    }
    path = GOLDEN / "gpt_tree.json"
    assert tree == json.loads(path.read_text()), (
        "the parameters' names, shapes, dtypes or axes have changed, and old checkpoints no longer "
        f"load; if that is meant, write this to {path.name}:\n{json.dumps(tree, indent=1)}"
    )


def test_what_writes_to_the_residual_begins_smaller():
    """N(0, 0.02), and 0.02 / √(2 · 8 layers) for the second matrix of each sublayer."""
    module = GPTConfig(
        vocab_size=300, hidden_size=64, num_layers=8, num_heads=2, intermediate_size=256,
        max_length=100, pad_token_id=0, eos_token_id=1,
    ).build()  # fmt: skip
    init = jax.jit(partial(module.init, **module.dummy_inputs()))
    params = nn.meta.unbox(init(jax.random.key(0)))["params"]
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if name.endswith("bias"):
            assert not leaf.any(), name
        elif name.endswith("scale"):
            assert (leaf == 1).all(), name
        else:
            expected = 0.005 if name.endswith(("out/kernel", "down/kernel")) else 0.02
            assert np.std(leaf) == pytest.approx(expected, rel=0.03), name


# What may depend on what.


def test_causality_by_gradients():
    """Every token and place occurs once: no later one has influence, every earlier one has."""
    module = variant()
    params = params_of(module)
    T, ids = 6, jnp.arange(2, 8)[None]
    mask = jnp.array([[1, 1, 1, 1, 1, 0]])
    direction = jnp.asarray(np.random.default_rng(0).normal(size=(8, 1)), jnp.float32)

    @jax.jit
    @jax.jacrev
    def jacobian(positions):
        replaced = {**params, "positions": {"embedding": positions}}
        states = module.apply({"params": replaced}, ids, mask).last_hidden_state
        return (states[0] @ direction)[:, 0]

    influence = np.abs(jacobian(params["positions"]["embedding"])).max(axis=-1)  # [T, places]
    assert influence.shape == (T, 16)
    real = influence[:5, :5]
    assert (real[np.triu_indices(5, 1)] == 0).all(), "a later token has influence"
    assert (real[np.tril_indices(5)] > 0).all(), "an earlier token has none"
    assert (influence[:, 6:] == 0).all()


TEXTS = [
    {"input_ids": [5, 3, 8, 1]},
    {"input_ids": [4, 4, 6, 2, 9, 1]},
    {"input_ids": [9, 1]},
    {"input_ids": [8, 7, 11, 1]},
]


def test_packed_rows_equal_separate_rows():
    module = variant()
    params = params_of(module)
    objective = CausalLM()
    rows = objective.collate(CONFIG)(TEXTS, 5, 8)
    packed = objective.collate(CONFIG, packed=True)([TEXTS[:3], TEXTS[3:]], 2, 14)

    def run(batch):
        batch = jax.tree.map(jnp.asarray, batch)
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        real = np.asarray(batch["attention_mask"]) != 0
        loss = jax.jit(partial(objective.loss, module))(params, batch, None)
        return np.asarray(logits_of(module, params, inputs))[real], loss

    # Both list the tokens of the texts in the same order.
    (ours, loss), (theirs, expected) = run(packed), run(rows)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    np.testing.assert_allclose(loss.sum, expected.sum, rtol=1e-5)
    assert loss.weight == expected.weight == 3 + 5 + 1 + 3


def test_padding_on_either_side_changes_nothing():
    module = variant()
    params = params_of(module)
    bare = logits_of(module, params, {"input_ids": jnp.array([[5, 3, 8]])})
    ids = jnp.array([[5, 3, 8, 0, 0], [0, 0, 5, 3, 8]])
    padded = logits_of(module, params, {"input_ids": ids, "attention_mask": jnp.sign(ids)})
    np.testing.assert_allclose(padded[0, :3], bare[0], atol=1e-5)
    np.testing.assert_allclose(padded[1, 2:], bare[0], atol=1e-5)


def test_dropout_of_each_kind_acts_in_training_alone():
    ids = {"input_ids": jnp.array([[5, 3, 8, 2]])}
    plain = variant()
    params = params_of(plain)
    expected = logits_of(plain, params, ids)
    for kind in ("dropout", "embedding_dropout", "attention_dropout"):
        module = variant(**{kind: 0.5})
        np.testing.assert_allclose(logits_of(module, params, ids), expected, atol=1e-6)
        dropped = module.apply(
            {"params": params}, **ids, deterministic=False, rngs={"dropout": jax.random.key(0)}
        )
        assert np.abs(dropped.logits - expected).max() > 1e-2, kind


# Layouts and precision.


@pytest.mark.parametrize("fields", [{"share": "attention"}, {"remat": "full"}, {"head_dim": 5}])
def test_scanned_equals_unrolled(fields):
    module = variant(**fields)
    params = params_of(module)
    inputs = {"input_ids": jnp.array([[5, 3, 8, 2], [1, 2, 3, 4]])}
    expected = logits_of(module, params, inputs)
    found = logits_of(variant(layout="unrolled", **fields), unstack_layers(params), inputs)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_bfloat16_computes_on_float32_parameters():
    module = variant(dtype="bfloat16")
    params = params_of(module)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    inputs = {"input_ids": jnp.array([[5, 3, 8, 2]])}
    half = logits_of(module, params, inputs)
    assert half.dtype == jnp.bfloat16
    full = logits_of(variant(), params, inputs)
    np.testing.assert_allclose(half.astype(jnp.float32), full, atol=0.15)


# Cached decoding.


@pytest.mark.parametrize(
    "fields",
    [{"layout": "scanned"}, {"layout": "unrolled", "share": "ffn", "head_dim": 6}],
    ids=str,
)
def test_cached_decoding_equals_full_recomputation(fields):
    """Left-padded prompts, several hypotheses a row which are reordered, three steps."""
    module = variant(**fields)
    params = params_of(module)
    N, M, B, P = 3, 3, 2, 4
    ids, mask = np.array([[5, 6, 2, 9], [0, 0, 7, 3]]), np.array([[1, 1, 1, 1], [0, 0, 1, 1]])
    cache = module.apply(
        {"params": params}, ids, mask, num_beams=N, max_new_tokens=M, method="start_cache"
    )
    step = jax.jit(partial(module.apply, method="decode_step"))
    generator = np.random.default_rng(0)
    histories = np.repeat(ids[:, None, :-1], N, axis=1)
    tokens = np.repeat(ids[:, -1:], N, axis=1)
    full_mask = np.repeat(np.pad(mask, ((0, 0), (0, M)), constant_values=1), N, axis=0)
    for t in range(P, P + M):
        histories = np.concatenate([histories, tokens[..., None]], axis=2)
        logits, cache = step({"params": params}, jnp.asarray(tokens, jnp.int32), cache)
        # One length for all steps: what comes after a token does not change its logits.
        padded = np.pad(histories, ((0, 0), (0, 0), (0, P + M - t))).reshape(B * N, P + M)
        inputs = {"input_ids": jnp.asarray(padded), "attention_mask": jnp.asarray(full_mask)}
        newest = logits_of(module, params, inputs)[:, t - 1].reshape(B, N, -1)
        np.testing.assert_allclose(logits, newest, atol=2e-5)
        parents = generator.integers(0, N, (B, N))
        cache = cache.reorder(jnp.asarray(parents))
        histories = np.take_along_axis(histories, parents[..., None], axis=1)
        tokens = generator.integers(0, 19, (B, N))


def test_the_table_of_positions_is_the_longest_text():
    """Ten new tokens fit 16 places after a prompt of 7: the last of them is never read."""
    module = variant()
    params = params_of(module)
    ids = jnp.arange(7)[None]
    settings = {"max_new_tokens": 10, "eos_token_id": ()}
    assert ff.generate(module, params, ids, **settings).sequences.shape == (1, 17)
    with pytest.raises(InputError, match="17 positions are more than model.max_length=16"):
        ff.generate(module, params, ids, **{**settings, "max_new_tokens": 11})
    with pytest.raises(InputError, match="17 positions are more than model.max_length=16"):
        module.apply({"params": params}, jnp.zeros((1, 17), jnp.int32))


# Golden numbers.


def test_golden_step():
    """One AdamW step on fixed numbers: a change here is a change of what training computes."""
    module = variant()
    params = params_of(module, seed=11)
    objective = CausalLM()
    batch = objective.collate(CONFIG, packed=True)([TEXTS[:2], TEXTS[2:]], 2, 10)
    batch = jax.tree.map(jnp.asarray, batch)

    def mean_loss(params):
        loss = objective.loss(module, params, batch, jax.random.key(0))
        return loss.sum / loss.weight

    @jax.jit
    def train(params):
        optimizer = optax.adamw(1e-2, weight_decay=0.01)
        before, gradients = jax.value_and_grad(mean_loss)(params)
        updates, _ = optimizer.update(gradients, optimizer.init(params), params)
        after = mean_loss(optax.apply_updates(params, updates))
        return {"before": before, "after": after, "norm": optax.tree.norm(gradients)}

    numbers = {name: float(value) for name, value in train(params).items()}
    path = GOLDEN / "gpt_step.json"
    assert numbers == pytest.approx(json.loads(path.read_text()), rel=1e-4), (
        "a training step computes other numbers than it did; if that is meant (another loss, "
        "another forward pass), say so in the changelog and write this to "
        f"{path.name}: {json.dumps(numbers)}"
    )


# Configurations.


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hidden_size": 10, "num_heads": 3}, "model.hidden_size 10.*num_heads 3; give.*head_dim"),
        ({"num_layers": 0}, "model.num_layers is 0"),
        ({"head_dim": 0}, "model.head_dim is 0"),
        ({"max_length": 0}, "model.max_length is 0"),
        ({"eos_token_id": 19}, "model.eos_token_id is 19.*vocabulary of 19"),
        ({"pad_token_id": -1}, "model.pad_token_id is -1"),
        ({"activation": "gelu_tan"}, "did you mean 'gelu_tanh'"),
    ],
)
def test_bad_fields_are_named(fields, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(CONFIG, **fields)


def test_unknown_task_names_the_nearest():
    with pytest.raises(InputError, match="did you mean 'causal_lm'"):
        ff.models.build(CONFIG, "casual_lm")
    assert "causal_lm" in ff.models.TASKS
