"""A tiny GPT-2 of Hugging Face with loud weights, and its state dict as a tree of ours."""

import jax.numpy as jnp
import torch
import transformers

from flaxformers_edu.layers.stack import stack_layers
from flaxformers_edu.models import GPTConfig

V, D, H, L, POSITIONS, EOS = 31, 16, 4, 2, 24, 2
CONFIG = GPTConfig(
    vocab_size=V,
    hidden_size=D,
    num_layers=L,
    num_heads=H,
    intermediate_size=4 * D,
    dropout=0.0,
    embedding_dropout=0.0,
    attention_dropout=0.0,
    max_length=POSITIONS,
    pad_token_id=0,
    eos_token_id=EOS,
)


def gpt2(seed):
    """Weights large enough for every part to matter."""
    config = transformers.GPT2Config(
        vocab_size=V,
        n_positions=POSITIONS,
        n_embd=D,
        n_layer=L,
        n_head=H,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=None,
        eos_token_id=EOS,
        attn_implementation="eager",
    )
    model = transformers.GPT2LMHeadModel(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            centre = 1.0 if ".ln_" in name and "weight" in name else 0.0
            parameter.copy_(centre + (0.3 if parameter.ndim == 2 else 0.1) * noise)
    return model


def to_ours(tensors):
    """Tensors under GPT-2's names (weights, or their gradients) as a tree of a scanned GPT."""
    state = {
        name.removeprefix("transformer."): jnp.asarray(tensor.numpy())
        for name, tensor in tensors.items()
    }

    def norm(name):
        return {"scale": state[f"{name}.weight"], "bias": state[f"{name}.bias"]}

    def linear(name):
        return {"kernel": state[f"{name}.weight"], "bias": state[f"{name}.bias"]}

    def layer(name):
        joined = linear(f"{name}.attn.c_attn")
        kernels, biases = (jnp.split(joined[part], 3, axis=-1) for part in ("kernel", "bias"))
        attention = {
            part: {"kernel": kernel.reshape(D, H, D // H), "bias": bias.reshape(H, D // H)}
            for part, kernel, bias in zip(("query", "key", "value"), kernels, biases, strict=True)
        }
        out = linear(f"{name}.attn.c_proj")
        attention["out"] = {"kernel": out["kernel"].reshape(H, D // H, D), "bias": out["bias"]}
        return {
            "attention": attention,
            "attention_norm": norm(f"{name}.ln_1"),
            "mlp": {"up": linear(f"{name}.mlp.c_fc"), "down": linear(f"{name}.mlp.c_proj")},
            "mlp_norm": norm(f"{name}.ln_2"),
        }

    return stack_layers(
        {
            "embedding": {"embedding": state["wte.weight"]},
            "positions": {"embedding": state["wpe.weight"]},
            "decoder": {"layers": {str(i): layer(f"h.{i}") for i in range(L)}},
            "norm": norm("ln_f"),
        }
    )
