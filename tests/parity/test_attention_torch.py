"""Attention, activations and rotary positions against torch and Hugging Face.

Dims: B batch, T queries, S keys, D hidden size, H heads, K head_dim.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity

from transformers.activations import ACT2FN  # noqa: E402
from transformers.models.llama.modeling_llama import (  # noqa: E402
    LlamaRotaryEmbedding,
    apply_rotary_pos_emb,
)

from flaxformers_edu.layers.attention import dot_product_attention  # noqa: E402
from flaxformers_edu.layers.masks import Mask  # noqa: E402
from flaxformers_edu.layers.mlp import activation  # noqa: E402
from flaxformers_edu.layers.multi_head import MultiHeadAttention  # noqa: E402
from flaxformers_edu.layers.positions import Rotary  # noqa: E402

B, T, S, D, H = 2, 5, 7, 12, 3
K = D // H


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("causal", [False, True])
def test_multi_head_attention(causal):
    rows = T if causal else S
    x, source = normal(0, B, T, D), normal(1, B, rows, D)
    lengths = np.array([2, rows])
    theirs = torch.nn.MultiheadAttention(D, H, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_bias.copy_(torch.tensor(normal(2, 3 * D)))
        theirs.out_proj.bias.copy_(torch.tensor(normal(3, D)))
        expected, weights = theirs(
            torch.tensor(x),
            torch.tensor(source),
            torch.tensor(source),
            key_padding_mask=torch.tensor(np.arange(rows)[None] >= lengths[:, None]),
            attn_mask=torch.triu(torch.ones(T, rows, dtype=torch.bool), 1) if causal else None,
            average_attn_weights=False,
        )
    state = {name: jnp.asarray(tensor.numpy()) for name, tensor in theirs.state_dict().items()}
    kernels = jnp.split(state["in_proj_weight"], 3)
    biases = jnp.split(state["in_proj_bias"], 3)
    params = {
        name: {"kernel": kernel.T.reshape(D, H, K), "bias": bias.reshape(H, K)}
        for name, kernel, bias in zip(("query", "key", "value"), kernels, biases, strict=True)
    }
    params["out"] = {
        "kernel": state["out_proj.weight"].T.reshape(H, K, D),
        "bias": state["out_proj.bias"],
    }

    @jax.jit
    def run(params, x, source, mask):
        def attend(module):
            return module(x, module.keys_values(source), mask)

        module = MultiHeadAttention(num_heads=H, hidden_size=D)
        return module.apply({"params": params}, method=attend, mutable=["intermediates"])

    mask = Mask(causal=causal, key_lengths_B=jnp.asarray(lengths))
    ours, sown = run(params, jnp.asarray(x), jnp.asarray(source), mask)
    np.testing.assert_allclose(ours, expected.numpy(), atol=1e-5)
    np.testing.assert_allclose(sown["intermediates"]["weights"], weights.numpy(), atol=1e-6)


@pytest.mark.parametrize("implementation", ["reference", "xla"])
def test_grouped_attention_and_its_gradients(implementation):
    arrays = normal(0, B, T, 4, 8), normal(1, B, S, 2, 8), normal(2, B, S, 2, 8)
    d_out = normal(3, B, T, 4, 8)
    allowed = np.random.default_rng(4).random((B, T, S)) < 0.6
    allowed[..., 0] = True
    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    q, k, v = (tensor.transpose(1, 2) for tensor in tensors)
    expected = torch.nn.functional.scaled_dot_product_attention(
        q, k, v, attn_mask=torch.tensor(allowed)[:, None], enable_gqa=True
    ).transpose(1, 2)
    expected.backward(torch.tensor(d_out))

    @jax.jit
    def run(q, k, v, visible):
        out, pull = jax.vjp(
            lambda *qkv: dot_product_attention(
                *qkv, Mask(visible_BTS=visible), implementation=implementation
            ),
            q,
            k,
            v,
        )
        return out, pull(jnp.asarray(d_out))

    out, gradients = run(*(jnp.asarray(array) for array in arrays), jnp.asarray(allowed))
    np.testing.assert_allclose(out, expected.detach().numpy(), atol=1e-5)
    for ours, tensor in zip(gradients, tensors, strict=True):
        np.testing.assert_allclose(ours, tensor.grad.numpy(), atol=2e-5)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("relu", "relu"),
        ("gelu", "gelu"),
        ("gelu_tanh", "gelu_new"),
        ("gelu_tanh", "gelu_pytorch_tanh"),
        ("quick_gelu", "quick_gelu"),
        ("silu", "silu"),
        ("silu", "swish"),
        ("tanh", "tanh"),
    ],
)
def test_activations(ours, theirs):
    x = np.linspace(-9, 9, 4001, dtype=np.float32)
    expected = ACT2FN[theirs](torch.tensor(x)).numpy()
    np.testing.assert_allclose(activation(ours)(jnp.asarray(x)), expected, atol=2e-6)


def test_rotary_is_that_of_llama():
    config = transformers.LlamaConfig(
        hidden_size=16,
        num_attention_heads=2,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0},
    )
    q, k = normal(0, B, T, 2, 8), normal(1, B, T, 2, 8)
    positions = np.array([[0, 1, 2, 3, 4], [0, 0, 40, 41, 42]])
    cos, sin = LlamaRotaryEmbedding(config)(torch.tensor(q), torch.tensor(positions))
    expected = apply_rotary_pos_emb(
        torch.tensor(q).transpose(1, 2), torch.tensor(k).transpose(1, 2), cos, sin
    )
    rotary = Rotary(theta=500.0)
    for x, theirs in zip((q, k), expected, strict=True):
        turned = rotary(jnp.asarray(x), jnp.asarray(positions))
        np.testing.assert_allclose(turned, theirs.transpose(1, 2).numpy(), atol=1e-5)
