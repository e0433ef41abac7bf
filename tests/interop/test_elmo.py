"""ELMo's folders: equal to numpy and to the released code, written back to the byte, refused."""

import json
import os
from pathlib import Path

import jax
import numpy as np
import pytest

import flaxformers_edu as ff
from flaxformers_edu.errors import InputError
from tests.interop import elmo_numpy

h5py = pytest.importorskip("h5py", reason="needs h5py: pip install 'flaxformers-edu[elmo]'")
WEIGHTS = elmo_numpy.made_up_weights()
TEXTS = ["the cat sat on the mat .", "one"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return elmo_numpy.write(tmp_path_factory.mktemp("elmo") / "model", WEIGHTS)


@pytest.fixture(scope="module")
def loaded(folder):
    return ff.from_pretrained(folder, task="base")


@pytest.fixture(scope="module")
def forward(loaded):
    return jax.jit(
        lambda params, states, **x: loaded.model.apply({"params": params}, **x, states=states)
    )


def test_all_layers_are_those_of_numpy(loaded, forward):
    batch = loaded.tokenizer(TEXTS)
    out = forward(loaded.params, None, **batch)
    for row, mask in enumerate(batch["attention_mask"]):
        n = mask.sum()
        wanted, _ = elmo_numpy.layers(WEIGHTS, batch["input_ids"][row, :n])
        np.testing.assert_allclose(out.hidden_states[:, row, :n], wanted, atol=1e-5)
        np.testing.assert_array_equal(out.hidden_states[:, row, n:], 0)
    np.testing.assert_array_equal(out.last_hidden_state, out.hidden_states[-1])


def test_states_are_carried_from_sentence_to_sentence(loaded, forward):
    states, wanted_states = None, None
    for text in ("the cat sat", "a dog sat", "the cat ran"):
        batch = loaded.tokenizer(text)
        out = forward(loaded.params, states, **batch)
        wanted, wanted_states = elmo_numpy.layers(WEIGHTS, batch["input_ids"][0], wanted_states)
        np.testing.assert_allclose(out.hidden_states[:, 0], wanted, atol=1e-5)
        states = out.states


def test_what_is_written_has_the_same_bytes(folder, loaded, tmp_path):
    ff.save_pretrained(tmp_path / "again", loaded)
    with h5py.File(tmp_path / "again" / "weights.hdf5") as file:
        for name, array in WEIGHTS.items():
            assert file[name].shape == array.shape
            assert file[name][()].tobytes() == array.tobytes(), name
    assert json.loads((tmp_path / "again" / "options.json").read_text()) == elmo_numpy.OPTIONS
    ff.save_pretrained(tmp_path / "twice", ff.from_pretrained(tmp_path / "again"))
    written = [(tmp_path / name / "weights.hdf5").read_bytes() for name in ("again", "twice")]
    assert written[0] == written[1]


@pytest.mark.parametrize("task", ["bidirectional_lm", "token_classification"])
def test_what_a_task_adds_is_kept_beside_it(folder, task, tmp_path):
    head = ff.models.elmo.TaskModel(filters=((2, 3),), word_size=4, hidden_size=5, num_layers=2)
    own = {} if task == "bidirectional_lm" else {"head": head, "num_labels": 3}
    words = {"vocab_size": 11} if task == "bidirectional_lm" else {}
    new = ff.from_pretrained(folder, task, **own, **words)
    assert new.initialised and not any("_lm" in name for name in new.initialised)
    ff.save_pretrained(tmp_path / task, new)
    again = ff.from_pretrained(tmp_path / task, task)
    assert not again.initialised and again.config == new.config
    jax.tree.map(np.testing.assert_array_equal, again.params, new.params)
    assert ff.from_pretrained(tmp_path / task).unused


def test_published_names_of_files(folder, tmp_path):
    for name in ("options.json", "weights.hdf5"):
        (tmp_path / f"elmo_2x8_{name}").write_bytes((folder / name).read_bytes())
    assert ff.interop.pretrained_config(tmp_path).projection_size == 6
    (tmp_path / "other_options.json").write_text("{}")
    with pytest.raises(InputError, match="2 files \\*_options.json"):
        ff.from_pretrained(tmp_path)


def _changed(**changes):
    return {**elmo_numpy.OPTIONS, "char_cnn": {**elmo_numpy.OPTIONS["char_cnn"], **changes}}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (_changed(filters=[[1, 3], [3, 7]]), "CNN.W_cnn_1 has the shape .* options.json asks for"),
        (_changed(filters=[[1, 3]]), "has weights that a elmo of this config does not"),
        (_changed(n_highway=3), "lacks weights that the model needs: CNN_high_2"),
        (_changed(n_characters=100), "n_characters of options.json is 100"),
        (_changed(max_characters_per_token=20), "max_characters_per_token of options.json is 20"),
        (_changed(filters="wide"), "filters of options.json are 'wide'"),
        (_changed(embedding={}), "dim is missing from options.json"),
        ({"char_cnn": {}}, "options.json has no 'lstm'"),
    ],
)
def test_folders_that_do_not_fit_are_refused(options, said, tmp_path):
    with pytest.raises(InputError, match=said):
        ff.from_pretrained(elmo_numpy.write(tmp_path / "x", WEIGHTS, options))


def test_broken_files_are_refused(folder, tmp_path):
    (tmp_path / "options.json").write_text(json.dumps(elmo_numpy.OPTIONS))
    with pytest.raises(InputError, match="no weights in"):
        ff.from_pretrained(tmp_path)
    (tmp_path / "weights.hdf5").write_bytes((folder / "weights.hdf5").read_bytes()[:500])
    with pytest.raises(InputError, match="truncated or no hdf5 file"):
        ff.from_pretrained(tmp_path)


@pytest.mark.data
@pytest.mark.skipif("FLAXFORMERS_DATA" not in os.environ, reason="needs FLAXFORMERS_DATA")
@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_released_codes_embeddings(number):
    """Ten sentences in turn, states carried: what the original TensorFlow code gave."""
    folder = Path(os.environ["FLAXFORMERS_DATA"]) / "elmo" / "elmo_bilm_tf"
    found = ff.from_pretrained(folder)
    forward = jax.jit(
        lambda params, states, **x: found.model.apply({"params": params}, **x, states=states)
    )
    sentences = json.loads((folder / "lm_embeddings_sentences.json").read_text())[number]
    states = None
    with h5py.File(folder / f"lm_embeddings_{number}.hdf5") as wanted:
        for index, sentence in enumerate(sentences):
            batch = found.tokenizer(sentence, padding="max_length", max_length=80)
            out = forward(found.params, states, **batch)
            states, end = out.states, batch["attention_mask"].sum() - 1
            top = np.concatenate(list(wanted[str(index)][()]), axis=-1)
            np.testing.assert_allclose(out.last_hidden_state[0, 1:end], top, atol=1e-5)
