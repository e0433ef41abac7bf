"""Our recurrent layers against torch's, weight for weight: outputs, states and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from flaxformers_edu.layers.recurrent import Recurrent  # noqa: E402
from flaxformers_edu.layers.recurrent_stack import Bidirectional  # noqa: E402
from tests.trees import random_params  # noqa: E402

pytestmark = pytest.mark.parity

B, T, D, H = 3, 7, 5, 6
LENGTHS = [7, 4, 1]
TOLERANCE = 1e-5
RNG = np.random.default_rng(0)
X = RNG.normal(size=(B, T, D)).astype(np.float32)
MASK = np.arange(T)[None] < np.array(LENGTHS)[:, None]
NAMES = {
    "weight_ih": ("input", "kernel"),
    "weight_hh": ("recurrent", "kernel"),
    "bias_ih": ("input", "bias"),
    "bias_hh": ("recurrent", "bias"),
    "weight_hr": ("projection", "kernel"),
}


def as_torch(name, leaf):
    """[inputs, gates, units] as torch has it: [gates · units, inputs]."""
    array = np.asarray(leaf)
    if name.startswith("bias"):
        return array.reshape(-1)
    return array.reshape(array.shape[0], -1).T


def named(params, theirs):
    """(torch's name, ours) of every parameter."""
    for name, _ in theirs.named_parameters():
        short, suffix = name.split("_l0")
        direction = params["backward" if suffix else "forward"]
        outer, inner = NAMES[short]
        yield name, as_torch(short, direction[outer][inner])


@pytest.mark.parametrize(("kind", "projection"), [("lstm", None), ("lstm", 4), ("gru", None)])
def test_both_directions_over_packed_rows(kind, projection):
    module = Bidirectional(
        lambda **settings: Recurrent(kind, H, projection_size=projection, **settings)
    )
    params = random_params(module, jnp.asarray(X))
    make = torch.nn.LSTM if kind == "lstm" else torch.nn.GRU
    settings = {"proj_size": projection} if projection else {}
    theirs = make(D, H, batch_first=True, bidirectional=True, **settings)
    theirs.load_state_dict({n: torch.tensor(np.array(x)) for n, x in named(params, theirs)})
    x = torch.tensor(X, requires_grad=True)
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, LENGTHS, batch_first=True)
    out, last = theirs(packed)
    expected, _ = torch.nn.utils.rnn.pad_packed_sequence(out, batch_first=True)
    way = RNG.normal(size=tuple(expected.shape)).astype(np.float32)
    (expected * torch.tensor(way)).sum().backward()

    def total(params, x):
        y, states = module.apply({"params": params}, x, None, jnp.asarray(MASK))
        return (y * way).sum(), (y, states)

    run = jax.jit(jax.grad(total, argnums=(0, 1), has_aux=True))
    (gradients, gradient), (y, states) = run(params, jnp.asarray(X))
    np.testing.assert_allclose(y, expected.detach(), atol=TOLERANCE)
    hidden, cell = last if kind == "lstm" else (last, None)
    for place in range(2):
        np.testing.assert_allclose(states[place].hidden_BP, hidden[place].detach(), atol=TOLERANCE)
        if cell is not None:
            np.testing.assert_allclose(states[place].cell_BH, cell[place].detach(), atol=TOLERANCE)
    np.testing.assert_allclose(gradient, x.grad, atol=TOLERANCE)
    wanted = dict(theirs.named_parameters())
    for name, found in named(gradients, theirs):
        np.testing.assert_allclose(found, wanted[name].grad, atol=TOLERANCE, err_msg=name)
