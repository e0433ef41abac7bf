"""Folders of Hugging Face come back from ours to the byte, and it loads what we write."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity

import flaxformers_edu as ff  # noqa: E402
from flaxformers_edu.interop import read_weights  # noqa: E402
from tests.parity import hugging_face  # noqa: E402

TASKS = {
    "bert": "pretraining",
    "roberta": "masked_lm",
    "albert": "pretraining",
    "albert, groups": "base",
    "electra": "pretraining",
    "electra, wide": "masked_lm",
    "distilbert": "multiple_choice",
    "tinybert": "sequence_classification",
    "openai-gpt": "multiple_choice",
    "gpt2": "sequence_classification",
    "gpt2, untied": "multiple_choice",
    "gpt_neo": "token_classification",
    "llama": "causal_lm",
    "llama, tied and stretched": "question_answering",
}


def bytes_of(folder):
    return {name: (w.dtype, w.shape, w.tobytes()) for name, w in read_weights(folder).items()}


@pytest.mark.parametrize(("case", "task"), TASKS.items())
def test_theirs_ours_theirs_ours(case, task, tmp_path):
    theirs = hugging_face.make(case, task)
    first = hugging_face.write(tmp_path / "first", theirs)
    ff.save_pretrained(tmp_path / "second", ff.from_pretrained(first, task))
    assert bytes_of(tmp_path / "second") == bytes_of(first)

    architecture = type(theirs)
    loaded, info = architecture.from_pretrained(tmp_path / "second", output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value, atol=0, rtol=0)
    hugging_face.write(tmp_path / "third", loaded)
    assert bytes_of(tmp_path / "third") == bytes_of(first)
    before, after = (hugging_face.read_config(tmp_path / name) for name in ("first", "third"))
    assert {k: v for k, v in after.items() if before.get(k) != v}.keys() <= {
        "id2label",
        "label2id",
        "position_embedding_type",
    }


def test_parts_of_hugging_face(tmp_path):
    theirs = hugging_face.make("bert", "base")
    folder = hugging_face.write(tmp_path / "parts", theirs, max_shard_size="10KB")
    parts = sorted(path.name for path in folder.glob("*.safetensors"))
    assert len(parts) > 2 and (folder / "model.safetensors.index.json").is_file()
    loaded = ff.from_pretrained(folder)
    np.testing.assert_array_equal(
        loaded.params["pooler"]["kernel"], theirs.pooler.dense.weight.detach().numpy().T
    )


def test_a_pickle_of_torch_is_refused(tmp_path):
    theirs = hugging_face.make("bert", "base")
    hugging_face.write(tmp_path, theirs)
    torch.save(theirs.state_dict(), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ff.InputError, match="only in pytorch_model.bin"):
        ff.from_pretrained(tmp_path)


def test_half_precision(tmp_path):
    theirs = hugging_face.make("bert", "base").to(torch.bfloat16)
    first = hugging_face.write(tmp_path / "first", theirs)
    ff.save_pretrained(tmp_path / "second", ff.from_pretrained(first))
    assert bytes_of(tmp_path / "second") == bytes_of(first)
    config = json.loads((tmp_path / "second" / "config.json").read_text())
    assert config["dtype"] == "bfloat16"
    assert load_file(tmp_path / "second" / "model.safetensors").keys() == bytes_of(first).keys()
