import dataclasses
import json

import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.objectives import Translation
from tests.train.tiny import config
from train.experiment import TokenizerSpec
from train.prepare import (
    check_folder,
    check_tokenizer,
    check_writable,
    make_tokenizer,
    open_finished,
    open_for_training,
    write_config,
)


@pytest.fixture(scope="module")
def examples():
    return config().source.load("train")


def test_checking_leaves_nothing_behind(tmp_path):
    check_writable(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a").mkdir()
    check_writable(tmp_path / "a")
    assert list(tmp_path.rglob("*")) == [tmp_path / "a"]


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=f"cannot write to {tmp_path / 'file'}: .*--workdir"):
        check_writable(tmp_path / "file")


def test_a_folder_is_opened_as_it_was_written(tmp_path, examples):
    run = open_for_training(config(), tmp_path, examples)
    assert list(tmp_path.iterdir()) == []
    write_config(run)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "tokenizer"]
    again = open_finished(tmp_path)
    assert again.experiment == config()
    assert again.tokenizer.fingerprint == run.tokenizer.fingerprint
    assert again.model == run.model


def test_a_field_that_is_newer_than_the_folder_is_as_by_default(tmp_path, examples):
    write_config(open_for_training(config(), tmp_path, examples))
    path = tmp_path / "config.json"
    saved = json.loads(path.read_text())
    del saved["experiment"]["tokenizer"]["task_tokens"]
    path.write_text(json.dumps(saved))
    check_folder(config(), tmp_path)
    with pytest.raises(InputError, match="holds a run with seed=0, and now it is 1"):
        check_folder(config(seed=1), tmp_path)


@dataclasses.dataclass(frozen=True)
class OfTheUser(Translation):
    """What a config file may define for itself: not of this project."""

    extra: int = 3


def test_a_class_of_the_users_own_can_be_resumed(tmp_path, examples):
    own = config(objective=OfTheUser())
    write_config(open_for_training(own, tmp_path, examples))
    check_folder(own, tmp_path)
    with pytest.raises(InputError, match=r"holds a run with objective.extra=3, and now it is 4"):
        check_folder(config(objective=OfTheUser(extra=4)), tmp_path)


def test_a_full_disk_leaves_no_half_a_run(tmp_path, examples, monkeypatch):
    run = open_for_training(config(), tmp_path / "run", examples)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("train.prepare.write_atomically", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_config(run)
    assert caught.value.filename == str(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_same_corpus_gives_the_same_tokeniser(examples):
    first, second = (make_tokenizer(config(), examples) for _ in range(2))
    assert first.fingerprint == second.fingerprint
    some = dataclasses.replace(config(), tokenizer=TokenizerSpec(kind="bpe", max_examples=199))
    assert make_tokenizer(some, examples).fingerprint != first.fingerprint


def test_a_tokeniser_from_a_folder(tmp_path, examples):
    made = make_tokenizer(config(), examples)
    made.save(tmp_path)
    spec = TokenizerSpec(kind="folder", folder=str(tmp_path))
    found = make_tokenizer(config(tokenizer=spec), examples)
    assert found.fingerprint == made.fingerprint
    missing = TokenizerSpec(kind="folder", folder=str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="nowhere does not exist"):
        make_tokenizer(config(tokenizer=missing), examples)


def test_a_tokeniser_that_is_not_the_models(examples):
    tokenizer = make_tokenizer(config(), examples)
    model = config().model
    with pytest.raises(InputError, match=r"800 pieces, more than model\.vocab_size=300"):
        check_tokenizer(dataclasses.replace(model, vocab_size=300), tokenizer)
    with pytest.raises(InputError, match=r"eos_token_id is 1, the model's 2: set model\.eos"):
        check_tokenizer(dataclasses.replace(model, eos_token_id=2), tokenizer)
    check_tokenizer(model, tokenizer)


def test_config_without_its_parts(tmp_path):
    with pytest.raises(InputError, match="is not the folder of a run: it has no config.json"):
        open_finished(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"experiment": 3, "tokenizer": "x"}))
    with pytest.raises(InputError, match="holds no experiment"):
        open_finished(tmp_path)
