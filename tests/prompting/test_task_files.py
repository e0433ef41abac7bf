"""Tasks from JSON and from Python."""

import json

import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.prompting import Choice, Generation, RunningText, load_task, task_of

FIELDS = {"kind": "choice", "name": "t", "prompt": "{x} is", "candidates": ["a", "b"]}
DATA = [{"x": 1, "label": "a"}, {"x": 2, "label": "b"}]


def written(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_json_with_its_data_inside_or_beside(tmp_path, monkeypatch):
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, DATA)) + "\n\n")
    monkeypatch.setenv("SOMEWHERE", str(tmp_path))
    content = {**FIELDS, "test": DATA, "train": "train.jsonl", "validation": "$SOMEWHERE/no.jsonl"}
    found = load_task(written(tmp_path / "task.json", content))
    assert found.task == Choice(name="t", prompt="{x} is", candidates=("a", "b"))
    assert list(found.examples("test")) == list(found.examples("train")) == DATA
    with pytest.raises(InputError, match=r"no.jsonl cannot be read"):
        found.examples("validation")
    with pytest.raises(InputError, match="unknown split 'tset'; did you mean 'test'"):
        found.examples("tset")


def test_python(tmp_path):
    path = written(
        tmp_path / "task.py",
        "from flaxformers_edu.prompting import RunningText\n"
        "def task():\n    return RunningText(name='t', stride=4)\n"
        "def examples(split):\n    return [{'text': split}]\n",
    )
    found = load_task(path)
    assert found.task == RunningText(name="t", stride=4)
    assert found.examples("test") == [{"text": "test"}]


def test_numbers_and_lists():
    task = task_of(
        {"kind": "generation", "name": "t", "prompt": "{x}", "answer": "{y}"}
        | {"stop": ["\n", "."], "length_penalty": 1, "num_beams": 4}
    )
    assert isinstance(task, Generation) and task.stop == ("\n", ".") and task.num_beams == 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "chioce"}, "unknown kind of task 'chioce'; did you mean 'choice'"),
        ({"promt": "a"}, "unknown field of a choice task 'promt'; did you mean 'prompt'"),
        ({"prompt": 3}, "field 'prompt' of a choice task is 3; it must be a text"),
        ({"candidates": "ab"}, "it must be a list of texts"),
        ({"candidates": [1, 2]}, "it must be a list of texts"),
        ({"candidates": []}, "either candidates or"),
    ],
)
def test_fields_that_do_not_fit(changes, words):
    with pytest.raises(InputError, match=words):
        task_of({**FIELDS, **changes})


def test_a_field_that_is_lacking():
    with pytest.raises(InputError, match="a choice task needs the field 'prompt'"):
        task_of({"kind": "choice", "name": "t", "candidates": ["a", "b"]})


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("task.json", "{", "is not valid JSON"),
        ("task.json", "[]", "is not a JSON object"),
        ("task.yaml", "", "must end with .json or .py"),
        ("task.py", "", "has no function task"),
        ("task.py", "task = examples = lambda *_: 3", "returns a int, not a task"),
    ],
)
def test_files_that_hold_no_task(tmp_path, name, content, words):
    with pytest.raises(InputError, match=words):
        load_task(written(tmp_path / name, content))
    with pytest.raises(InputError, match="there is no task file"):
        load_task(tmp_path / "nowhere.json")


def test_data_that_are_not_there(tmp_path):
    found = load_task(written(tmp_path / "task.json", {**FIELDS, "test": [3]}))
    with pytest.raises(InputError, match="has no 'train'"):
        found.examples("train")
    with pytest.raises(InputError, match="must be a list of objects"):
        found.examples("test")
