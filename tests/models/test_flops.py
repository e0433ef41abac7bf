"""The families' closed forms against XLA's count of the programs, at the widths they really have.

XLA counts every operation, the closed forms only products: they agree within 2% where a model is
as wide as models are. Programs are lowered from shapes and never compiled. Every layer must be in
the program text, so the stacks are unrolled; two layers show what one more costs.
"""

import dataclasses
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from flaxformers_edu import flops
from flaxformers_edu.models import presets
from flaxformers_edu.models.transformer import TransformerConfig
from flaxformers_edu.objectives import CausalLM, Translation

VISIBLE = dict(layout="unrolled", remat="none", attention_implementation="reference")
SEQ2SEQ = ("input_ids", "attention_mask", "decoder_input_ids", "decoder_attention_mask", "labels")
CAUSAL = ("input_ids", "attention_mask", "labels")


def xla_flops(function, *arguments) -> float:
    return jax.jit(function).lower(*arguments).cost_analysis()["flops"]


def seq2seq(rows: int, source: int, target: int) -> dict[str, tuple[int, int]]:
    lengths = {n: source if n in CAUSAL[:2] else target for n in SEQ2SEQ}
    return {name: (rows, length) for name, length in lengths.items()}


def causal(rows: int, length: int) -> dict[str, tuple[int, int]]:
    return dict.fromkeys(CAUSAL, (rows, length))


@pytest.mark.parametrize(
    ("preset", "fields", "objective", "shapes"),
    [
        ("transformer-base", {}, Translation(), seq2seq(4, 64, 160)),
        ("transformer-base", {"norm_position": "pre"}, Translation(), seq2seq(1, 512, 96)),
        ("transformer-big", {"tie_embeddings": False}, Translation(), seq2seq(4, 128, 96)),
        ("gpt2", {"head_dim": 32}, CausalLM(), causal(1, 1024)),
        ("gpt3-xl", {}, CausalLM(), causal(2, 256)),
    ],
)
def test_within_two_percent_of_xla(preset, fields, objective, shapes):
    config = dataclasses.replace(presets()[preset], num_layers=2, **VISIBLE, **fields)
    module = config.build(objective.task)
    inputs = module.dummy_inputs()
    params = jax.eval_shape(lambda: nn.meta.unbox(module.init(jax.random.key(0), **inputs)))
    batch = {name: jax.ShapeDtypeStruct(shape, jnp.int32) for name, shape in shapes.items()}

    def forward(variables, batch):
        return module.apply(variables, **{n: x for n, x in batch.items() if n != "labels"}).logits

    def loss(variables, batch):
        return objective.loss(module, variables["params"], batch, None).sum

    closed = config.forward_flops(shapes, masked=True)
    assert math.fsum(closed.values()) == pytest.approx(xla_flops(forward, params, batch), rel=0.02)
    counted = xla_flops(jax.grad(loss), params, batch)
    assert flops.training_flops(closed) == pytest.approx(counted, rel=0.02)


def test_a_model_without_hidden_pairs_is_cheaper_by_half_of_its_self_attention():
    config, shapes = TransformerConfig(), {"input_ids": (2, 30), "decoder_input_ids": (2, 50)}
    whole, visible = config.forward_flops(shapes, masked=True), config.forward_flops(shapes)
    changed = {name for name in whole if whole[name] != visible[name]}
    assert changed == {"decoder/attention/products"}
    [name] = changed
    assert visible[name] == whole[name] * (51 / 2) / 50


@pytest.mark.parametrize("preset", ["gpt2", "gpt3-13b"])
def test_two_flops_for_each_weight_and_token(preset):
    """2N a token without the products of attention (Kaplan et al. 2020, section 2.1).

    N: all matrices of the layers, and the output table; no positions, biases, norms.
    """
    config = dataclasses.replace(presets()[preset], attention_pattern=("global",))
    D, F = config.hidden_size, config.intermediate_size
    matrices = config.num_layers * (4 * D * D + 2 * D * F) + config.vocab_size * D
    parts = config.forward_flops({"input_ids": (3, 100)})
    attending = parts.pop("decoder/attention/products")
    assert math.fsum(parts.values()) == 2 * matrices * 300
    # Section 2.1 has 2 n_layer n_ctx d_attn a token for the whole square, and 2 for + and x.
    assert attending == 2 * 2 * config.num_layers * (101 / 2) * D * 300


def places(rows: int, length: int, predicted: int) -> dict[str, tuple[int, int]]:
    return {"input_ids": (rows, length), "predict_positions": (rows, predicted)}


@pytest.mark.parametrize(
    ("preset", "task", "shapes"),
    [
        ("bert-base", "pretraining", places(4, 128, 20)),
        ("roberta-base", "sequence_classification", {"input_ids": (4, 128)}),
        ("albert-base", "pretraining", places(2, 512, 77)),
        ("electra-base", "joint_pretraining", places(4, 128, 19)),
        ("electra-base", "multiple_choice", {"input_ids": (2, 4, 64)}),
        ("distilbert-base", "question_answering", {"input_ids": (2, 384)}),
        ("tinybert-6", "token_classification", {"input_ids": (8, 64)}),
    ],
)
def test_encoders_within_two_percent_of_xla(preset, task, shapes):
    config = dataclasses.replace(presets()[preset], num_layers=2, **VISIBLE)
    module = config.build(task)
    params = jax.eval_shape(
        lambda: nn.meta.unbox(module.init(jax.random.key(0), **module.dummy_inputs()))
    )
    batch = {name: jax.ShapeDtypeStruct(shape, jnp.int32) for name, shape in shapes.items()}

    def forward(variables, batch):
        return module.apply(variables, **batch)

    def loss(variables, batch):
        answer = forward(variables, batch)
        return sum(jnp.sum(jnp.square(x)) for x in jax.tree.leaves(answer))

    closed = config.forward_flops(shapes, task=task)
    assert math.fsum(closed.values()) == pytest.approx(xla_flops(forward, params, batch), rel=0.02)
    counted = xla_flops(jax.grad(loss), params, batch)
    assert flops.training_flops(closed) == pytest.approx(counted, rel=0.02)


@pytest.mark.parametrize(
    ("preset", "task", "shape"),
    [
        ("gpt1", "multiple_choice", (1, 2, 128)),
        ("gpt2", "sequence_classification", (2, 128)),
        ("gpt3-xl", "causal_lm", (1, 512)),
        ("gpt-neo-1.3b", "question_answering", (1, 512)),
        ("llama-2-7b", "causal_lm", (1, 256)),
        ("llama-3.2-1b", "token_classification", (1, 256)),
    ],
)
def test_decoders_within_two_percent_of_xla(preset, task, shape):
    config = dataclasses.replace(presets()[preset], num_layers=2, **VISIBLE)
    module = config.build(task)
    params = jax.eval_shape(
        lambda: nn.meta.unbox(module.init(jax.random.key(0), **module.dummy_inputs()))
    )
    batch = {"input_ids": jax.ShapeDtypeStruct(shape, jnp.int32)}

    def forward(variables, batch):
        return module.apply(variables, **batch)

    def loss(variables, batch):
        answer = forward(variables, batch)
        return sum(jnp.sum(jnp.square(x)) for x in jax.tree.leaves(answer))

    closed = config.forward_flops({"input_ids": shape}, masked=True, task=task)
    assert math.fsum(closed.values()) == pytest.approx(xla_flops(forward, params, batch), rel=0.02)
    counted = xla_flops(jax.grad(loss), params, batch)
    assert flops.training_flops(closed) == pytest.approx(counted, rel=0.02)


def test_a_window_hides_the_pairs_beyond_it():
    """Of 8 tokens the causal square has 36 pairs, a band of 3 has 21."""
    config = dataclasses.replace(presets()["gpt-neo-125m"], num_layers=3, window=3)
    shapes, D = {"input_ids": (2, 8)}, config.hidden_size
    products = "decoder/attention/products"
    assert config.forward_flops(shapes)[products] == 2 * 2 * 2 * D * (36 + 21 + 36)
    assert config.forward_flops(shapes, masked=True)[products] == 2 * 2 * 2 * D * 3 * 64
