import dataclasses
from types import SimpleNamespace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.models.seq2seq import Seq2SeqConfig
from flaxformers_edu.models.transformer import TransformerConfig
from flaxformers_edu.objectives import OBJECTIVES, Translation, cross_entropy
from tests.trees import random_params

CONFIG = SimpleNamespace(pad_token_id=0, decoder_start_token_id=2)
EXAMPLES = [
    {"input_ids": [5, 3, 1], "labels": [7, 8, 1]},
    {"input_ids": [4, 1], "labels": [3, 1]},
]


class Letters:
    """A tokeniser of letters: a is 2, b is 3, ..., and 1 ends."""

    vocab_size, pad_token_id, bos_token_id, eos_token_id, unk_token_id = 28, 0, None, 1, None
    sep_token_id = cls_token_id = mask_token_id = None

    def encode(self, text, **_):
        return [ord(letter) - ord("a") + 2 for letter in text] + [1]


def test_examples():
    pair = {"source": "ab", "target": "c"}
    assert Translation().texts(pair) == ["ab", "c"]
    encode = getattr(Translation.encode, "__wrapped__", Translation.encode)
    assert encode(Translation(), pair, Letters(), max_length=2) == {
        "input_ids": [2, 3, 1],
        "labels": [4, 1],
    }
    assert OBJECTIVES["translation"] is Translation


def test_batches_teach_by_forcing():
    """The decoder reads what it has to say, one place late, behind its start token."""
    batch = Translation().collate(CONFIG)(EXAMPLES, 2, 4)
    np.testing.assert_array_equal(batch["labels"], [[7, 8, 1, -100], [3, 1, -100, -100]])
    np.testing.assert_array_equal(batch["decoder_input_ids"], [[2, 7, 8, 0], [2, 3, 0, 0]])
    packed = Translation().collate(CONFIG, packed=True)([EXAMPLES], 1, 6)
    np.testing.assert_array_equal(packed["decoder_input_ids"], [[2, 7, 8, 2, 3, 0]])


class Echo(nn.Module):
    """Logits that favour what the decoder reads, tenfold while training."""

    @nn.compact
    def __call__(self, input_ids, decoder_input_ids, deterministic, **masks):
        assert "labels" not in masks
        assert self.has_rng("dropout") != deterministic
        scale = self.param("scale", nn.initializers.ones, (1, 1, 1)) * (1 if deterministic else 10)
        return SimpleNamespace(logits=scale * jax.nn.one_hot(decoder_input_ids, 9))


@pytest.mark.parametrize("training", [False, True], ids=["evaluating", "training"])
def test_only_training_drops_and_smooths(training):
    batch = jax.tree.map(jnp.asarray, Translation().collate(CONFIG)(EXAMPLES, 2, 4))
    params = {"scale": jnp.full((1, 1, 1), 2.0)}
    key = jax.random.key(0) if training else None
    loss = Translation(label_smoothing=0.3).loss(Echo(), params, batch, key)
    logits = (20.0 if training else 2.0) * jax.nn.one_hot(batch["decoder_input_ids"], 9)
    expected = cross_entropy(logits, batch["labels"], 0.3 if training else 0.0)
    np.testing.assert_allclose(loss.sum, expected.sum, rtol=1e-6)
    assert loss.weight == 5


def test_alignment_is_one_row_of_weights_a_token():
    config = TransformerConfig(
        vocab_size=11, hidden_size=8, num_layers=2, num_heads=4, intermediate_size=8
    )
    module = config.build()
    params = random_params(module, **module.dummy_inputs())
    weights = Translation().alignment(module, params, [5, 3, 1], [7, 8, 4, 6, 1])
    assert weights.shape == (2, 4, 5, 3)
    np.testing.assert_allclose(weights.sum(axis=-1), 1.0, atol=1e-6)


def test_a_model_that_looks_at_no_source_has_no_alignment():
    config = Seq2SeqConfig(
        vocab_size=11, embedding_size=4, hidden_size=4, num_layers=1, attention="none"
    )
    module = config.build()
    params = random_params(module, **module.dummy_inputs())
    assert Translation().alignment(module, params, [5, 3, 1], [7, 1]).shape == (0, 0, 2, 3)
    looking = dataclasses.replace(config, attention="dot").build()
    params = random_params(looking, **looking.dummy_inputs())
    weights = Translation().alignment(looking, params, [5, 3, 1], [7, 1])
    assert weights.shape == (1, 1, 2, 3)
    np.testing.assert_allclose(weights.sum(axis=-1), 1.0, atol=1e-6)


@pytest.mark.parametrize("value", [-0.1, 1.0, 1.5])
def test_label_smoothing_out_of_range(value):
    with pytest.raises(InputError, match=f"objective.label_smoothing={value}"):
        Translation(label_smoothing=value)


def test_score_is_bleu_of_the_corpus():
    references = ["the cat sat on the mat .", "a dog runs ."]
    examples = [{"source": "", "target": reference} for reference in references]
    assert Translation().score(references, examples) == {"bleu": pytest.approx(100.0)}
    assert Translation().score(["a b c d e", "f"], examples)["bleu"] < 5
