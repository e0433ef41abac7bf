"""The encoders' published sizes, and the names, shapes and axes of their parameters."""

import dataclasses
import json
from pathlib import Path

import flax.linen as nn
import jax
import pytest

import flaxformers_edu as ff
from flaxformers_edu.errors import InputError
from flaxformers_edu.models.encoder_config import EncoderConfig, parameter_count
from flaxformers_edu.sharding import PARAMETER_RULES
from tests.models.encoders import BERT, FAMILIES, params_of, variant
from tests.trees import shapes

GOLDEN = Path(__file__).parent.parent / "golden"

PUBLISHED = {
    ("bert-base", "base"): 109_482_240,
    ("bert-base", "pretraining"): 110_106_428,
    ("bert-base", "masked_lm"): 109_514_298,
    ("bert-base", "sequence_classification"): 109_483_778,
    ("bert-base", "question_answering"): 108_893_186,
    ("bert-base", "multiple_choice"): 109_483_009,
    ("bert-base-cased", "base"): 108_310_272,
    ("bert-base-multilingual-cased", "base"): 177_853_440,
    ("bert-large", "base"): 335_141_888,
    ("bert-large", "pretraining"): 336_226_108,
    ("bert-large-cased", "base"): 333_579_264,
    ("bert-tiny", "base"): 4_385_920,
    ("bert-mini", "base"): 11_170_560,
    ("roberta-base", "base"): 124_645_632,
    ("roberta-base", "masked_lm"): 124_697_433,
    ("roberta-large", "base"): 355_359_744,
    ("roberta-large", "masked_lm"): 355_412_057,
    ("albert-base", "base"): 11_683_584,
    ("albert-base", "pretraining"): 11_813_810,
    ("albert-large", "base"): 17_683_968,
    ("albert-large", "pretraining"): 17_847_474,
    ("albert-xlarge", "base"): 58_724_864,
    ("albert-xlarge", "pretraining"): 59_021_490,
    ("albert-xxlarge", "base"): 222_595_584,
    ("albert-xxlarge", "pretraining"): 223_158_450,
    ("electra-small", "base"): 13_483_008,
    ("electra-small", "pretraining"): 13_549_057,
    ("electra-base", "base"): 108_891_648,
    ("electra-base", "pretraining"): 109_483_009,
    ("electra-small-generator", "masked_lm"): 13_546_682,
    ("electra-base-generator", "masked_lm"): 33_740_602,
    ("distilbert-base", "base"): 66_362_880,
    ("distilbert-base", "masked_lm"): 66_985_530,
    ("distilbert-base", "sequence_classification"): 66_955_010,
    ("tinybert-4", "base"): 14_350_248,
    ("tinybert-4", "distillation"): 14_590_632,
    ("tinybert-6", "base"): 66_955_008,
}


@pytest.mark.parametrize(("preset", "task"), PUBLISHED)
def test_published_sizes(preset, task):
    config = ff.models.presets()[preset]
    assert ff.count_params(config, task) == PUBLISHED[preset, task]


ENCODERS = {n: c for n, c in ff.models.presets().items() if isinstance(c, EncoderConfig)}


@pytest.mark.parametrize("preset", ENCODERS)
def test_formula_of_the_count(preset):
    assert parameter_count(ENCODERS[preset]) == ff.count_params(ENCODERS[preset], "base")


@pytest.mark.parametrize(
    "fields",
    [
        {"share": "none"},
        {"share": "attention"},
        {"share": "ffn"},
        {"num_groups": 3, "num_layers": 5},
        {"inner_group_num": 2},
        {"embedding_size": None, "layout": "unrolled", "num_groups": 2, "inner_group_num": 3},
    ],
    ids=str,
)
def test_formula_of_alberts_ways_to_share(fields):
    config = dataclasses.replace(FAMILIES["albert"], **fields)
    assert parameter_count(config) == ff.count_params(config, "base")


def test_the_small_generator_of_the_paper_is_a_quarter_as_wide():
    """The released one is as wide as its discriminator."""
    small = ff.models.presets()["electra-small"]
    assert small.generator() == small
    paper = dataclasses.replace(small, generator_fraction=0.25).generator()
    assert (paper.hidden_size, paper.num_heads, paper.intermediate_size) == (64, 1, 256)
    assert (paper.embedding_size, paper.num_layers) == (128, 12)
    assert ff.count_params(paper, "masked_lm") == 4_620_026


@pytest.mark.parametrize("preset", ["electra-small", "electra-base", "electra-large"])
def test_joint_pretraining_has_the_embeddings_once(preset):
    config = ENCODERS[preset]
    c, E = config, config.width_of_embeddings
    embeddings = (c.vocab_size + c.max_length + c.num_token_types + 2) * E
    apart = ff.count_params(config, "pretraining") + ff.count_params(
        config.generator(), "masked_lm"
    )
    assert ff.count_params(config, "joint_pretraining") == apart - embeddings


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
        for task in config.tasks:
            for path, leaf in tree_of(config, task).items():
                value = f"{leaf.value.dtype}{list(leaf.value.shape)} {' '.join(leaf.names)}"
                tree.setdefault(f"{path} {value}", []).append(task)
        for leaf, tasks in tree.items():
            tree[leaf] = "all but joint_pretraining" if len(tasks) > 5 else ", ".join(tasks)
    path = GOLDEN / "encoder_trees.json"
    text = json.dumps(found, indent=1)
    assert found == json.loads(path.read_text()), (
        "the parameters' names, shapes, dtypes, axes or tasks have changed, and old checkpoints no "
        f"longer load; if that is meant, write this to {path.name}:\n{text}"
    )


def test_the_body_has_the_same_parameters_in_every_task():
    for name, config in FAMILIES.items():
        trees = [tree_of(config, task) for task in config.tasks if task != "joint_pretraining"]
        bodies = [
            {path: leaf for path, leaf in tree.items() if path.startswith(("e", "p"))}
            for tree in trees
        ]
        bodies = [{n: x for n, x in body.items() if "pooler" not in n} for body in bodies]
        assert len(bodies[0]) >= 20, name
        assert all(body == bodies[0] for body in bodies), name


def test_every_axis_has_a_rule():
    names = {
        name
        for config in FAMILIES.values()
        for task in config.tasks
        for leaf in tree_of(config, task).values()
        for name in leaf.names
    }
    assert {"token_types", "features", "labels"} < names <= set(PARAMETER_RULES)


def test_initialisation():
    """N(0, init_std), biases zero and scales one."""
    module = variant(vocab_size=400, hidden_size=64, init_std=0.05, task="pretraining")
    params = nn.meta.unbox(
        jax.jit(lambda: module.init(jax.random.key(0), **module.dummy_inputs()))()
    )["params"]
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if name.endswith("bias"):
            assert not leaf.any(), name
        elif name.endswith("scale"):
            assert (leaf == 1).all(), name
        else:
            assert leaf.std() == pytest.approx(0.05, rel=0.2), name


# What is refused.


@pytest.mark.parametrize(
    ("config", "fields", "message"),
    [
        (BERT, {"hidden_size": 0}, "model.hidden_size is 0; it must be at least 1"),
        (BERT, {"embedding_size": 0}, "model.embedding_size is 0"),
        (BERT, {"num_heads": 3}, "model.hidden_size 8 does not divide into model.num_heads 3"),
        (BERT, {"num_labels": 0}, "model.num_labels is 0"),
        (BERT, {"num_token_types": -1}, "model.num_token_types is -1"),
        (BERT, {"mask_token_id": 20}, "model.mask_token_id is 20.*vocabulary of 20"),
        (BERT, {"activation": "geul"}, "did you mean 'gelu'"),
        (FAMILIES["albert"], {"num_groups": 3}, "model.num_groups is 3; it must be from 1 to"),
        (FAMILIES["albert"], {"inner_group_num": 0}, "model.inner_group_num is 0"),
        (FAMILIES["albert"], {"num_groups": 2, "share": "ffn"}, "model.share is 'ffn'; with gr"),
        (FAMILIES["electra"], {"generator_fraction": 1.5}, "model.generator_fraction is 1.5"),
        (FAMILIES["tinybert"], {"teacher_size": 0}, "model.teacher_size is 0"),
    ],
)
def test_bad_fields_are_named(config, fields, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(config, **fields)


def test_unknown_tasks_name_the_nearest():
    with pytest.raises(InputError, match="did you mean 'masked_lm'"):
        BERT.build("maskedlm")
    for family, task in [("roberta", "pretraining"), ("bert", "distillation")]:
        with pytest.raises(InputError, match=f"unknown task '{task}'"):
            FAMILIES[family].build(task)
    with pytest.raises(InputError, match="unknown task"):
        BERT.forward_flops({"input_ids": (1, 4)}, task="causal_lm")


@pytest.mark.parametrize(
    ("task", "shape", "message"),
    [
        ("base", (1, 2, 4), r"has the shape \[1, 2, 4\]; for base it must be \[batch, length\]"),
        ("multiple_choice", (2, 4), r"for multiple_choice it must be \[batch, choices, length\]"),
        ("base", (1, 17), "17 positions are more than model.max_length=16"),
    ],
)
def test_ids_of_other_shapes_are_refused(task, shape, message):
    module = BERT.build(task)
    ids = jax.numpy.zeros(shape, jax.numpy.int32)
    with pytest.raises(InputError, match=message):
        module.apply({"params": params_of(module)}, ids)
