import math
from functools import partial
from types import SimpleNamespace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.objectives import OBJECTIVES, CausalLM, cross_entropy
from flaxformers_edu.prompting import Reader
from tests.prompting import tiny as prompting

CONFIG = SimpleNamespace(pad_token_id=0)
TEXTS = [{"input_ids": [5, 3, 1]}, {"input_ids": [4, 1]}, {"input_ids": [1]}]


class Letters:
    """A tokeniser of letters: a is 2, b is 3, ..., and 1 ends."""

    vocab_size, pad_token_id, bos_token_id, eos_token_id, unk_token_id = 28, 0, None, 1, None
    sep_token_id = cls_token_id = mask_token_id = None

    def encode(self, text, **_):
        return [ord(letter) - ord("a") + 2 for letter in text] + [1]


def test_examples():
    assert CausalLM().texts({"text": "ab"}) == ["ab"]
    encode = getattr(CausalLM.encode, "__wrapped__", CausalLM.encode)
    assert encode(CausalLM(), {"text": "ab"}, Letters(), max_length=2) == {"input_ids": [2, 3, 1]}


def test_a_text_may_begin_with_the_token_that_prompts_begin_with():
    words = prompting.tokenizer()
    begun = CausalLM(begin=True).encode({"text": "the sky"}, words, max_length=2)["input_ids"]
    assert begun == [*Reader(words).empty_context, *words.encode("the sky")]
    assert OBJECTIVES["causal_lm"] is CausalLM


def test_a_label_is_the_next_token_of_the_same_text():
    rows = CausalLM().collate(CONFIG)(TEXTS, 4, 4)
    assert sorted(rows) == ["attention_mask", "input_ids", "labels"]
    np.testing.assert_array_equal(
        rows["labels"], [[3, 1, -100, -100], [1, -100, -100, -100], [-100] * 4, [-100] * 4]
    )
    packed = CausalLM().collate(CONFIG, packed=True)([TEXTS], 1, 7)
    np.testing.assert_array_equal(packed["input_ids"], [[5, 3, 1, 4, 1, 1, 0]])
    np.testing.assert_array_equal(packed["labels"], [[3, 1, -100, 1, -100, -100, -100]])
    np.testing.assert_array_equal(packed["segment_ids"], [[1, 1, 1, 2, 2, 3, 0]])
    np.testing.assert_array_equal(packed["positions"], [[0, 1, 2, 0, 1, 0, 0]])


class Echo(nn.Module):
    """Logits that favour what is read, tenfold while training."""

    @nn.compact
    def __call__(self, input_ids, attention_mask, deterministic):
        assert self.has_rng("dropout") != deterministic
        scale = self.param("scale", nn.initializers.ones, (1, 1, 1)) * (1 if deterministic else 10)
        return SimpleNamespace(logits=scale * jax.nn.one_hot(input_ids, 9))


@pytest.mark.parametrize("key", [None, 0], ids=["evaluating", "training"])
def test_the_loss_is_that_of_the_labels_and_only_training_drops(key):
    batch = jax.tree.map(jnp.asarray, CausalLM().collate(CONFIG)(TEXTS, 3, 4))
    dropout_key = None if key is None else jax.random.key(key)
    loss = CausalLM().loss(Echo(), {"scale": jnp.full((1, 1, 1), 2.0)}, batch, dropout_key)
    logits = (2.0 if key is None else 20.0) * jax.nn.one_hot(batch["input_ids"], 9)
    np.testing.assert_allclose(loss.sum, cross_entropy(logits, batch["labels"]).sum, rtol=1e-6)
    assert loss.weight == 3


def test_uniform_predictions_have_the_vocabulary_as_perplexity():
    batch = jax.tree.map(jnp.asarray, CausalLM().collate(CONFIG)(TEXTS, 3, 4))
    loss = jax.jit(partial(CausalLM().loss, Echo()))({"scale": jnp.zeros((1, 1, 1))}, batch, None)
    nll = float(loss.counts["nll"] / loss.weight)
    measures = CausalLM().measures({"loss": nll, "nll": nll})
    assert measures == {"loss": nll, "nll": nll, "perplexity": pytest.approx(9, rel=1e-5)}
    assert measures["perplexity"] == pytest.approx(math.exp(nll))
