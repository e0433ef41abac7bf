"""What a folder says of generation is the default of the pipeline, and is written back."""

import json

import pytest

import flaxformers_edu as ff
from flaxformers_edu.errors import InputError
from flaxformers_edu.interop.generation import GENERATION, generation_settings
from tests.interop.folders import change_config
from tests.tiny_gpt import write

SAID = {
    "_from_model_config": True,
    "do_sample": True,
    "temperature": 0.7,
    "top_p": None,
    "max_length": 20,
    "max_new_tokens": 5,
    "eos_token_id": [0, 7],
}


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "gpt")


def says(folder, said):
    (folder / GENERATION).write_text(json.dumps(said))
    return folder


def test_what_our_searches_have_is_taken():
    assert generation_settings(SAID) == {
        "do_sample": True,
        "temperature": 0.7,
        "top_k": 50,  # Hugging Face's own default
        "max_new_tokens": 5,
        "eos_token_id": [0, 7],
    }
    assert "top_k" not in generation_settings({"do_sample": False})
    assert generation_settings({"do_sample": True, "top_k": 0})["top_k"] == 0


def test_all_names_are_arguments_of_generate(folder):
    found = ff.from_pretrained(says(folder, SAID | {"do_sample": False}), "causal_lm")
    prompt = [[5, 6, 7, 8]]
    texts = ff.generate(found.model, found.params, prompt, **found.generation)
    expected = ff.generate(
        *(found.model, found.params, prompt), max_new_tokens=5, eos_token_id=(0, 7)
    )
    assert texts.sequences.tolist() == expected.sequences.tolist()


def test_older_folders_say_it_in_their_config(folder, tmp_path):
    change_config(folder, eos_token_id=[0, 7], num_beams=4)
    found = ff.from_pretrained(folder, "causal_lm")
    assert found.config.eos_token_id == 0
    assert found.generation == {"eos_token_id": [0, 7], "num_beams": 4}
    ff.save_pretrained(tmp_path / "again", found)
    assert json.loads((tmp_path / "again/config.json").read_text())["eos_token_id"] == [0, 7]
    # A file of its own stands for the whole.
    assert ff.from_pretrained(says(folder, {"top_k": 3}), "causal_lm").generation == {"top_k": 3}


def test_it_is_written_back_as_it_was(folder, tmp_path):
    ff.save_pretrained(tmp_path / "none", ff.from_pretrained(folder, "causal_lm"))
    assert not (tmp_path / "none" / GENERATION).exists()
    ff.save_pretrained(tmp_path / "again", ff.from_pretrained(says(folder, SAID), "causal_lm"))
    assert json.loads((tmp_path / "again" / GENERATION).read_text()) == SAID


def test_the_pipeline_begins_from_it(folder):
    plain, prompt = ff.pipeline("text-generation", folder), "the cat"
    [after] = plain(prompt, max_new_tokens=4, return_full_text=False)
    told = ff.pipeline("text-generation", says(folder, {"max_new_tokens": 4}))
    assert told(prompt, return_full_text=False) == [after]
    [longer] = told(prompt, max_new_tokens=8, return_full_text=False)
    assert longer["generated_text"].startswith(after["generated_text"])
    assert len(longer["generated_text"]) > len(after["generated_text"])
    three = ff.pipeline("text-generation", says(folder, SAID | {"num_return_sequences": 3}))
    assert len(three(prompt)) == 3


def test_bad_files_are_one_clear_line(folder):
    outside = ff.pipeline("text-generation", says(folder, {"eos_token_id": 999}))
    with pytest.raises(InputError, match="eos_token_id"):
        outside("the cat")
    (folder / GENERATION).write_text("[")
    with pytest.raises(InputError, match=f"{GENERATION} cannot be read as JSON"):
        ff.from_pretrained(folder, "causal_lm")
