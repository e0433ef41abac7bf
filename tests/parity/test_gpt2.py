"""GPT against Hugging Face's GPT-2: logits, loss and gradients, weight for weight."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytestmark = pytest.mark.parity

from flaxformers_edu.layers.stack import unstack_layers  # noqa: E402
from flaxformers_edu.objectives import CausalLM  # noqa: E402
from tests.parity.gpt2 import CONFIG, EOS, V, gpt2, to_ours  # noqa: E402
from tests.trees import assert_close  # noqa: E402

LEFT_PADDED = np.array([[0, 0, 0, 7], [5, 9, 30, 4], [0, 0, 11, 8], [0, 3, 3, 21]])
MASK = np.array([[0, 0, 0, 1], [1, 1, 1, 1], [0, 0, 1, 1], [0, 1, 1, 1]])
TEXTS = [{"input_ids": [5, 9, 30, 4, 17, EOS]}, {"input_ids": [8, 8, EOS]}, {"input_ids": [EOS]}]


@pytest.mark.parametrize("layout", ["scanned", "unrolled"])
def test_logits_of_left_padded_rows(layout):
    theirs = gpt2(0)
    with torch.no_grad():
        expected = theirs(
            torch.tensor(LEFT_PADDED),
            attention_mask=torch.tensor(MASK),
            position_ids=torch.tensor((MASK.cumsum(1) - 1).clip(0)),
        ).logits.numpy()
    params = to_ours(theirs.state_dict())
    params = params if layout == "scanned" else unstack_layers(params)
    model = dataclasses.replace(CONFIG, layout=layout).build()
    output = jax.jit(model.apply)({"params": params}, jnp.asarray(LEFT_PADDED), jnp.asarray(MASK))
    found = np.asarray(output.logits)
    assert found.shape == (4, 4, V)
    np.testing.assert_allclose(found[MASK != 0], expected[MASK != 0], atol=2e-5)


@pytest.mark.parametrize("packed", [False, True], ids=["rows", "packed"])
@pytest.mark.parametrize("loss_chunks", [1, 3])
def test_loss_and_gradients_of_texts(packed, loss_chunks):
    """Packed or in chunks, ours are those of their rows."""
    theirs = gpt2(1)
    objective = CausalLM(loss_chunks=loss_chunks)
    rows = objective.collate(CONFIG)(TEXTS, 3, 7)
    ids, mask = torch.tensor(rows["input_ids"]).long(), torch.tensor(rows["attention_mask"])
    output = theirs(ids, attention_mask=mask, labels=torch.where(mask > 0, ids, -100))
    output.loss.backward()
    expected = to_ours({name: p.grad for name, p in theirs.named_parameters()})

    batch = rows
    if packed:
        batch = objective.collate(CONFIG, packed=True)([TEXTS], 1, 12)
    model = CONFIG.build()

    @partial(jax.value_and_grad, has_aux=True)
    def mean_loss(params, batch):
        loss = objective.loss(model, params, batch, None)
        return loss.sum / loss.weight, loss.weight

    params = to_ours(theirs.state_dict())
    (loss, weight), gradients = jax.jit(mean_loss)(params, jax.tree.map(jnp.asarray, batch))
    assert weight == 5 + 2
    np.testing.assert_allclose(loss, output.loss.item(), atol=2e-5)
    assert_close(gradients, expected, atol=2e-5)
