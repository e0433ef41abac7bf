"""muP (Yang et al. 2022): the standard model at the base width, its learning rate at others."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.models.gpt2 import GPTConfig
from flaxformers_edu.objectives import CausalLM
from flaxformers_edu.optim.optimizers import Optimizer
from train.scaling.coordinates import coordinate_changes, growth

BASE, HEADS, T = 16, 2, 8


def config(width, *, mup=True, **fields):
    return GPTConfig(
        vocab_size=23,
        hidden_size=width,
        num_layers=1,
        num_heads=HEADS,
        intermediate_size=4 * width,
        max_length=T,
        pad_token_id=0,
        eos_token_id=1,
        dropout=0.0,
        embedding_dropout=0.0,
        attention_dropout=0.0,
        init_std=0.1,
        layout="unrolled",
        **(dict(mup_base_width=BASE, mup_base_head_dim=BASE // HEADS) if mup else {}),
        **fields,
    )


def initial(model):
    return nn.meta.unbox(model.init(jax.random.key(0), **model.dummy_inputs())["params"])


def optimizer(model_config):
    return Optimizer(rate_factors=model_config.mup_rate_factors)


def batches(number):
    rng = np.random.default_rng(0)
    rows = rng.integers(2, 23, size=(number, 4, T))
    collate = CausalLM().collate(config(BASE))
    return [collate([{"input_ids": ids} for ids in batch], 4, T) for batch in rows]


def test_at_the_base_width_it_is_the_standard_parametrisation():
    mup, standard = config(BASE), config(BASE, mup=False)
    assert mup.mup_rate_factors and not standard.mup_rate_factors
    inputs = {"input_ids": batches(1)[0]["input_ids"]}
    outputs, updates = [], []
    for c in (mup, standard):
        model = c.build()
        params = initial(model)
        outputs.append(model.apply({"params": params}, **inputs).logits)
        gradients = jax.tree.map(jnp.ones_like, params)
        transformation = optimizer(c).build(0.1, params)
        updates.append(transformation.update(gradients, transformation.init(params), params)[0])
    np.testing.assert_array_equal(*outputs)
    jax.tree.map(np.testing.assert_array_equal, *updates)


def test_beyond_it_each_class_of_parameters_scales_as_in_table_8():
    wide, base = config(4 * BASE), config(BASE)
    assert wide.base_ratio == 1 / 4
    spread = {}
    for c in (wide, base):
        params = initial(c.build())
        layer = params["decoder"]["layers"]["0"]
        spread[c.hidden_size] = {
            "table": float(jnp.std(params["embedding"]["embedding"])),
            "up": float(jnp.std(layer["mlp"]["up"]["kernel"])),
            "query": float(jnp.std(layer["attention"]["query"]["kernel"])),
        }
    ratios = {name: spread[4 * BASE][name] / spread[BASE][name] for name in spread[BASE]}
    assert ratios == pytest.approx({"table": 1.0, "up": 0.5, "query": 0.5}, rel=0.15)


def test_hidden_matrices_alone_learn_slower():
    c = config(4 * BASE)
    params = initial(c.build())
    transformation = optimizer(c).build(1.0, params)
    ones = jax.tree.map(jnp.ones_like, params)
    updates, _ = transformation.update(ones, transformation.init(params), params)
    sizes = {
        jax.tree_util.keystr(path, simple=True, separator="/"): round(float(-x.mean()), 3)
        for path, x in jax.tree_util.tree_leaves_with_path(updates)
    }
    slow = {name for name, size in sizes.items() if size == 0.25}
    assert slow == {name for name in sizes if name.endswith("kernel")}
    assert {sizes[name] for name in sizes.keys() - slow} == {1.0}


def test_attention_is_scaled_by_the_size_of_its_heads():
    assert config(BASE).attention_scale == (BASE // HEADS) ** -0.5
    K = 4 * BASE // HEADS
    assert config(4 * BASE).attention_scale == pytest.approx((BASE // HEADS) ** 0.5 / K)
    assert config(4 * BASE, mup=False).attention_scale is None
    more_heads = dataclasses.replace(config(4 * BASE), mup_base_head_dim=0)
    assert more_heads.attention_scale is None


def test_logits_are_scaled_by_base_over_width():
    mup = config(4 * BASE).build()
    params = initial(mup)
    ids = batches(1)[0]["input_ids"]
    out = mup.apply({"params": params}, ids)
    table = params["embedding"]["embedding"]
    expected = jnp.einsum("BTD,VD->BTV", out.last_hidden_state, table) / 4
    np.testing.assert_allclose(out.logits, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_activations_move_as_far_at_every_width():
    """The coordinate check: flat in muP; in standard parametrisation growing with the width."""
    widths = (BASE, 2 * BASE, 4 * BASE, 8 * BASE)
    growths = {}
    for mup in (True, False):
        changes = {}
        for width in widths:
            c = config(width, mup=mup)
            changes[width] = coordinate_changes(
                c.build(), CausalLM(), optimizer(c), batches(3), learning_rate=0.01
            )
        growths[mup] = {name: growth(changes, name) for name in ("layer 1", "logits")}
    assert abs(growths[True]["layer 1"]) < 0.3
    assert growths[True]["logits"] < 0.3
    assert growths[False]["layer 1"] > 0.7
    assert growths[False]["logits"] > growths[True]["logits"] + 0.5


@pytest.mark.parametrize("field", ["mup_base_width", "mup_base_head_dim"])
def test_widths_below_zero_are_refused(field):
    with pytest.raises(InputError, match=f"model.{field} is -1; it must be 0 or more"):
        dataclasses.replace(config(BASE), **{field: -1})


def test_factors_must_be_numbers_of_parameters_that_exist():
    with pytest.raises(InputError, match="rate_factors gives 'kernel' -1.0; it must be 0 or more"):
        Optimizer(rate_factors=(("kernel", -1.0),))
    with pytest.raises(InputError, match="pattern 'kernal' covers no parameter"):
        Optimizer(rate_factors=(("kernal", 0.5),)).build(0.1, {"kernel": jnp.ones(2)})
