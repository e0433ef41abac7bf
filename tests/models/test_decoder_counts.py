"""The decoders' published sizes, the names of their parameters, how these begin, bad fields."""

import dataclasses
import itertools
import json
from functools import partial
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import flaxformers_edu as ff
from flaxformers_edu.errors import InputError
from flaxformers_edu.models import DecoderConfig
from flaxformers_edu.models.decoder_config import TASKS
from flaxformers_edu.models.decoder_count import parameter_count
from flaxformers_edu.sharding import PARAMETER_RULES
from tests.models.decoders import FAMILIES, params_of, variant
from tests.trees import shapes

GOLDEN = Path(__file__).parent.parent / "golden"
GPT2, LLAMA = FAMILIES["gpt2"], FAMILIES["llama"]

PUBLISHED = {
    "gpt1": 116_534_784,
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
    "distilgpt2": 81_912_576,
    "gpt3-small": 125_226_240,
    "gpt3-medium": 355_871_744,
    "gpt3-large": 760_300_032,
    "gpt3-xl": 1_315_723_264,
    "gpt3-2.7b": 2_651_553_280,
    "gpt3-6.7b": 6_658_404_352,
    "gpt3-13b": 12_853_386_240,
    "gpt3-175b": 174_604_259_328,
    "gpt-neo-125m": 125_198_592,
    "gpt-neo-1.3b": 1_315_575_808,
    "gpt-neo-2.7b": 2_651_307_520,
    "llama-2-7b": 6_738_415_616,
    "llama-2-13b": 13_015_864_320,
    "llama-2-70b": 68_976_648_192,
    "llama-3-8b": 8_030_261_248,
    "llama-3-70b": 70_553_706_496,
    "llama-3.1-8b": 8_030_261_248,
    "llama-3.2-1b": 1_235_814_400,
    "llama-3.2-3b": 3_212_749_824,
}


@pytest.mark.parametrize(("name", "number"), PUBLISHED.items())
def test_published_sizes(name, number):
    config = ff.models.presets()[name]
    assert ff.count_params(config, "causal_lm") == number
    assert parameter_count(config) == number


def test_every_preset_is_one_of_these():
    presets = ff.models.presets()
    assert {n for n, c in presets.items() if isinstance(c, DecoderConfig)} == PUBLISHED.keys()


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
    assert parameter_count(config) == ff.count_params(config, "causal_lm") == number


def test_gpt3_in_turn_sees_everything_and_a_band():
    config = ff.models.presets()["gpt3-small"]
    assert config.windows_of_layers == (None, 256) * 6


@pytest.mark.parametrize(
    ("share", "layout", "head_dim"),
    [*itertools.product(["none", "attention", "ffn", "all"], ["scanned", "unrolled"], [None, 6])],
)
def test_formula_of_the_count(share, layout, head_dim):
    """For one family with all options and one with none; every task is counted below."""
    for family in (GPT2, LLAMA):
        fields = dict(share=share, layout=layout, head_dim=head_dim)
        config = dataclasses.replace(family, **fields)
        assert parameter_count(config, "causal_lm") == ff.count_params(config, "causal_lm")


@pytest.mark.parametrize("name", FAMILIES)
def test_formula_of_every_family(name):
    config = FAMILIES[name]
    assert [parameter_count(config, task) for task in TASKS] == [
        ff.count_params(config, task) for task in TASKS
    ]


# The trees of parameters.


def tree_of(config, task):
    module = config.build(task)
    leaves = jax.tree_util.tree_leaves_with_path(
        shapes(module, **module.dummy_inputs()),
        is_leaf=lambda leaf: isinstance(leaf, nn.LogicallyPartitioned),
    )
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def test_golden_parameter_trees():
    """Names, shapes, dtypes, axes and tasks: what checkpoints and Hugging Face's names rely on."""
    found = {}
    for name, config in FAMILIES.items():
        tree = found.setdefault(name, {})
        for task in TASKS:
            for path, leaf in tree_of(config, task).items():
                value = f"{leaf.value.dtype}{list(leaf.value.shape)} {' '.join(leaf.names)}"
                tree.setdefault(f"{path} {value}", []).append(task)
        for leaf, tasks in tree.items():
            tree[leaf] = "all" if len(tasks) == len(TASKS) else ", ".join(tasks)
    path = GOLDEN / "decoder_trees.json"
    text = json.dumps(found, indent=1)
    assert found == json.loads(path.read_text()), (
        "the parameters' names, shapes, dtypes, axes or tasks have changed, and old checkpoints no "
        f"longer load; if that is meant, write this to {path.name}:\n{text}"
    )


def test_every_axis_has_a_rule():
    names = {
        name
        for config in FAMILIES.values()
        for task in TASKS
        for leaf in tree_of(config, task).values()
        for name in leaf.names
    }
    assert {"labels", "kv_heads", "positions"} < names <= set(PARAMETER_RULES)


@pytest.mark.parametrize(("name", "residual"), [("gpt2", 0.005), ("gpt1", 0.02), ("llama", 0.02)])
def test_how_weights_begin(name, residual):
    """N(0, 0.02); in GPT-2 0.02 / √(2 · 8 layers) for the second matrix of each sublayer."""
    config = dataclasses.replace(
        FAMILIES[name], vocab_size=300, hidden_size=64, num_layers=8, intermediate_size=256,
        max_length=100, head_dim=32,
    )  # fmt: skip
    module = config.build()
    init = jax.jit(partial(module.init, **module.dummy_inputs()))
    params = nn.meta.unbox(init(jax.random.key(0)))["params"]
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if name.endswith("bias"):
            assert not leaf.any(), name
        elif name.endswith("scale"):
            assert (leaf == 1).all(), name
        else:
            expected = residual if name.endswith(("out/kernel", "down/kernel")) else 0.02
            assert np.std(leaf) == pytest.approx(expected, rel=0.03), name


# What is refused.


@pytest.mark.parametrize(
    ("config", "fields", "message"),
    [
        (GPT2, {"hidden_size": 9}, "model.hidden_size 9.*num_heads 2; give.*head_dim"),
        (GPT2, {"num_layers": 0}, "model.num_layers is 0"),
        (GPT2, {"head_dim": 0}, "model.head_dim is 0"),
        (GPT2, {"num_kv_heads": 0}, "model.num_kv_heads is 0"),
        (GPT2, {"max_length": 0}, "model.max_length is 0"),
        (GPT2, {"window": 0}, "model.window is 0"),
        (GPT2, {"eos_token_id": 19}, "model.eos_token_id is 19.*vocabulary of 19"),
        (GPT2, {"pad_token_id": -1}, "model.pad_token_id is -1"),
        (GPT2, {"mup_base_width": -1}, "model.mup_base_width is -1"),
        (GPT2, {"activation": "gelu_tan"}, "did you mean 'gelu_tanh'"),
        (GPT2, {"attention_pattern": ()}, "model.attention_pattern is empty"),
        (GPT2, {"attention_pattern": ("globl",)}, "'globl'; did you mean 'global'"),
        (GPT2, {"norm": "rsm"}, "unknown model.norm 'rsm'; did you mean 'rms'"),
        (GPT2, {"positions": "learnt"}, "did you mean 'learned'"),
        (LLAMA, {"num_kv_heads": 3}, "num_heads 4 does not divide into model.num_kv_heads 3"),
        (LLAMA, {"head_dim": 5}, "heads of 5 are odd; give an even model.head_dim"),
    ],
)
def test_bad_fields_are_named(config, fields, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(config, **fields)


def test_unknown_tasks_name_the_nearest():
    with pytest.raises(InputError, match="did you mean 'causal_lm'"):
        ff.models.build(GPT2, "casual_lm")
    with pytest.raises(InputError, match="unknown task 'masked_lm'"):
        GPT2.forward_flops({"input_ids": (1, 4)}, task="masked_lm")
    assert "causal_lm" in ff.models.TASKS


@pytest.mark.parametrize(
    ("task", "shape", "message"),
    [
        ("base", (1, 2, 4), r"has the shape \[1, 2, 4\]; for base it must be \[batch, length\]"),
        ("multiple_choice", (2, 4), r"for multiple_choice it must be \[batch, choices, length\]"),
        ("causal_lm", (1, 17), "17 positions are more than model.max_length=16"),
    ],
)
def test_ids_of_other_shapes_are_refused(task, shape, message):
    module = GPT2.build(task)
    with pytest.raises(InputError, match=message):
        module.apply({"params": params_of(module)}, jnp.zeros(shape, jnp.int32))


def test_a_task_without_an_output_layer_says_so():
    module = variant(LLAMA, "sequence_classification")
    with pytest.raises(InputError, match=r"sequence_classification has no output layer.*tie_emb"):
        module.apply({"params": params_of(module)}, jnp.ones((1, 2, 8)), method="to_logits")
