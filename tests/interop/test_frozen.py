"""What Hugging Face computed once (`python -m tests.parity.freeze`), without it."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

import flaxformers_edu as ff

TOLERANCE = 2e-5
DECODERS = ("gpt1", "gpt2", "gpt_neo", "llama", "llama_tied")
FILES = sorted((Path(__file__).parent / "frozen").glob("*.npz"))


def under(kept, start):
    return {name.removeprefix(start): kept[name] for name in kept if name.startswith(start)}


def write(folder, kept, task):
    """The folder as Hugging Face wrote it."""
    (folder / "config.json").write_text(str(kept[f"{task}/config"]))
    weights = under(kept, "weights/") | under(kept, f"{task}/weights/")
    prefixes = ("bert.", "roberta.", "albert.", "electra.", "distilbert.", "transformer.", "model.")
    named = {}
    for name in kept[f"{task}/names"].tolist():
        plain = next((name.removeprefix(p) for p in prefixes if name.startswith(p)), name)
        named[name] = weights[plain if plain in weights else name]
    save_file(named, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_task(path, tmp_path):
    with np.load(path) as file:
        kept = dict(file)
    tasks = sorted(name.split("/")[0] for name in kept if name.endswith("/config"))
    assert "base" in tasks and len(tasks) > 1
    for task in tasks:
        folder = tmp_path / task
        folder.mkdir()
        write(folder, kept, task)
        loaded = ff.from_pretrained(folder, task)
        assert (loaded.initialised, loaded.unused) == ((), ()), task
        inputs = under(kept, f"{task}/inputs/") or under(kept, "inputs/")
        outputs = jax.jit(loaded.model.apply)({"params": loaded.params}, **inputs)
        expected = under(kept, f"{task}/outputs/")
        fields = {f.name for f in dataclasses.fields(outputs)} & expected.keys()
        assert fields, task
        # What decoders say of padding on the left is of nothing, here and there.
        real = inputs["attention_mask"] > 0 if path.stem in DECODERS else ...
        for name in fields:
            ours, theirs = np.asarray(getattr(outputs, name)), expected[name]
            ours = ours.reshape(theirs.shape)
            if theirs.shape[: inputs["input_ids"].ndim] == inputs["input_ids"].shape:
                ours, theirs = ours[real], theirs[real]
            np.testing.assert_allclose(
                ours, theirs, atol=TOLERANCE, rtol=0, err_msg=f"{task} {name}"
            )


def test_the_files_are_small_and_of_every_family():
    assert {path.stem for path in FILES} == {
        "bert", "roberta", "albert", "albert_groups", "electra", "distilbert", *DECODERS,
    }  # fmt: skip
    assert all(path.stat().st_size < 100_000 for path in FILES)
    config = json.loads(str(np.load(FILES[0])["base/config"]))
    assert config["hidden_size"] % 8 == 0 and config["vocab_size"] % 2
