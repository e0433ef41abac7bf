"""A table of tokens that grows by GPT-1's three: old rows, new ones, and what is refused."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu import interop
from flaxformers_edu.errors import InputError
from flaxformers_edu.sharding import MeshShape
from flaxformers_edu.text.training import train_tokenizer
from tests.train import tiny_classifier, tiny_gpt
from tests.train.test_main import one_line
from tests.trees import random_params
from train.assemble import assemble
from train.experiment import TokenizerSpec
from train.growth import grown, laid_over, told_of_growth
from train.initial import based_on, load
from train.prepare import make_tokenizer


@pytest.fixture(scope="module")
def language_model(tmp_path_factory):
    """A folder in Hugging Face's format with a language model, and its parameters."""
    texts = [f"{subject} was great" for subject in tiny_classifier.SUBJECTS] * 4
    tokenizer = train_tokenizer("gpt2", texts, vocab_size=tiny_gpt.SIZE)
    config = dataclasses.replace(tiny_gpt.config().model, vocab_size=tokenizer.vocab_size)
    module = config.build()
    params = random_params(module, **module.dummy_inputs())
    folder = tmp_path_factory.mktemp("language") / "hf"
    found = interop.Pretrained(module, params, tokenizer, config, "causal_lm")
    interop.save_pretrained(folder, found)
    return folder, params, tokenizer


def test_shapes_grow_by_the_vocabulary_alone():
    assert grown((280, 16), (280, 283)) == (283, 16)
    assert grown((16, 280), (280, 283)) == (16, 283)
    assert grown((16, 32), (280, 283)) == (16, 32)
    assert grown((280, 16), None) == grown((280, 16), (280, 200)) == (280, 16)
    assert grown((280, 280), (280, 283)) == (280, 280)  # which axis is it?
    assert told_of_growth((280, 283)) == " (of 283 tokens, 3 are new)"
    assert told_of_growth((280, 280)) == told_of_growth(None) == ""


def test_what_is_laid_over_lies_where_the_new_table_does():
    mesh = MeshShape(tensor=2).build(jax.devices()[:2])
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("tensor"))
    table = jax.device_put(jnp.full((6, 2), -1.0), rows)
    found = jax.device_put(
        jnp.arange(8.0).reshape(4, 2),
        jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec()),
    )
    new = laid_over(table, found)
    np.testing.assert_array_equal(new, [[0, 1], [2, 3], [4, 5], [6, 7], [-1, -1], [-1, -1]])
    assert new.sharding == rows
    assert laid_over(table, None) is table
    assert laid_over(table, table) is table


def test_old_rows_are_kept_and_new_ones_begin_as_published(language_model):
    folder, params, tokenizer = language_model
    experiment = based_on(tiny_gpt.config(init=str(folder)))
    assert experiment.model.vocab_size == tokenizer.vocab_size + 3
    assert make_tokenizer(experiment, []).vocab_size == tokenizer.vocab_size + 3
    mesh = experiment.mesh.build(jax.devices()[:1])
    assembled = assemble(experiment, mesh)
    beginning = load(experiment, assembled.state, mesh)
    random = assembled.initial_state()
    state = beginning.of(random, experiment.model)
    table, old = state.params["embedding"]["embedding"], tokenizer.vocab_size
    np.testing.assert_array_equal(table[:old], params["embedding"]["embedding"])
    np.testing.assert_array_equal(table[old:], random.params["embedding"]["embedding"][old:])
    assert 0.01 < float(np.std(table[old:])) < 0.03  # of 48 numbers; the old ones have 0.3
    np.testing.assert_array_equal(
        state.params["positions"]["embedding"], params["positions"]["embedding"]
    )
    assert f"embedding, norm, positions (of {old + 3} tokens, 3 are new); new: class" in (
        beginning.told
    )


def test_a_folder_that_has_the_tokens_does_not_grow(language_model, tmp_path):
    _, _, tokenizer = language_model
    again = tokenizer.with_task_tokens()
    config = dataclasses.replace(tiny_gpt.config().model, vocab_size=again.vocab_size)
    module = config.build()
    params = random_params(module, **module.dummy_inputs())
    found = interop.Pretrained(module, params, again, config, "causal_lm")
    interop.save_pretrained(tmp_path / "hf", found)
    experiment = based_on(tiny_gpt.config(init=str(tmp_path / "hf")))
    assert experiment.model.vocab_size == again.vocab_size
    assert make_tokenizer(experiment, []).fingerprint == again.fingerprint


def test_a_tokeniser_trained_with_them_has_the_models_size():
    experiment = tiny_gpt.config()
    examples = [{"text": f"{subject} was great"} for subject in tiny_classifier.SUBJECTS]
    tokenizer = make_tokenizer(experiment, examples)
    assert tokenizer.vocab_size <= tiny_gpt.SIZE
    assert tokenizer.join([1])[0][-1] == tokenizer.vocab_size - 1


def test_a_vocabulary_that_is_not_the_folders(language_model, labelled_examples, capsys, tmp_path):
    """Rows come by the three tokens, or not at all."""
    folder, _, tokenizer = language_model
    options = ("--init", str(folder), "--workdir", str(tmp_path / "run"))
    line = one_line(capsys, "run", tiny_gpt.CONFIG, *options, "--model.vocab-size", "270")
    assert (
        f"the tokeniser has {tokenizer.vocab_size + 3} pieces, more than model.vocab_size" in line
    )
    line = one_line(capsys, "run", tiny_gpt.LANGUAGE_CONFIG, *options, "--model.vocab-size", "300")
    assert f"embedding/embedding is [{tokenizer.vocab_size}, 16] there and [300, 16]" in line
    with pytest.raises(InputError, match="no start, delimiter and extract tokens"):
        plain = tiny_gpt.config(tokenizer=TokenizerSpec(kind="folder", folder=str(folder)))
        objective = plain.objective
        objective.encode({"text": "a", "label": 0}, make_tokenizer(plain, []), max_length=8)
