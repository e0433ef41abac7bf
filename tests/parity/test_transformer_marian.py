"""Our Transformer against Hugging Face's Marian: the same network, weight for weight.

Dims: B batch, S source length, T target length, V vocabulary.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity

import flaxformers_edu as ff  # noqa: E402
from flaxformers_edu.layers.stack import stack_layers  # noqa: E402
from flaxformers_edu.models.transformer import TransformerConfig  # noqa: E402
from flaxformers_edu.objectives import cross_entropy  # noqa: E402
from tests.trees import assert_close  # noqa: E402

V, D, H, F, L = 29, 16, 4, 24, 2
PAD, EOS, START = 3, 1, 5
IDS = np.array([[7, 12, 9, 28, 4, 8, EOS], [6, 6, 2, EOS] + [PAD] * 3, [10, EOS] + [PAD] * 5])
MASK = (IDS != PAD).astype(np.int64)
LABELS = np.array([[8, 9, EOS, -100, -100], [27, 4, 4, 13, EOS], [11, 2, 6, EOS, -100]])
DECODER_IDS = np.concatenate([np.full((3, 1), START), LABELS[:, :-1]], axis=1)
DECODER_IDS = np.where(DECODER_IDS == -100, PAD, DECODER_IDS)


def marian(seed, activation="silu"):
    """A Marian model with weights large enough for every part to matter."""
    config = transformers.MarianConfig(
        vocab_size=V,
        d_model=D,
        encoder_layers=L,
        decoder_layers=L,
        encoder_attention_heads=H,
        decoder_attention_heads=H,
        encoder_ffn_dim=F,
        decoder_ffn_dim=F,
        activation_function=activation,
        dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        max_position_embeddings=32,
        scale_embedding=True,
        pad_token_id=PAD,
        eos_token_id=EOS,
        decoder_start_token_id=START,
        forced_eos_token_id=None,
        attn_implementation="eager",
    )
    model = transformers.MarianMTModel(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "embed_positions" in name:
                continue
            noise = torch.randn(parameter.shape, generator=generator)
            centre = 1.0 if "layer_norm.weight" in name else 0.0
            parameter.copy_(centre + (0.25 if parameter.ndim == 2 else 0.1) * noise)
    return model


def to_ours(theirs):
    """Our tree from a dictionary by Marian's names: of weights, or of their gradients."""

    def norm(name):
        return {"scale": theirs[f"{name}.weight"], "bias": theirs[f"{name}.bias"]}

    def linear(name, shape=None, bias_shape=None):
        kernel, bias = theirs[f"{name}.weight"].T, theirs[f"{name}.bias"]
        if shape is not None:
            kernel, bias = kernel.reshape(shape), bias.reshape(bias_shape)
        return {"kernel": kernel, "bias": bias}

    def attention(name):
        heads = {
            ours: linear(f"{name}.{part}_proj", (D, H, D // H), (H, D // H))
            for ours, part in (("query", "q"), ("key", "k"), ("value", "v"))
        }
        return {**heads, "out": linear(f"{name}.out_proj", (H, D // H, D), (D,))}

    def layer(name, decoder):
        tree = {
            "attention": attention(f"{name}.self_attn"),
            "attention_norm": norm(f"{name}.self_attn_layer_norm"),
            "mlp": {"up": linear(f"{name}.fc1"), "down": linear(f"{name}.fc2")},
            "mlp_norm": norm(f"{name}.final_layer_norm"),
        }
        if decoder:
            tree["cross_attention"] = attention(f"{name}.encoder_attn")
            tree["cross_attention_norm"] = norm(f"{name}.encoder_attn_layer_norm")
        return tree

    def stack(name):
        layers = {str(i): layer(f"model.{name}.layers.{i}", name == "decoder") for i in range(L)}
        return {"layers": layers}

    tree = {
        "embedding": {"embedding": theirs["model.shared.weight"]},
        "encoder": stack("encoder"),
        "decoder": stack("decoder"),
    }
    return stack_layers(jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), tree))


def ours(activation="silu"):
    return TransformerConfig(
        vocab_size=V,
        hidden_size=D,
        num_layers=L,
        num_heads=H,
        intermediate_size=F,
        activation=activation,
        dropout=0.0,
        norm_epsilon=1e-5,
        position_layout="halves",
        pad_token_id=PAD,
        eos_token_id=EOS,
        decoder_start_token_id=START,
    ).build()


def weights_of(model):
    return to_ours({name: tensor.numpy() for name, tensor in model.state_dict().items()})


def theirs_of(model):
    return model(
        input_ids=torch.tensor(IDS),
        attention_mask=torch.tensor(MASK),
        decoder_input_ids=torch.tensor(DECODER_IDS),
        labels=torch.tensor(LABELS),
    )


def ours_of(module, params):
    inputs = (jnp.asarray(ids) for ids in (IDS, MASK, DECODER_IDS))
    return module.apply({"params": params}, *inputs)


def compare_outputs(output, theirs):
    source, target = MASK != 0, LABELS != -100
    np.testing.assert_allclose(
        np.asarray(output.encoder_last_hidden_state)[source],
        theirs.encoder_last_hidden_state.detach().numpy()[source],
        atol=2e-5,
    )
    np.testing.assert_allclose(
        np.asarray(output.logits)[target], theirs.logits.detach().numpy()[target], atol=2e-5
    )


def test_forward_with_relu():
    model = marian(0, "relu")
    compare_outputs(jax.jit(partial(ours_of, ours("relu")))(weights_of(model)), theirs_of(model))


def test_forward_and_backward():
    model = marian(0)
    theirs = theirs_of(model)
    theirs.loss.backward()

    @jax.jit
    @partial(jax.value_and_grad, has_aux=True)
    def run(params):
        output = ours_of(ours(), params)
        loss = cross_entropy(output.logits, jnp.asarray(LABELS))
        return loss.sum / loss.weight, output

    (loss, output), gradients = run(weights_of(model))
    compare_outputs(output, theirs)
    np.testing.assert_allclose(loss, theirs.loss.item(), atol=2e-5)
    named = {name: p.grad.numpy() for name, p in model.named_parameters() if p.grad is not None}
    assert_close(gradients, to_ours(named), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 0.5])
def test_label_smoothing_is_that_of_torch(label_smoothing):
    logits = np.random.default_rng(0).normal(0, 3, (3, 5, V)).astype(np.float32)
    criterion = torch.nn.CrossEntropyLoss(label_smoothing=label_smoothing, reduction="sum")
    expected = criterion(torch.tensor(logits).reshape(-1, V), torch.tensor(LABELS).reshape(-1))
    loss = cross_entropy(jnp.asarray(logits), jnp.asarray(LABELS), label_smoothing)
    np.testing.assert_allclose(loss.sum, expected.item(), rtol=1e-5)


LENGTH_PENALTIES = [{"length_penalty": penalty} for penalty in (-1.0, 0.0, 0.6, 1.0, 2.0)]
SETTINGS = [
    ({}, [{}]),
    ({"num_beams": 3, "num_return_sequences": 2, "early_stopping": False}, LENGTH_PENALTIES),
    ({"num_beams": 3, "num_return_sequences": 2, "early_stopping": True}, LENGTH_PENALTIES[::2]),
    ({"num_beams": 3, "num_return_sequences": 2, "early_stopping": "never"}, LENGTH_PENALTIES[::2]),
    (
        {"num_beams": 2, "early_stopping": False},
        [{"min_new_tokens": 2, "length_penalty": 0.0}, {"min_new_tokens": 9}],
    ),
]


@pytest.mark.parametrize(("fixed", "varied"), SETTINGS, ids=lambda value: str(value)[:60])
def test_generation_token_for_token(fixed, varied):
    """`fixed` settings compile, `varied` ones do not; several models, so that rows end apart."""
    lengths = set()
    for seed in range(2):
        model = marian(seed)
        with torch.no_grad():  # raises the logit of the end by 2.5: ends early and late
            end = model.model.shared.weight[EOS]
            model.model.decoder.layers[-1].final_layer_norm.bias += 2.5 * end / end.square().sum()
        params = weights_of(model)
        for more in varied:
            settings = {"max_new_tokens": 9, **fixed, **more}
            found = ff.generate(ours(), params, IDS, MASK, **settings)
            theirs = model.generate(
                torch.tensor(IDS),
                attention_mask=torch.tensor(MASK),
                do_sample=False,
                return_dict_in_generate=True,
                output_scores=True,
                bad_words_ids=None,
                forced_eos_token_id=None,
                **settings,
            )
            np.testing.assert_array_equal(found.sequences, theirs.sequences.numpy())
            if fixed:
                np.testing.assert_allclose(found.scores, theirs.sequences_scores.numpy(), atol=1e-4)
            ends = np.asarray(found.sequences)[:, 1:] == EOS
            lengths |= set(np.where(ends.any(axis=1), ends.argmax(axis=1), 9).tolist())
    assert len(lengths) > 1, "all sequences are equally long: the test says little"
