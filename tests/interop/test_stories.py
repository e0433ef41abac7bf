"""A Llama that was really trained: it tells the story that it told its makers, token for token."""

import os
from pathlib import Path

import numpy as np
import pytest

import flaxformers_edu as ff

FOLDER = Path(os.environ.get("FLAXFORMERS_DATA", "")) / "checkpoints" / "stories260K"
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not (FOLDER / "hf").is_dir(), reason="no stories260K in FLAXFORMERS_DATA"),
]


@pytest.fixture(scope="module")
def loaded():
    return ff.from_pretrained(FOLDER / "hf", "causal_lm")


def test_the_folder_is_read_as_it_is(loaded):
    config = loaded.config
    assert (loaded.initialised, loaded.unused) == ((), ())
    assert (config.num_heads, config.num_kv_heads, config.width_of_heads) == (8, 4, 8)
    assert config.tie_embeddings and config.norm_epsilon == 1e-5
    assert loaded.tokenizer.vocab_size == config.vocab_size == 512


def test_greedy_text_token_for_token(loaded):
    ids = [int(i) for i in (FOLDER / "expected_greedy_ids.txt").read_text().split()]
    text = (FOLDER / "expected_greedy200.txt").read_text()
    prompt = np.array([ids[:1]])
    found = ff.generate(loaded.model, loaded.params, prompt, max_new_tokens=200)
    told = np.asarray(found.sequences[0]).tolist()
    assert told[: len(ids)] == ids and len(told) == len(ids) + 1
    assert loaded.tokenizer.decode(told[1:]).strip() == text.strip()


def test_it_is_saved_to_the_byte(loaded, tmp_path):
    ff.save_pretrained(tmp_path / "again", loaded)
    again = tmp_path / "again" / "model.safetensors"
    ours, theirs = ff.interop.read_weights(again.parent), ff.interop.read_weights(FOLDER / "hf")
    assert ours.keys() == theirs.keys()
    assert all(ours[name].tobytes() == theirs[name].tobytes() for name in ours)
