"""Sources of labelled examples: columns, held-out parts, CoNLL, SQuAD's JSON, the hub."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from flaxformers_edu.errors import InputError
from train.saved import from_json, to_json
from train.sources import SPLITS, Conll, HuggingFaceDataset, Jsonl, SquadJson, Tfds, Tsv
from train.sources.benchmarks import COLUMNS, known_columns
from train.sources.columns import by_name, names_in, parse_columns
from train.sources.tfds import TfdsSplit


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_tsv_columns(tmp_path):
    path = write(tmp_path / "t.tsv", 'id\ts1\ts2\tgold\n7\t"a\tb\tyes\n')
    source = Tsv(train=path, columns=("text=s1", "text_pair=s2+id", "label=gold"), header=True)
    assert list(source.load("train")) == [{"text": '"a', "text_pair": "b 7", "label": "yes"}]
    assert from_json(to_json(source)) == source
    with pytest.raises(InputError, match="no column 'glod'; did you mean 'gold'"):
        Tsv(train=path, columns=("label=glod",), header=True).load("train")
    for wrong in ("text", "=s1", "text="):
        with pytest.raises(InputError, match="write FIELD=COLUMN"):
            parse_columns((wrong,))
    with pytest.raises(InputError, match="two columns for 'a'"):
        parse_columns(("a=1", "a=2"))


def test_json_columns(tmp_path):
    value = {"q": {"stem": "?", "choices": [{"t": "x"}, {"t": "y"}]}, "o1": "u", "o2": "v"}
    columns = ("question=q/stem", "choices=q/choices/t", "both=o1,o2")
    expected = [{"question": "?", "choices": ["x", "y"], "both": ["u", "v"]}]
    lines = write(tmp_path / "t.jsonl", json.dumps(value))
    array = write(tmp_path / "t.json", json.dumps([value], indent=1))
    assert Jsonl(train=lines, columns=columns).load("train") == expected
    assert Jsonl(train=array, columns=columns).load("train") == expected
    with pytest.raises(InputError, match=r"element 0 has no key 'q/stm'; .*keys: q, o1, o2"):
        Jsonl(train=array, columns=("question=q/stm",)).load("train")
    with pytest.raises(InputError, match="holds no JSON array"):
        Jsonl(train=write(tmp_path / "o.json", "{}"), columns=columns).load("train")
    with pytest.raises(InputError, match="is not valid JSON"):
        Jsonl(train=write(tmp_path / "b.json", "[1,"), columns=columns).load("train")


def test_a_split_that_names_the_training_file_is_held_out(tmp_path):
    path = write(tmp_path / "t.tsv", "".join(f"text {i // 2}\t{i % 2}\n" for i in range(600)))
    columns = ("text=0", "label=1")
    source = Tsv(train=path, validation=path, test=path, columns=columns)
    parts = {split: [tuple(e.values()) for e in source.load(split)] for split in SPLITS}
    assert sum(map(len, parts.values())) == 600
    texts = {split: {text for text, _ in rows} for split, rows in parts.items()}
    assert not texts["train"] & texts["validation"] and not texts["validation"] & texts["test"]
    assert 20 < len(texts["validation"]) < 45  # a tenth of 300 texts, each with both its labels
    assert len(parts["validation"]) == 2 * len(texts["validation"])
    # Without a test part its examples train; the validation part stays what it was.
    two = Tsv(train=path, validation=path, columns=columns)
    assert len(two.load("train")) == len(parts["train"]) + len(parts["test"])
    assert [tuple(e.values()) for e in two.load("validation")] == parts["validation"]
    own = Tsv(train=path, validation=path, test=str(tmp_path / "u.tsv"), columns=columns)
    write(tmp_path / "u.tsv", "u\t1\n")
    assert list(own.load("test")) == [{"text": "u", "label": "1"}]
    with pytest.raises(InputError, match="held_out is 50"):
        Tsv(train=path, validation=path, columns=columns, held_out=50).load("train")
    tiny = write(tmp_path / "v.tsv", "a\t1\n")
    with pytest.raises(InputError, match="part of .* is empty; raise held_out"):
        [Tsv(train=tiny, validation=tiny, columns=columns).load(s) for s in SPLITS[:2]]


def test_conll(tmp_path):
    text = "-DOCSTART- -X- O\n\n## x\nEU NNP B-ORG\nrejects VBZ O\n\n\n\u200b NN O\nPeter NNP I-PER"
    path = write(tmp_path / "t.conll", text)
    assert Conll(train=path, comment="## ").load("train") == [
        {"words": ["EU", "rejects"], "tags": ["B-ORG", "O"]},
        {"words": ["\u200b", "Peter"], "tags": ["O", "I-PER"]},
    ]
    spaces = write(tmp_path / "s.tsv", "가\tB-PS\n \tO\n#\tO\n\n")
    assert Conll(train=spaces, comment="## ").load("train")[0]["words"] == ["가", " ", "#"]
    assert Conll(train=path, comment="## ", tag=1).load("train")[0]["tags"] == ["NNP", "VBZ"]
    with pytest.raises(InputError, match="line 1 has 3 columns, but .* the tag column 5"):
        Conll(train=path, tag=5).load("train")
    with pytest.raises(InputError, match="has no sentences"):
        Conll(train=write(tmp_path / "e.conll", "-DOCSTART- O\n")).load("train")


def test_squad_json(tmp_path):
    answer = {"text": "b", "answer_start": 2}
    questions = [
        {"id": "1", "question": "?", "answers": [answer]},
        {"id": "2", "question": "!", "answers": [], "is_impossible": True},
        {"id": "3", "question": "."},
    ]
    paragraph = {"context": "a b", "qas": questions}
    articles = [{"title": f"t{i}", "paragraphs": [paragraph]} for i in range(200)]
    path = write(tmp_path / "t.json", json.dumps({"version": "v2.0", "data": articles}))
    first, second, third = SquadJson(train=path).load("train")[:3]
    assert first == {
        "id": "1", "title": "t0", "question": "?", "context": "a b",
        "answers": ["b"], "answer_starts": [2],
    }  # fmt: skip
    assert second["answers"] == [] and "answers" not in third
    source = SquadJson(train=path, validation=path)
    titles = [{e["title"] for e in source.load(split)} for split in ("train", "validation")]
    assert not titles[0] & titles[1] and len(titles[0] | titles[1]) == 200 and len(titles[1]) > 5
    for text in ("[]", '{"data": [{"paragraphs": [{"qas": []}, {"qas": [{}]}]}]}'):
        with pytest.raises(InputError, match="not in the form of SQuAD: after 0 questions"):
            SquadJson(train=write(tmp_path / "b.json", text)).load("train")
    with pytest.raises(InputError, match="has no questions"):
        SquadJson(train=write(tmp_path / "n.json", '{"data": []}')).load("train")


def test_tfds_gives_plain_values_and_names_of_classes():
    example = {
        "question": "où".encode(),
        "answers": {"text": np.array([b"a", b"b"], object), "answer_start": np.array([3, 4])},
        "label": np.int64(1),
    }
    columns = parse_columns((*COLUMNS["squad"][1:2], *COLUMNS["squad"][3:], "label=label"))
    split = TfdsSplit([example], columns, "squad", {"label": ["no", "yes"]})
    assert split[0] == {
        "question": "où", "answers": ["a", "b"], "answer_starts": [3, 4], "label": "yes"
    }  # fmt: skip
    assert type(split[0]["answer_starts"][0]) is int
    assert by_name(-1, ["no"]) == -1 and by_name([0, 1], ["a", "b"]) == ["a", "b"]


def test_known_benchmarks():
    assert known_columns("glue/sst2:2.0.0") == ("text=sentence", "label=label")
    assert known_columns("wmt14_translate/de-en") == ()
    for columns in COLUMNS.values():
        assert "label" in parse_columns(columns) or "answers" in parse_columns(columns)
    assert Tfds(name="glue/sst2").columns == ()


def test_known_columns_are_features_of_tfds(tmp_path, monkeypatch):
    """As the package itself declares them; building super_glue's examples would need TensorFlow."""
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    tfds = pytest.importorskip("tensorflow_datasets")
    from tensorflow_datasets.text.super_glue import SuperGlue

    features = {
        f"super_glue/{config.name}": {*config.features, "label"}
        for config in SuperGlue.BUILDER_CONFIGS
    }
    for name, columns in COLUMNS.items():
        if name.startswith(("glue/", "squad/")):
            declared = tfds.builder(name, data_dir=tmp_path).info.features
            features[name] = set(declared)
            if "answers" in declared:
                features[name] |= {f"answers/{part}" for part, _ in declared["answers"].items()}
        if name in features:
            used = {part for field in parse_columns(columns).values() for part in names_in(field)}
            assert used <= features[name], name
    assert len(features) >= 25


def test_hub(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match="hf:glue needs the package datasets: pip install"):
        HuggingFaceDataset(name="hf:glue", configuration="sst2").load("train")

    class Data(list):
        column_names = ["sentence", "label"]
        features = {"sentence": object(), "label": SimpleNamespace(names=["bad", "good"])}

    def load_dataset(name, configuration, split):
        if configuration != "sst2":
            raise ValueError("no such configuration\nmore")
        assert (name, split) == ("nyu-mll/glue", "train")
        return Data([{"sentence": "fine", "label": 1}, {"sentence": "?", "label": -1}])

    fake = SimpleNamespace(load_dataset=load_dataset)
    monkeypatch.setitem(sys.modules, "datasets", fake)
    source = HuggingFaceDataset(name="hf:nyu-mll/glue", configuration="sst2")
    assert list(source.load("train")) == [
        {"text": "fine", "label": "good"}, {"text": "?", "label": -1}
    ]  # fmt: skip
    with pytest.raises(InputError, match=r"cannot be loaded \(ValueError\): no such config"):
        HuggingFaceDataset(name="hf:nyu-mll/glue").load("train")
    with pytest.raises(InputError, match="has no column 'txt'; columns: sentence, label"):
        HuggingFaceDataset("nyu-mll/glue", "sst2", ("text=txt",)).load("train")
    with pytest.raises(InputError, match="there is no train data: set name"):
        HuggingFaceDataset().load("train")
