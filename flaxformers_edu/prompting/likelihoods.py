"""The compiled part of scoring: log-likelihoods of continuations, in one go or step by step.

Both programs are compiled once for a model and a shape, whoever asks. They give sums over the
tokens of a continuation, and whether each of these was the likeliest.

Dims: B rows, T length, P context, C continuations of a context, L tokens of a continuation,
D hidden size, V vocabulary.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

CHUNK = 64
"""Places whose logits are made at once."""

Arrays = Mapping[str, Any]
Likelihoods = tuple[Any, Any]


@functools.partial(jax.jit, static_argnums=0)
def score_whole_rows(model: Any, params: Any, batch: Arrays) -> Likelihoods:
    """Of each row, [B]: contexts and continuations behind each other, padded on the right.

    `batch` has input_ids and attention_mask [B, T], and `places`, `targets` and `is_token` [B, L]:
    where a token of a continuation is predicted, which it is, and whether there is one.
    """
    output = model.apply({"params": params}, batch["input_ids"], batch["attention_mask"])
    x_BLD = jnp.take_along_axis(output.last_hidden_state, batch["places"][..., None], axis=1)
    head = {"params": model.head_params(params)}

    def chunk(x_BcD: Any, targets_Bc: Any) -> Any:
        logits_BcV = model.apply(head, x_BcD, method="to_logits")
        return token_log_probs(logits_BcV, targets_Bc)

    # The model's own logits, of all places, go unused: the compiled program has none.
    log_probs_BL, likeliest_BL = _in_chunks(chunk, x_BLD, batch["targets"])
    return _over_tokens(log_probs_BL, likeliest_BL, batch["is_token"])


@functools.partial(jax.jit, static_argnums=0)
def score_contexts_first(model: Any, params: Any, batch: Arrays) -> Likelihoods:
    """Of each continuation of each context, [B, C]: a prefill, then L steps of C hypotheses.

    `batch` has input_ids and attention_mask [B, P], contexts padded on the left, and `targets` and
    `is_token` [B, C, L].
    """
    if hasattr(model, "for_decoding"):
        model, params = model.for_decoding(params)
    variables = {"params": params}
    targets_BCL = batch["targets"]
    B, C, L = targets_BCL.shape
    cache = model.apply(
        variables,
        batch["input_ids"],
        batch["attention_mask"],
        num_beams=C,
        max_new_tokens=L,
        method="start_cache",
    )
    last_BC1 = jnp.broadcast_to(batch["input_ids"][:, -1:, None], (B, C, 1))
    read_BCL = jnp.concatenate([last_BC1, targets_BCL[:, :, :-1]], axis=-1)

    def step(cache: Any, tokens: Any) -> Any:
        read_BC, targets_BC = tokens
        logits_BCV, cache = model.apply(variables, read_BC, cache, method="decode_step")
        return cache, token_log_probs(logits_BCV, targets_BC)

    steps = (jnp.moveaxis(read_BCL, -1, 0), jnp.moveaxis(targets_BCL, -1, 0))
    _, found = jax.lax.scan(step, cache, steps)
    log_probs_BCL, likeliest_BCL = (jnp.moveaxis(x, 0, -1) for x in found)
    return _over_tokens(log_probs_BCL, likeliest_BCL, batch["is_token"])


def token_log_probs(
    logits: Float[Array, "*places V"], targets: Int[Array, "*places"]
) -> tuple[Float[Array, "*places"], Bool[Array, "*places"]]:
    """The log-probability of each target, and whether it is the likeliest token, in float32."""
    logits = logits.astype(jnp.float32)
    chosen = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    log_probs = chosen - jax.nn.logsumexp(logits, axis=-1)
    return log_probs, jnp.argmax(logits, axis=-1) == targets


def _over_tokens(log_probs: Any, likeliest: Any, is_token: Any) -> Likelihoods:
    """Sums over the last axis, and whether all are likeliest; where there is no token, nothing."""
    sums = jnp.where(is_token, log_probs, 0.0).sum(axis=-1)
    return sums, (likeliest | ~is_token).all(axis=-1)


def _in_chunks(compute: Callable, x_BLD: Any, targets_BL: Any) -> Any:
    """`compute` over parts of the length, one after the other: logits of all would not fit."""
    B, L, D = x_BLD.shape
    if L <= CHUNK:
        return compute(x_BLD, targets_BL)
    x_cBCD = jnp.moveaxis(x_BLD.reshape(B, L // CHUNK, CHUNK, D), 1, 0)
    targets_cBC = jnp.moveaxis(targets_BL.reshape(B, L // CHUNK, CHUNK), 1, 0)
    found = jax.lax.map(lambda both: compute(*both), (x_cBCD, targets_cBC))
    return jax.tree.map(lambda y_cBC: jnp.moveaxis(y_cBC, 0, 1).reshape(B, L), found)
