"""Tokenisers against transformers' fast ones: pairs, truncation, spans, special tokens in text."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from flaxformers_edu.text import load_tokenizer
from flaxformers_edu.text.pieces import without_spaces
from flaxformers_edu.text.training import train_tokenizer

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity

CORPUS = [
    "The cats saw the dogs, and the dogs saw cats 12,345 times.",
    "A dog sees the unseen cat in the park; the cat sees it.",
    "고양이가 공원에서 개를 봐요.",
    "Café naïve? Then the seeing dog's ``unseeing'' cats parked.",
] * 5
TEXTS = (
    "The cats  saw\tthe unseen dog's park, 12,345 times!",
    "고양이가 개를 봐요.",
    "Café ``naïve'' ÀÉÎ ﬁ",
    "a",
)


@pytest.fixture(scope="module", params=["wordpiece", "byte_bpe", "albert"])
def both(request, tmp_path_factory):
    """Our tokeniser and theirs, from the same older files."""
    folder = tmp_path_factory.mktemp(request.param)
    sizes = {"wordpiece": 150, "byte_bpe": 320, "albert": 55}
    trained = train_tokenizer(
        request.param, CORPUS, vocab_size=sizes[request.param], strip_accents=True
    )
    trained.save(folder)
    if request.param == "albert":
        (folder / "spm.model").rename(folder / "spiece.model")
        theirs = transformers.AlbertTokenizer.from_pretrained(folder)
        return load_tokenizer(folder), theirs
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    if request.param == "wordpiece":
        pieces = sorted(model["vocab"], key=model["vocab"].get)
        (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
        return load_tokenizer(folder), transformers.BertTokenizer.from_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
    merges = [" ".join(pair) for pair in model["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    # As in the released tokenizer.json: the space before a mask is the mask's.
    mask = transformers.AddedToken("<mask>", lstrip=True)
    theirs = transformers.RobertaTokenizer.from_pretrained(folder, mask_token=mask)
    return load_tokenizer(folder), theirs


def texts_for(tokenizer) -> list[str]:
    """Without Korean for ALBERT: the `tokenizers` package looks at a few bytes at a time, so that
    Hangul taken apart stays so, while sentencepiece, and so the original, puts it together again.
    """
    apart = "Albert" in type(tokenizer).__name__
    return [text for text in TEXTS if not (apart and text.startswith("고"))]


@pytest.mark.parametrize("settings", [{}, {"truncation": True, "max_length": 9}])
@pytest.mark.parametrize("pairs", [False, True])
def test_batches(both, pairs, settings) -> None:
    ours, theirs = both
    some = texts_for(theirs)
    texts = [some, [*some[1:], some[0]] if pairs else None]
    found = ours(*texts, **settings)
    expected = theirs(
        *texts, padding=True, return_tensors="np", return_token_type_ids=True, **settings
    )
    for name in ("input_ids", "attention_mask"):
        np.testing.assert_array_equal(found[name], expected[name])
    if "token_type_ids" in found:
        np.testing.assert_array_equal(found["token_type_ids"], expected["token_type_ids"])
    assert len(np.unique(found["input_ids"])) > 6


def test_spans(both) -> None:
    ours, theirs = both
    for text in texts_for(theirs):
        text = text.replace("``", "").replace("''", "")  # two characters that become one
        expected = theirs(text, add_special_tokens=False, return_offsets_mapping=True)
        found = ours.pieces(text)
        assert found.ids == expected["input_ids"]
        if "Albert" in type(theirs).__name__:
            # An empty piece before a word has its place left of the space there, and ours right.
            kept = [i for i, (a, b) in enumerate(found.spans) if a < b]
        else:
            kept = list(range(len(found.ids)))
        theirs_spans = without_spaces(expected["offset_mapping"], text)
        assert [found.spans[i] for i in kept] == [theirs_spans[i] for i in kept]


def test_masks_in_text_and_special_ids(both) -> None:
    ours, theirs = both
    text = f"The cats saw {theirs.mask_token} in the {theirs.mask_token}."
    assert ours(text)["input_ids"][0].tolist() == theirs(text)["input_ids"]
    for role in ("pad", "cls", "sep", "mask", "unk"):
        assert getattr(ours, f"{role}_token_id") == getattr(theirs, f"{role}_token_id")
    assert ours.special_ids == set(theirs.all_special_ids) - {theirs.unk_token_id}
    assert ours.vocab_size == len(theirs)


@pytest.mark.data
@pytest.mark.parametrize(
    ("folder", "files", "kind"),
    [
        ("tokenizers/gpt2", ("encoder.json", "vocab.bpe"), "GPT2Tokenizer"),
        (
            "tokenizers/openai-gpt",
            ("encoder_bpe_40000.json", "vocab_40000.bpe"),
            "OpenAIGPTTokenizer",
        ),
        ("checkpoints/stories260K/hf", ("tokenizer.model",), "LlamaTokenizer"),
    ],
)
def test_published_files_of_decoders(folder, files, kind, tmp_path) -> None:
    if "FLAXFORMERS_DATA" not in os.environ:
        pytest.skip("FLAXFORMERS_DATA names no folder")
    data = Path(os.environ["FLAXFORMERS_DATA"])
    for name, usual in zip(files, ("vocab.json", "merges.txt"), strict=False):
        name_there = usual if len(files) == 2 else name
        (tmp_path / name_there).write_bytes((data / folder / name).read_bytes())
    theirs = getattr(transformers, kind).from_pretrained(tmp_path)
    ours = load_tokenizer(data / folder)
    cases = (data / "tokenizers/expected_ggml/gpt-2.inp").read_text(encoding="utf-8")
    texts = [*TEXTS, *cases.split("\n__ggml_vocab_test__\n")]
    if kind == "LlamaTokenizer":
        # Spaces in a row are one for this sentencepiece model, which theirs does not read off it.
        texts = [" ".join(text.split()) for text in texts if text.split()]
    for text in texts:
        ids = theirs(text, add_special_tokens=False)["input_ids"]
        assert ours.encode(text, add_eos=False) == ids, text
        assert ours.decode(ids) == theirs.decode(
            ids, skip_special_tokens=kind == "LlamaTokenizer", clean_up_tokenization_spaces=False
        )
