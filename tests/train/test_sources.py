"""Files, TFDS and the standard library as sources, and what their configurations say."""

import gzip
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.text.sentences import split_sentences
from train.sources import (
    SPLITS,
    FewExamples,
    Jsonl,
    LongText,
    ParallelFiles,
    StdlibDocs,
    StdlibPackages,
    TextFile,
    Tfds,
    ToyKorean,
    Tsv,
)
from train.sources.stdlib_docs import PACKAGES, sentences_of_docstring
from train.splits import load_split


def write(path: Path, text: str) -> str:
    path.write_bytes(text.encode())
    return str(path)


def parallel(folder: Path) -> ParallelFiles:
    return ParallelFiles(str(folder))


def test_parallel_files(tmp_path) -> None:
    write(tmp_path / "train.de", "Hallo\r\nja\u2028nein\n\n")
    (tmp_path / "train.en.gz").write_bytes(gzip.compress(b"hello\nyes\n\n"))
    pairs = parallel(tmp_path).load("train")
    assert [pairs[i] for i in range(len(pairs))] == [
        {"source": "Hallo", "target": "hello"},
        {"source": "ja\u2028nein", "target": "yes"},
        {"source": "", "target": ""},
    ]
    assert pickle.loads(pickle.dumps(pairs))[1] == pairs[1]


def test_file_errors(tmp_path) -> None:
    source = parallel(tmp_path)
    write(tmp_path / "train.de", "a\nb\n")
    write(tmp_path / "trian.en", "a\n")
    with pytest.raises(InputError, match=r"train.en does not exist; did you mean trian.en\?"):
        source.load("train")
    write(tmp_path / "train.en", "a\nb\nc")
    with pytest.raises(InputError, match=r"train.de has 2 lines but .*train.en has 3"):
        source.load("train")
    write(tmp_path / "train.en", " \n")
    with pytest.raises(InputError, match="train.en is empty"):
        source.load("train")
    (tmp_path / "train.en").write_bytes(b"fine\nno \xff here\n")
    with pytest.raises(InputError, match="train.en is not valid UTF-8: line 2, byte 4 is 0xff"):
        source.load("train")
    (tmp_path / "train.en").unlink()
    (tmp_path / "train.en.gz").write_bytes(gzip.compress(b"hello\n" * 100)[:-9])
    with pytest.raises(InputError, match="not a whole gzip file"):
        source.load("train")
    with pytest.raises(InputError, match="there is no folder"):
        parallel(tmp_path / "nowhere").load("train")
    with pytest.raises(InputError, match=r"may hold \{split\} and \{language\} only"):
        ParallelFiles(str(tmp_path), pattern="{name}").load("train")
    with pytest.raises(InputError, match="there is no test data: set test"):
        ParallelFiles(str(tmp_path), test="").load("test")
    with pytest.raises(InputError, match="did you mean 'validation'"):
        source.load("validaton")


def test_tsv(tmp_path) -> None:
    path = write(tmp_path / "t.tsv", "id\tenglish\tgerman\n1\tyes\tja\n2\tno\tnein\n")
    pairs = Tsv(train=path, source="german", target="english", header=True).load("train")
    assert list(pairs) == [
        {"source": "ja", "target": "yes"},
        {"source": "nein", "target": "no"},
    ]
    assert Tsv(train=path, source="2", target="").load("train")[1] == {"text": "ja"}
    with pytest.raises(InputError, match="no column 'germn'; did you mean 'german'"):
        Tsv(train=path, source="germn", header=True).load("train")
    with pytest.raises(InputError, match="no column '3'; columns: 0 to 2"):
        Tsv(train=path, source="3").load("train")
    write(tmp_path / "t.tsv", "a\tb\nonly one\n")
    with pytest.raises(InputError, match="line 2 has 1 tab-separated columns, expected at least 2"):
        Tsv(train=path).load("train")


def test_text_file(tmp_path) -> None:
    path = write(tmp_path / "t.txt", "One.\nTwo.\n\n\nThree.\n")
    assert list(TextFile(train=path).load("train")) == [
        {"text": "One."}, {"text": "Two."}, {"text": "Three."}
    ]  # fmt: skip
    documents = TextFile(train=path, unit="document").load("train")
    assert [d["sentences"] for d in documents] == [["One.", "Two."], ["Three."]]
    with pytest.raises(InputError, match="unknown unit 'page'"):
        TextFile(train=path, unit="page").load("train")


def test_jsonl(tmp_path) -> None:
    path = write(
        tmp_path / "t.jsonl", '{"de": "ja", "en": "yes", "n": 1}\n\n{"de": "ne", "en": "no"}'
    )
    assert Jsonl(train=path, source="de", target="en").load("train")[1]["target"] == "no"
    assert Jsonl(train=path, source="").load("train")[0]["n"] == 1
    with pytest.raises(InputError, match="line 3 has no key 'n'; .*keys: de, en"):
        Jsonl(train=path, source="n", target="").load("train")
    write(tmp_path / "t.jsonl", '{"de": 1}\n{"de"')
    with pytest.raises(InputError, match="line 2 is not valid JSON"):
        Jsonl(train=path, source="de", target="").load("train")
    write(tmp_path / "t.jsonl", "[1]")
    with pytest.raises(InputError, match="line 1 is not a JSON object"):
        Jsonl(train=path).load("train")


WRITE_TFDS = """
import sys
import tensorflow_datasets as tfds

class TinyPairs(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    pkg_dir_path = sys.argv[1]

    def _info(self):
        features = tfds.features.Translation(("de", "en"))
        return tfds.core.DatasetInfo(builder=self, description="pairs", features=features)

    def _split_generators(self, manager):
        return {"train": self._generate_examples(5), "dev": self._generate_examples(2)}

    def _generate_examples(self, number):
        for i in range(number):
            yield i, {"de": f"\\u00fcber {i}", "en": f"over {i}"}

TinyPairs(data_dir=sys.argv[1], file_format="array_record").download_and_prepare()
"""

READ_TFDS = """
import json, sys
from train.sources import Tfds
config = Tfds("tiny_pairs", data_dir=sys.argv[1], validation="dev")
out = {split: list(config.load(split)) for split in ("train", "validation")}
for name, source in (("test", config), ("name", Tfds("tiny_pair", data_dir=sys.argv[1])),
                     ("field", Tfds("tiny_pairs", source="ge", data_dir=sys.argv[1])),
                     ("known", Tfds("wmt14_translat", data_dir=sys.argv[1])),
                     ("absent", Tfds("wmt14_translate/de-en", data_dir=sys.argv[1]))):
    try:
        source.load("test" if name == "test" else "train")
    except ValueError as error:
        out[name] = f"{type(error).__name__}: {error}"
out["tensorflow"] = "tensorflow" in sys.modules
print(json.dumps(out))
"""


def run(code: str, *arguments: str) -> str:
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False,
        cwd=root, env=os.environ | {"NO_GCE_CHECK": "true"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_tfds_without_tensorflow(tmp_path) -> None:
    pytest.importorskip("tensorflow_datasets")
    run(WRITE_TFDS, str(tmp_path))
    out = json.loads(run(READ_TFDS, str(tmp_path)).splitlines()[-1])
    pairs = sorted((pair["source"], pair["target"]) for pair in out["train"])
    assert pairs == [(f"über {i}", f"over {i}") for i in range(5)]
    assert len(out["validation"]) == 2
    assert not out["tensorflow"]
    errors = {name: out[name] for name in ("test", "name", "field", "known", "absent")}
    assert all(error.startswith("InputError: ") for error in errors.values()), errors
    assert "has no split 'test'; did you mean 'train'? " in out["test"] or "splits: " in out["test"]
    assert "unknown TFDS dataset 'tiny_pair'" in out["name"]
    assert "features: de, en" in out["field"]
    assert "did you mean wmt14_translate" in out["known"]
    assert "tfds build wmt14_translate/de-en --file_format=array_record" in out["absent"]


def test_stdlib_documents() -> None:
    splits = {split: StdlibDocs().load(split) for split in ("train", "validation", "test")}
    texts = {split: {d["text"] for d in documents} for split, documents in splits.items()}
    assert len(texts["train"]) > 300
    assert min(len(texts["validation"]), len(texts["test"])) > 5
    assert not texts["train"] & (texts["validation"] | texts["test"])
    sentences = [s for d in splits["train"] for s in d["sentences"]]
    assert len(sentences) > 8000
    assert len(set(sentences)) == len(sentences)
    assert not any(">>>" in s or "\n" in s or "|" in s for s in sentences)
    assert splits["train"][0]["text"] == " ".join(splits["train"][0]["sentences"])
    assert len(StdlibDocs(unit="sentence").load("train")) == len(sentences)


def test_docstrings_lose_what_is_not_prose() -> None:
    docstring = """Return the sum of the numbers.

    It adds them up, e.g. Integers or floats. It is
    exact for integers::

        total([1, 2]) # Not This One Either.

    >>> total([1, 2])
    3

    Name    What it is
    ----    ----------
    total   The Sum of All.

    - A list item is left out too.

    see also sum.
    """
    assert sentences_of_docstring(docstring) == [
        "Return the sum of the numbers.",
        "It adds them up, e.g. Integers or floats.",
    ]
    assert split_sentences('He said "No." Then J. Doe left! Fine?') == [
        'He said "No."', "Then J. Doe left!", "Fine?"
    ]  # fmt: skip


def test_configurations_are_overridden_by_the_command_line() -> None:
    tyro = pytest.importorskip("tyro")
    assert tyro.cli(ToyKorean, args=["--size", "7"]) == ToyKorean(size=7)
    for config in (StdlibDocs, ParallelFiles, Tsv, TextFile, Jsonl, Tfds):
        assert tyro.cli(config, args=[]) == config()


def test_real_data() -> None:
    folder = os.environ.get("FLAXFORMERS_DATA")
    if not folder:
        pytest.skip("FLAXFORMERS_DATA names no folder of real data")
    pairs = ParallelFiles(f"{folder}/multi30k", test="test_2016_flickr")
    assert len(pairs.load("train")) == 29_000
    assert len(pairs.load("test")) == 1_000


def test_a_long_text_is_cut_once(tmp_path) -> None:
    path = write(tmp_path / "book.txt", "To be,\r\nor not\n" * 5)
    source = LongText(file=path, held_out=20)
    [kept], [held_out] = source.load("train"), source.load("validation")
    assert kept["text"] + held_out["text"] == "To be,\nor not\n" * 5
    assert len(held_out["text"]) == 14
    with pytest.raises(InputError, match="there is no test data: set test"):
        source.load("test")
    assert LongText(test=path).load("test")[0]["text"] == "To be,\nor not\n" * 5
    with pytest.raises(InputError, match="held_out is 0: of the 70 characters"):
        LongText(file=path, held_out=0).load("train")
    with pytest.raises(InputError, match="there is no train data: set file"):
        LongText().load("train")


def test_few_examples_of_another_source():
    whole = StdlibPackages()
    few, more = (FewExamples(whole, examples=n, seed=1).load("train") for n in (5, 9))
    assert more[:5] == few and len(more) == 9
    assert FewExamples(whole, examples=5, seed=2).load("train") != few
    assert FewExamples(whole).load("train") is whole.load("train")
    assert FewExamples(whole, examples=5).load("test") is whole.load("test")
    assert load_split(FewExamples(Jsonl(train="a", test="")), "test") is None
    with pytest.raises(InputError, match="source.examples is 10000000; it must be from 1 to"):
        FewExamples(whole, examples=10_000_000).load("train")


def test_sentences_of_packages():
    splits = {split: StdlibPackages().load(split) for split in SPLITS}
    texts = {split: {example["text"] for example in found} for split, found in splits.items()}
    assert not texts["train"] & (texts["validation"] | texts["test"])
    assert len(splits["train"]) > 2000 and len(splits["test"]) > 200
    for found in splits.values():
        assert {example["label"] for example in found} == set(PACKAGES)
