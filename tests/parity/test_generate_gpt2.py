"""`generate` on GPT against Hugging Face's `generate` on GPT-2, token for token."""

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytestmark = pytest.mark.parity

import flaxformers_edu as ff  # noqa: E402
from flaxformers_edu.layers.stack import unstack_layers  # noqa: E402
from tests.parity.gpt2 import CONFIG, EOS, gpt2, to_ours  # noqa: E402

PROMPTS = np.array([[0, 0, 0, 7], [5, 9, 30, 4], [0, 0, 11, 8], [0, 3, 3, 21]])
MASK = np.array([[0, 0, 0, 1], [1, 1, 1, 1], [0, 0, 1, 1], [0, 1, 1, 1]])


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
        params = to_ours(model.state_dict())
        for more in varied:
            settings = {"max_new_tokens": 9, "pad_token_id": 3, **fixed, **more}
            new = compare(model, CONFIG.build(), params, PROMPTS, MASK, settings)
            ends = new == EOS
            lengths |= set(np.where(ends.any(axis=1), ends.argmax(axis=1), 9).tolist())
    assert len(lengths) > 1, "all sequences are equally long: the test says little"


def test_unrolled_and_prompts_of_one_token():
    model = gpt2(1)
    params = unstack_layers(to_ours(model.state_dict()))
    settings = {"max_new_tokens": 6, "pad_token_id": 3, "num_beams": 3, "num_return_sequences": 2}
    ids = np.array([[7], [4]])
    unrolled = dataclasses.replace(CONFIG, layout="unrolled").build()
    compare(model, unrolled, params, ids, np.ones_like(ids), settings)
