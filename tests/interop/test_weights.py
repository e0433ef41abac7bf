"""Files of weights: read as views, refused in one line where they are damaged."""

import json

import flax.serialization
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from flaxformers_edu.errors import InputError
from flaxformers_edu.interop import read_weights

WEIGHTS = {
    "a.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b.bias": np.array([1, -2], ml_dtypes.bfloat16),
    "c.scalar": np.array(3, np.float16),
}


def equal(found):
    assert found.keys() == WEIGHTS.keys()
    for name, value in WEIGHTS.items():
        assert found[name].dtype == value.dtype
        np.testing.assert_array_equal(found[name], value)


def test_one_file_is_a_memory_map(tmp_path):
    save_file(WEIGHTS, tmp_path / "model.safetensors")
    found = read_weights(tmp_path)
    equal(found)
    assert all(isinstance(value, np.memmap) for value in found.values())


def write_parts(folder):
    names = list(WEIGHTS)
    for i, chosen in enumerate((names[:1], names[1:])):
        save_file({n: WEIGHTS[n] for n in chosen}, folder / f"part-{i}.safetensors")
    index = {"weight_map": {n: f"part-{min(i, 1)}.safetensors" for i, n in enumerate(names)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return index


def test_parts(tmp_path):
    write_parts(tmp_path)
    equal(read_weights(tmp_path))


def test_a_part_that_is_gone(tmp_path):
    write_parts(tmp_path)
    (tmp_path / "part-1.safetensors").unlink()
    with pytest.raises(InputError, match="names part-1.safetensors, which is not in"):
        read_weights(tmp_path)


def test_a_weight_that_is_not_in_its_part(tmp_path):
    index = write_parts(tmp_path)
    index["weight_map"]["d"] = "part-0.safetensors"
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match="d is not in part-0.safetensors"):
        read_weights(tmp_path)


def test_a_part_outside_the_folder(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    save_file(WEIGHTS, tmp_path / "part.safetensors")
    index = {"weight_map": dict.fromkeys(WEIGHTS, "../part.safetensors")}
    (inside / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match="which is not in"):
        read_weights(inside)


@pytest.mark.parametrize("kept", [0, 5, 60, -1])
def test_a_truncated_file(tmp_path, kept):
    path = tmp_path / "model.safetensors"
    save_file(WEIGHTS, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match="model.safetensors is truncated or no safetensors"):
        read_weights(tmp_path)


def test_flax_names_become_those_of_pytorch(tmp_path):
    tree = {
        "bert": {
            "dense": {"kernel": np.arange(6.0).reshape(2, 3), "bias": np.zeros(3)},
            "LayerNorm": {"scale": np.ones(3), "bias": np.ones(3)},
            "layer": {"0": {"embedding": np.ones((4, 2))}},
        }
    }
    (tmp_path / "flax_model.msgpack").write_bytes(flax.serialization.msgpack_serialize(tree))
    found = read_weights(tmp_path)
    assert found.keys() == {
        "bert.dense.weight",
        "bert.dense.bias",
        "bert.LayerNorm.weight",
        "bert.LayerNorm.bias",
        "bert.layer.0.weight",
    }
    np.testing.assert_array_equal(found["bert.dense.weight"], tree["bert"]["dense"]["kernel"].T)


@pytest.mark.parametrize("kept", [0, 3, 30, -1])
def test_a_truncated_msgpack(tmp_path, kept):
    model = flax.serialization.msgpack_serialize({"a": {"kernel": np.ones((4, 4))}})
    (tmp_path / "flax_model.msgpack").write_bytes(model[:kept])
    with pytest.raises(InputError, match="flax_model.msgpack is truncated"):
        read_weights(tmp_path)


def test_a_pickle_is_never_opened(tmp_path):
    """It says how to convert it; the file here would fail to be read as anything."""
    (tmp_path / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(InputError, match=r"only in pytorch_model.bin.*save_pretrained"):
        read_weights(tmp_path)


def test_nothing_to_read(tmp_path):
    with pytest.raises(InputError, match="no weights in .*expected model.safetensors"):
        read_weights(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        read_weights(tmp_path / "nowhere")
