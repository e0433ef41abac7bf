"""Files of transformers' former Flax classes, made by them (old_flax/make.py says how)."""

from pathlib import Path

import numpy as np
import pytest

import flaxformers_edu as ff

FOLDERS = Path(__file__).parent / "old_flax"
TASKS = {
    "FlaxBertForPreTraining": "pretraining",
    "FlaxRobertaForSequenceClassification": "sequence_classification",
    "FlaxAlbertForMaskedLM": "masked_lm",
    "FlaxElectraForPreTraining": "pretraining",
    "FlaxDistilBertForMaskedLM": "masked_lm",
    "FlaxGPT2LMHeadModel": "causal_lm",
}


@pytest.mark.parametrize("name", TASKS)
def test_its_answers_are_ours(name):
    answers = dict(np.load(FOLDERS / name / "answers.npz"))
    found = ff.from_pretrained(FOLDERS / name, TASKS[name])
    assert not found.initialised
    inputs = (answers.pop("input_ids"), answers.pop("attention_mask"))
    output = found.model.apply({"params": found.params}, *inputs)
    assert answers
    for key, theirs in answers.items():
        real = inputs[1] != 0 if theirs.ndim > 1 and theirs.shape[1] == 9 else slice(None)
        np.testing.assert_allclose(getattr(output, key)[real], theirs[real], atol=2e-5)
