"""Tiny decoders of every family, for the tests of this folder.

Dims: B batch, T length, P prompt length, N hypotheses a row.
"""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from flaxformers_edu.decoding.loop import reorder_cache
from flaxformers_edu.layers.positions import RopeScaling
from flaxformers_edu.models import GPT1Config, GPTConfig, GPTNeoConfig, LlamaConfig
from tests.trees import random_params

V = 19
SIZES = dict(
    vocab_size=V,
    hidden_size=8,
    num_layers=2,
    num_heads=2,
    intermediate_size=12,
    dropout=0.0,
    embedding_dropout=0.0,
    attention_dropout=0.0,
    classifier_dropout=0.0,
    max_length=16,
    pad_token_id=0,
    eos_token_id=1,
    num_labels=3,
)
FAMILIES = {
    "gpt1": GPT1Config(**SIZES),
    "gpt2": GPTConfig(**SIZES),
    # Three layers: the pattern does not go into them without rest.
    "gpt_neo": GPTNeoConfig(**SIZES | dict(num_layers=3, window=3)),
    "llama": LlamaConfig(**SIZES | dict(num_heads=4, num_kv_heads=2)),
    "llama stretched": LlamaConfig(
        **SIZES,
        tie_embeddings=True,
        head_dim=6,
        rope_theta=20.0,
        rope_scaling=RopeScaling(original_max_length=16),
    ),
}
"""Every family, every option that some family needs."""


def variant(config=FAMILIES["gpt2"], task="causal_lm", **fields):
    return dataclasses.replace(config, **fields).build(task)


def params_of(module, seed=0):
    return random_params(module, **module.dummy_inputs(), seed=seed)


@partial(jax.jit, static_argnums=(0,))
def run(module, params, inputs):
    return module.apply({"params": params}, **inputs)


def assert_cached_decoding_equals_full_recomputation(module, params):
    """Left-padded prompts, several hypotheses a row which are reordered, three steps."""
    N, M, B, P = 3, 3, 2, 5
    ids = np.array([[5, 6, 2, 9, 4], [0, 0, 7, 3, 8]])
    mask = np.array([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]])
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
        newest = run(module, params, inputs).logits[:, t - 1].reshape(B, N, -1)
        np.testing.assert_allclose(logits, newest, atol=2e-5)
        parents = generator.integers(0, N, (B, N))
        cache = reorder_cache(cache, jnp.asarray(parents))
        histories = np.take_along_axis(histories, parents[..., None], axis=1)
        tokens = generator.integers(0, V, (B, N))
