"""A decoder-only model made of the library's parts against Hugging Face's GPT-2 `generate`.

Dims: B batch, P prompt length, T length, N hypotheses a row, D hidden size, V vocabulary.
"""

from dataclasses import dataclass
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity

import flaxformers_edu as ff  # noqa: E402
from flaxformers_edu.layers.block import Block  # noqa: E402
from flaxformers_edu.layers.cache import (  # noqa: E402
    DecodeCache,
    LayerCache,
    Slots,
    num_slots,
    prompt_positions,
)
from flaxformers_edu.layers.embeddings import TokenEmbedding  # noqa: E402
from flaxformers_edu.layers.masks import Mask  # noqa: E402
from flaxformers_edu.layers.mlp import FeedForward  # noqa: E402
from flaxformers_edu.layers.multi_head import MultiHeadAttention  # noqa: E402
from flaxformers_edu.layers.norms import LayerNorm  # noqa: E402
from flaxformers_edu.layers.positions import LearnedPositions  # noqa: E402
from flaxformers_edu.layers.stack import Stack, stack_layers, unstack_layers  # noqa: E402

V, D, H, L, POSITIONS, EOS = 31, 16, 4, 2, 24, 2
PROMPTS = np.array([[0, 0, 0, 7], [5, 9, 30, 4], [0, 0, 11, 8], [0, 3, 3, 21]])
MASK = np.array([[0, 0, 0, 1], [1, 1, 1, 1], [0, 0, 1, 1], [0, 1, 1, 1]])


@dataclass(frozen=True)
class Config:
    vocab_size: int = V
    eos_token_id: int = EOS


class Decoder(nn.Module):
    """GPT-2's shape: pre-norm blocks, learned positions, a final norm, tied output."""

    layout: str = "scanned"
    config: Config = Config()
    is_encoder_decoder = False

    def setup(self):
        block = partial(
            Block,
            partial(MultiHeadAttention, num_heads=H, hidden_size=D),
            partial(FeedForward, hidden_size=D, intermediate_size=4 * D, activation="gelu_tanh"),
            LayerNorm,
            norm_position="pre",
        )
        self.embedding = TokenEmbedding(V, D)
        self.positions = LearnedPositions(POSITIONS, D)
        self.decoder = Stack(block, L, layout=self.layout)
        self.norm = LayerNorm()

    def __call__(self, input_ids, attention_mask):
        mask_BT = attention_mask != 0
        x_BTD = self.embedding(input_ids) + self.positions(prompt_positions(mask_BT))
        x_BTD, _ = self.decoder(x_BTD, Mask(causal=True, key_mask_BS=mask_BT))
        return self.embedding.logits(self.norm(x_BTD))

    def start_cache(self, input_ids, attention_mask, *, num_beams, max_new_tokens):
        mask_BP = jnp.asarray(attention_mask)[:, :-1] != 0
        B, P = mask_BP.shape
        slots = num_slots(P, num_beams, max_new_tokens)
        empty = Slots.empty(B, H, slots, D // H, jnp.float32)
        layers = tuple(LayerCache(empty) for _ in range(L))
        if self.layout == "scanned":
            layers = jax.tree.map(lambda *xs: jnp.stack(xs), *layers)
        if P:
            positions_BP = prompt_positions(mask_BP)
            x_BPD = self.embedding(input_ids[:, :-1]) + self.positions(positions_BP)
            _, layers = self.decoder(x_BPD, Mask(causal=True, key_mask_BS=mask_BP), cache=layers)
        return DecodeCache.create(
            layers, prompt_mask_BP=mask_BP, num_beams=num_beams, max_new_tokens=max_new_tokens
        )

    def decode_step(self, tokens_BN, cache):
        cache = cache.extend()
        x_BND = self.embedding(tokens_BN) + self.positions(cache.positions())
        x_BND, layers = self.decoder(x_BND, cache.mask(), cache=cache.layers, slot=cache.next_slot)
        return self.embedding.logits(self.norm(x_BND)), cache.advance(layers)


def gpt2(seed):
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


def to_ours(model):
    state = {
        name.removeprefix("transformer."): jnp.asarray(tensor.numpy())
        for name, tensor in model.state_dict().items()
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


def test_logits_of_left_padded_rows():
    model = gpt2(0)
    with torch.no_grad():
        theirs = model(
            torch.tensor(PROMPTS),
            attention_mask=torch.tensor(MASK),
            position_ids=torch.tensor((MASK.cumsum(1) - 1).clip(0)),
        ).logits.numpy()
    ours = jax.jit(Decoder().apply)(
        {"params": to_ours(model)}, jnp.asarray(PROMPTS), jnp.asarray(MASK)
    )
    np.testing.assert_allclose(np.asarray(ours)[MASK != 0], theirs[MASK != 0], atol=2e-5)


LENGTH_PENALTIES = [{"length_penalty": penalty} for penalty in (-1.0, 0.0, 0.5, 1.0, 2.0)]
SETTINGS = [
    ({}, [{}]),
    ({"num_beams": 3, "num_return_sequences": 3, "early_stopping": False}, LENGTH_PENALTIES),
    ({"num_beams": 3, "num_return_sequences": 1, "early_stopping": True}, LENGTH_PENALTIES[::2]),
    ({"num_beams": 4, "num_return_sequences": 2, "early_stopping": "never"}, LENGTH_PENALTIES[::2]),
    (
        {"num_beams": 2, "repetition_penalty": 1.3},
        [{"min_new_tokens": 3}, {"min_new_tokens": 8, "length_penalty": 0.0}],
    ),
]


def compare(model, module, params, ids, mask, settings):
    found = ff.generate(module, params, ids, mask, **settings)
    theirs = model.generate(
        torch.tensor(ids),
        attention_mask=torch.tensor(mask),
        do_sample=False,
        return_dict_in_generate=True,
        output_scores=True,
        **settings,
    )
    np.testing.assert_array_equal(found.sequences, theirs.sequences.numpy())
    if settings.get("num_beams", 1) > 1:
        np.testing.assert_allclose(found.scores, theirs.sequences_scores.numpy(), atol=1e-4)
    return np.asarray(found.sequences)[:, ids.shape[1] :]


@pytest.mark.parametrize(("fixed", "varied"), SETTINGS, ids=lambda value: str(value)[:60])
def test_generation_token_for_token(fixed, varied):
    """`fixed` settings compile, `varied` ones do not; several models, so that rows end apart."""
    lengths = set()
    for seed in range(2):
        model = gpt2(seed)
        with torch.no_grad():  # raises the logit of the end by 2.5: ends early and late
            end = model.transformer.wte.weight[EOS]
            model.transformer.ln_f.bias += 2.5 * end / end.square().sum()
        params = to_ours(model)
        for more in varied:
            settings = {"max_new_tokens": 9, "pad_token_id": 3, **fixed, **more}
            new = compare(model, Decoder(), params, PROMPTS, MASK, settings)
            ends = new == EOS
            lengths |= set(np.where(ends.any(axis=1), ends.argmax(axis=1), 9).tolist())
    assert len(lengths) > 1, "all sequences are equally long: the test says little"


def test_unrolled_and_prompts_of_one_token():
    model = gpt2(1)
    params = unstack_layers(to_ours(model))
    settings = {"max_new_tokens": 6, "pad_token_id": 3, "num_beams": 3, "num_return_sequences": 2}
    ids = np.array([[7], [4]])
    compare(model, Decoder("unrolled"), params, ids, np.ones_like(ids), settings)
