"""`generate --fill`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.pipelines import FillMask
from tests.train.test_main import one_line
from train.__main__ import main
from train.commands.fill import masked_model

TEXT = "the film was [MASK]"


def filled(capsys, folder, *options):
    assert main(["generate", str(folder), "--fill", TEXT, *options]) == 0
    return capsys.readouterr().out


def test_the_likeliest_pieces(masked):
    found = masked_model(masked, "best")
    guesses = FillMask(found)(TEXT, top_k=3)
    tokenizer = found.tokenizer
    ids = tokenizer.join(tokenizer.pieces("the film was").ids + [tokenizer.mask_token_id])[0]
    logits = found.model.apply(
        {"params": found.params},
        jnp.array([ids]),
        token_type_ids=jnp.zeros((1, len(ids)), jnp.int32),
    ).logits[0, ids.index(tokenizer.mask_token_id)]
    expected = np.asarray(jax.nn.softmax(logits))
    best = np.argsort(-expected[: tokenizer.vocab_size])[:3]
    assert [guess["token_str"] for guess in guesses] == tokenizer.tokens(best)
    np.testing.assert_allclose([guess["score"] for guess in guesses], expected[best], rtol=1e-4)


def test_runs_and_folders_of_hugging_face(masked, tmp_path, capsys):
    shown = filled(capsys, masked)
    lines = shown.splitlines()
    assert len(lines) == 5
    probabilities = [float(line.split()[0]) for line in lines]
    assert probabilities == sorted(probabilities, reverse=True)
    assert len(filled(capsys, masked, "--top-k", "2").splitlines()) == 2
    assert main(["export", str(masked), str(tmp_path / "hf")]) == 0
    capsys.readouterr()
    assert filled(capsys, tmp_path / "hf") == shown


def test_several_masks(masked, capsys):
    text = "the [MASK] was [MASK]"
    assert main(["generate", str(masked), "--fill", text, "--top-k", "2"]) == 0
    first, second = capsys.readouterr().out.strip().split("\n\n")
    assert len(first.splitlines()) == len(second.splitlines()) == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--fill", "the film was great"], "has no [MASK] to be filled in"),
        (["--fill", "[MASK] " * 20], "longer than the model reads, 16"),
        (["--fill", TEXT, "--top-k", "0"], "--top-k is 0; it must be at least 1"),
        (["--fill", TEXT, "--top-k", "9999"], "top_k is 9999; it must be from 1 to"),
    ],
)
def test_bad_input_is_one_line(masked, capsys, options, words):
    assert words in one_line(capsys, "generate", str(masked), *options)


def test_models_that_have_not_learnt_it(classified, tmp_path, capsys):
    line = one_line(capsys, "generate", str(classified), "--fill", TEXT)
    assert "was not trained to fill in masks" in line
    line = one_line(capsys, "generate", str(tmp_path), "--fill", TEXT)
    assert "is not the folder of a run" in line
    assert main(["export", str(classified), str(tmp_path / "hf")]) == 0
    line = one_line(capsys, "generate", str(tmp_path / "hf"), "--fill", TEXT)
    assert "has no weights for mlm_head" in line
