"""The losses of distillation, as the released code writes them in torch.

DistilBERT's distiller.py, and TinyBERT's general_distill.py and task_distill.py; dims as there.
"""

import dataclasses

import jax
import numpy as np
import pytest

from flaxformers_edu.models import BertConfig
from flaxformers_edu.models.distillation import DistillationConfig
from flaxformers_edu.objectives.classification import Classification
from flaxformers_edu.objectives.distillation import (
    DistilMLM,
    HiddenDistillation,
    PredictionDistillation,
)
from flaxformers_edu.objectives.masked_lm import MaskedLM
from flaxformers_edu.objectives.teaching import run_both
from tests.trees import random_params

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.parity

SIZES = dict(
    vocab_size=23, num_heads=2, intermediate_size=12, max_length=9, eos_token_id=3, mask_token_id=4
)
TEACHER = BertConfig(hidden_size=8, num_layers=4, num_labels=3, **SIZES)
STUDENT = BertConfig(hidden_size=4, num_layers=2, num_labels=3, **SIZES)
IDS = np.random.default_rng(0).integers(5, 23, (3, 8)).astype(np.int32)


def compared(objective, student, batch):
    """The objective's loss, and what both models say of what it shows them, as torch."""
    module = DistillationConfig(student, TEACHER).build(objective.task)
    params = random_params(module, **module.dummy_inputs())

    @jax.jit
    def everything(params, batch):
        loss = objective.loss(module, params, batch, None)
        inputs, labels = objective.inputs(batch, module.config, None)
        everywhere = {name: x for name, x in inputs.items() if name != "predict_positions"}
        both = run_both(module, params, everywhere, None, inside=True)
        fitted = module.apply({"params": params}, both[0].inside.states_LBTD, method="fit")
        return loss, inputs, labels, both, fitted

    loss, inputs, labels, (ours, theirs), fitted = jax.tree.map(
        lambda x: torch.tensor(np.asarray(x)), everything(params, batch)
    )
    return loss.sum / loss.weight, inputs, labels, ours, theirs, fitted


@pytest.mark.parametrize("restricted", [False, True])
def test_distilberts_triple_loss(restricted):
    real = np.ones_like(IDS)
    real[1, 5:], real[2, 7:] = 0, 0
    batch = {
        "input_ids": IDS * real,
        "attention_mask": real,
        "token_type_ids": 0 * IDS,
        "maskable": real,
    }
    objective = DistilMLM(MaskedLM(), soft_targets="masked" if restricted else "tokens")
    student = dataclasses.replace(STUDENT, hidden_size=8)
    found, inputs, labels_BP, ours, theirs, _ = compared(objective, student, batch)

    labels = torch.full(IDS.shape, -100)
    for b, k in np.ndindex(*labels_BP.shape):
        if labels_BP[b, k] != -100:
            labels[b, inputs["predict_positions"][b, k]] = labels_BP[b, k].item()
    assert (labels != -100).any()
    attended = inputs["attention_mask"].bool()
    s_logits, t_logits = ours.output.logits, theirs.output.logits
    kept = labels > -1 if restricted else attended
    temperature = 2.0
    loss_ce = torch.nn.KLDivLoss(reduction="batchmean")(
        torch.log_softmax(s_logits[kept] / temperature, dim=-1),
        torch.softmax(t_logits[kept] / temperature, dim=-1),
    )
    cross_entropy = torch.nn.CrossEntropyLoss(ignore_index=-100)
    loss_mlm = cross_entropy(s_logits.flatten(0, 1), labels.flatten())
    s_states = ours.output.last_hidden_state[attended]
    t_states = theirs.output.last_hidden_state[attended]
    loss_cos = torch.nn.CosineEmbeddingLoss(reduction="mean")(
        s_states, t_states, torch.ones(len(s_states))
    )
    expected = 5.0 * loss_ce * temperature**2 + 2.0 * loss_mlm + 1.0 * loss_cos
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_tinyberts_first_stage():
    """Without padding, which the released code averages over, too."""
    batch = {
        "input_ids": IDS,
        "attention_mask": np.ones_like(IDS),
        "token_type_ids": 0 * IDS,
        "maskable": np.ones_like(IDS),
    }
    objective = HiddenDistillation(MaskedLM())
    found, _, _, ours, theirs, fitted = compared(objective, STUDENT, batch)
    mse = torch.nn.MSELoss()
    per_block = 4 // 2
    att_loss = sum(
        mse(ours.inside.scores_LBHTT[i], theirs.inside.scores_LBHTT[i * per_block + per_block - 1])
        for i in range(2)
    )
    rep_loss = sum(mse(fitted[i], theirs.inside.states_LBTD[i * per_block]) for i in range(3))
    torch.testing.assert_close(found, att_loss + rep_loss, rtol=1e-4, atol=1e-5)
    assert att_loss > 0.01 and rep_loss > 0.01


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_tinyberts_second_stage(temperature):
    batch = {"input_ids": IDS, "attention_mask": np.ones_like(IDS), "token_type_ids": 0 * IDS}
    objective = PredictionDistillation(
        Classification(labels=("a", "b", "c")), temperature=temperature
    )
    found, _, _, ours, theirs, _ = compared(objective, STUDENT, batch)
    student_likelihood = torch.log_softmax(ours.output.logits / temperature, dim=-1)
    targets_prob = torch.softmax(theirs.output.logits / temperature, dim=-1)
    torch.testing.assert_close(found, (-targets_prob * student_likelihood).mean())
