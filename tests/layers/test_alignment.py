"""The three scores against their definitions, step by step in float64.

Dims: B batch, T queries of a row, S source length, H size of a query, E size of a source state.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.layers.alignment import Alignment, attend
from tests.trees import random_params

B, T, S, H, E = 2, 3, 4, 5, 6
RNG = np.random.default_rng(0)
HIDDEN = RNG.normal(size=(B, T, H))
MASK = np.array([[1, 1, 1, 1], [1, 1, 0, 0]])


def states_of(score):
    return RNG.normal(size=(B, S, H if score == "dot" else E))


def score_of(score, params, h, s):
    if score == "dot":
        return h @ s
    key = np.asarray(params["key"]["kernel"], np.float64)
    if score == "general":
        return h @ (s @ key)
    query, vector = (np.asarray(params[n], np.float64) for n in ("query", "vector"))
    return vector @ np.tanh(h @ query + s @ key)


@pytest.mark.parametrize("score", ["dot", "general", "concat"])
def test_equals_its_definition(score):
    """Padding has no weight; a row's queries are rows of the step that follow each other."""
    states = states_of(score)
    module = Alignment(score, H, states.shape[-1])
    x = jnp.asarray(states, jnp.float32)
    make = partial(Alignment.source, states_BSE=x)
    params = jax.eval_shape(lambda: module.init(jax.random.key(0), method=make))
    params = random_params(module, method=make) if params else {}

    def run(module):
        weights = module.weights()
        hidden_RH = jnp.asarray(HIDDEN, jnp.float32).reshape(B * T, H)
        return attend(
            score,
            lambda name, v: v @ weights[name],
            hidden_RH,
            module.source(x, jnp.asarray(MASK)),
        )

    context, weights = module.apply({"params": params}, method=run)
    for b in range(B):
        for t in range(T):
            real = [s for s in range(S) if MASK[b, s]]
            scores = np.array([score_of(score, params, HIDDEN[b, t], states[b, s]) for s in real])
            expected = np.exp(scores) / np.exp(scores).sum()
            np.testing.assert_allclose(weights[b, t, : len(real)], expected, rtol=2e-5)
            assert (weights[b, t, len(real) :] == 0).all()
            np.testing.assert_allclose(
                context[b * T + t], expected @ states[b, : len(real)], atol=1e-5
            )


@pytest.mark.parametrize(
    ("score", "message"),
    [("generall", "did you mean 'general'"), ("dot", "source's have 6, the decoder's 5")],
)
def test_what_cannot_be_is_refused(score, message):
    module = Alignment(score, H, E)
    with pytest.raises(InputError, match=message):
        module.init(jax.random.key(0), jnp.zeros((B, S, E)), method="source")
