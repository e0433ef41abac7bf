"""The AWD-LSTM language model against plain torch: three LSTMs of different sizes, a tied decoder.

Logits, the states after them, and the gradients of the loss, with states that come in.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.models import AWDLSTMConfig
from flaxformers_edu.objectives import BPTTLanguageModel
from tests.models.test_recurrent_lm import STILL
from tests.trees import random_params

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.parity

B, T, V = 3, 7, 23
CONFIG = AWDLSTMConfig(vocab_size=V, embedding_size=6, hidden_size=9, pad_token_id=0, **STILL)
PENALTIES = {"ar": 2.0, "tar": 1.0}


class Torch(torch.nn.Module):
    """As salesforce/awd-lstm-lm's RNNModel is put together, without its dropouts."""

    def __init__(self, params):
        super().__init__()
        self.table = torch.nn.Parameter(tensor(params["embedding"]["embedding"]))
        self.bias = torch.nn.Parameter(tensor(params["output"]["bias"]))
        self.layers = torch.nn.ModuleList()
        for number, (inputs, units) in enumerate(CONFIG.layer_sizes):
            layer = torch.nn.LSTM(inputs, units, batch_first=True)
            ours = params["layers"][str(number)]
            for side, theirs in (("input", "ih"), ("recurrent", "hh")):
                kernel = np.asarray(ours[side]["kernel"])
                weight = tensor(kernel.reshape(kernel.shape[0], -1).T)
                getattr(layer, f"weight_{theirs}_l0").data = weight
                getattr(layer, f"bias_{theirs}_l0").data = tensor(ours[side]["bias"]).ravel()
            self.layers.append(layer)

    def forward(self, ids, states):
        x, after = self.table[ids], []
        for layer, state in zip(self.layers, states, strict=True):
            x, last = layer(x, state)
            after.append(last)
        return x @ self.table.T + self.bias, x, after


def tensor(x):
    return torch.tensor(np.array(x))


def test_logits_states_loss_and_gradients():
    rng = np.random.default_rng(0)
    module, objective = CONFIG.build(), BPTTLanguageModel(bptt=T, **PENALTIES)
    params = random_params(module, **module.dummy_inputs())
    ids, labels = rng.integers(0, V, (2, B, T))
    states = jax.tree.map(
        lambda x: jnp.asarray(rng.normal(size=x.shape), jnp.float32), module.start(B)
    )
    batch = {
        "input_ids": jnp.asarray(ids),
        "attention_mask": jnp.ones((B, T), jnp.int32),
        "labels": jnp.asarray(labels),
        "begins": jnp.zeros(B, jnp.int32),
    }

    @jax.jit
    def ours(params):
        def loss_of(params):
            key = jax.random.key(0)
            loss, after = objective.carried_loss(module, params, batch, key, states)
            return loss.sum / loss.weight, after

        return jax.value_and_grad(loss_of, has_aux=True)(params)

    (loss, after), gradients = ours(params)
    peer = Torch(params)
    given = [(tensor(s.hidden_BP)[None], tensor(s.cell_BH)[None]) for s in states]
    logits, hidden, theirs = peer(torch.tensor(ids), given)
    wanted = torch.nn.functional.cross_entropy(logits.reshape(-1, V), torch.tensor(labels).ravel())
    wanted = wanted + PENALTIES["ar"] * hidden.pow(2).mean()
    wanted = wanted + PENALTIES["tar"] * (hidden[:, 1:] - hidden[:, :-1]).pow(2).mean()
    wanted.backward()

    out = jax.jit(lambda p: module.apply({"params": p}, ids, states=states))(params)
    np.testing.assert_allclose(out.logits, logits.detach().numpy(), atol=1e-5)
    assert float(loss) == pytest.approx(float(wanted.detach()), abs=1e-5)
    for mine, (hidden, cell) in zip(after, theirs, strict=True):
        np.testing.assert_allclose(mine.hidden_BP, hidden[0].detach().numpy(), atol=1e-5)
        np.testing.assert_allclose(mine.cell_BH, cell[0].detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(
        gradients["embedding"]["embedding"], peer.table.grad.numpy(), atol=1e-5
    )
    for number, layer in enumerate(peer.layers):
        mine = np.asarray(gradients["layers"][str(number)]["recurrent"]["kernel"])
        np.testing.assert_allclose(
            mine.reshape(mine.shape[0], -1).T, layer.weight_hh_l0.grad.numpy(), atol=1e-5
        )
