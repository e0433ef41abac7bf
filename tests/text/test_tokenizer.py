"""Tokenisers: round trips, special tokens, files, and one clear line for each mistake."""

import json
import pickle

import numpy as np
import pytest
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from flaxformers_edu.errors import InputError
from flaxformers_edu.text import Tokenizer, load_tokenizer
from flaxformers_edu.text.huggingface import HuggingFaceTokenizer
from flaxformers_edu.text.sentencepiece import SentencePieceTokenizer
from flaxformers_edu.text.sentencepiece_training import train_sentencepiece

CORPUS = [
    "The cat sees a dog.",
    "A dog sees the cat in the park.",
    "고양이가 개를 봐요.",
    "개는 공원에서 고양이를 봐요.",
] * 5


@pytest.fixture(scope="module")
def spm() -> SentencePieceTokenizer:
    return train_sentencepiece(CORPUS, vocab_size=36)


def bert_json() -> bytes:
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "dog", "##s", "sees"]
    tokenizer = tokenizers.Tokenizer(
        models.WordPiece({word: i for i, word in enumerate(vocab)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer.to_str().encode()


def byte_level() -> HuggingFaceTokenizer:
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=290, special_tokens=["<|endoftext|>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator(CORPUS, trainer)
    return HuggingFaceTokenizer(tokenizer.to_str().encode())


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
@pytest.mark.parametrize("byte_fallback", [False, True])
def test_sentencepiece_round_trip(model_type, byte_fallback) -> None:
    tokenizer = train_sentencepiece(
        CORPUS, vocab_size=292 if byte_fallback else 36, model_type=model_type,
        byte_fallback=byte_fallback,
    )  # fmt: skip
    assert isinstance(tokenizer, Tokenizer)
    special = (
        tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id,
        tokenizer.bos_token_id,
    )  # fmt: skip
    assert special == (0, 1, 2, 3)
    assert tokenizer.vocab_size == (292 if byte_fallback else 36)
    for text in CORPUS[:4]:
        ids = tokenizer.encode(text)
        assert ids[-1] == 1
        assert ids[:-1] == tokenizer.encode(text, add_eos=False)
        assert tokenizer.decode([3, *ids, 0, 0]) == text
        assert "".join(tokenizer.tokens(ids[:-1])).replace("\u2581", " ").strip() == text
    unknown = tokenizer.encode("ж", add_eos=False)
    assert (2 in unknown) != byte_fallback


def test_sentencepiece_training_is_deterministic(spm) -> None:
    again = train_sentencepiece(iter(CORPUS), vocab_size=36)
    assert again.fingerprint == spm.fingerprint
    other = train_sentencepiece(CORPUS, vocab_size=35)
    assert other.fingerprint != spm.fingerprint


def test_batch_of_texts(spm) -> None:
    batch = spm(["The cat", "A dog sees the cat in the park."])
    assert batch["input_ids"].dtype == batch["attention_mask"].dtype == np.int32
    lengths = batch["attention_mask"].sum(axis=1)
    assert lengths[0] == len(spm.encode("The cat"))
    assert batch["input_ids"].shape[1] == lengths[1]
    assert (batch["input_ids"][0, lengths[0] :] == 0).all()
    assert spm("The cat")["input_ids"].shape == (1, lengths[0])
    assert spm("The cat", padding="max_length", max_length=30)["input_ids"].shape == (1, 30)
    cut = spm(["A dog sees the cat"], max_length=4, truncation=True)["input_ids"]
    assert cut.shape == (1, 4)
    assert cut[0, -1] == 1


def test_batch_errors(spm) -> None:
    with pytest.raises(InputError, match="text 1 has .* more than max_length=4"):
        spm(["a", "A dog sees the cat"], max_length=4)
    with pytest.raises(InputError, match="padding=False"):
        spm(["a", "A dog sees the cat"], padding=False)
    with pytest.raises(InputError, match="needs max_length"):
        spm(["a"], padding="max_length")


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
def test_vocabulary_the_corpus_does_not_allow(model_type) -> None:
    with pytest.raises(
        InputError, match=r"vocab_size=5000 is larger.*set vocab_size to (\d+)"
    ) as e:
        train_sentencepiece(CORPUS, vocab_size=5000, model_type=model_type)
    largest = int(str(e.value).split("set vocab_size to ")[1].split()[0])
    assert train_sentencepiece(CORPUS, vocab_size=largest, model_type=model_type)
    with pytest.raises(InputError, match=r"vocab_size=8 is smaller.*set vocab_size to \d+ or more"):
        train_sentencepiece(CORPUS, vocab_size=8, model_type=model_type)
    with pytest.raises(InputError, match="at least 5"):
        train_sentencepiece(CORPUS, vocab_size=4, model_type=model_type)


def test_sentencepiece_argument_errors() -> None:
    with pytest.raises(InputError, match="corpus is empty"):
        train_sentencepiece(["", "  "], vocab_size=50)
    with pytest.raises(InputError, match="did you mean 'unigram'"):
        train_sentencepiece(CORPUS, vocab_size=50, model_type="unigrm")
    with pytest.raises(InputError, match="did you mean 'nfkc'"):
        train_sentencepiece(CORPUS, vocab_size=50, normalization="nkfc")


def test_training_prints_nothing(capfd) -> None:
    train_sentencepiece(CORPUS, vocab_size=36)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def test_save_and_load_sentencepiece(spm, tmp_path) -> None:
    spm.save(tmp_path / "tokenizer")
    loaded = load_tokenizer(tmp_path / "tokenizer")
    assert loaded.fingerprint == spm.fingerprint
    assert pickle.loads(pickle.dumps(spm)).encode(CORPUS[2]) == loaded.encode(CORPUS[2])


def test_wordpiece_follows_the_files_template(tmp_path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(bert_json())
    config = {"tokenizer_class": "BertTokenizer", "cls_token": "[CLS]", "sep_token": "[SEP]",
              "pad_token": {"content": "[PAD]"}, "unk_token": "[UNK]"}  # fmt: skip
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    tokenizer = load_tokenizer(tmp_path)
    batch = tokenizer(["The cats", "the dog sees cats"])
    np.testing.assert_array_equal(
        batch["input_ids"], [[2, 5, 6, 8, 3, 0, 0], [2, 5, 7, 9, 6, 8, 3]]
    )
    assert (batch["token_type_ids"] == 0).all()
    cut = tokenizer(["the dog sees cats"], max_length=4, truncation=True)["input_ids"]
    np.testing.assert_array_equal(cut, [[2, 5, 7, 3]])
    assert tokenizer.encode("the cats") == [5, 6, 8, 3]
    assert tokenizer.decode(batch["input_ids"][0]) == "the cats"
    assert tokenizer.tokens([5, 6, 8]) == ["the", "cat", "##s"]
    assert tokenizer.vocab_size == 10
    tokenizer.save(tmp_path / "copy")
    copy = load_tokenizer(tmp_path / "copy")
    assert copy.fingerprint == tokenizer.fingerprint
    assert copy.pad_token_id == 0
    assert "token_type_ids" in copy(["cat"])


def test_byte_level_pieces_are_readable() -> None:
    tokenizer = byte_level()
    ids = tokenizer.encode("a 개 봐", add_eos=False)
    shown = "".join(tokenizer.tokens(ids))
    if "<0x" not in shown:
        assert shown == "a\u2581개\u2581봐"
    assert tokenizer.decode([*ids, tokenizer.eos_token_id]) == "a 개 봐"
    whole = tokenizer.tokens(tokenizer.encode("가", add_eos=False))
    assert whole == ["가"] or whole[0].startswith("<0xEA>")
    assert tokenizer.pad_token_id is None
    with pytest.raises(InputError, match="no padding token"):
        tokenizer(["a", "a dog sees"])


def test_folder_errors(tmp_path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(InputError, match=r"does not exist; did you mean .*run\?"):
        load_tokenizer(tmp_path / "runn")
    with pytest.raises(InputError, match="no tokeniser in .*expected one of spm.model"):
        load_tokenizer(tmp_path / "run")
    (tmp_path / "run" / "spm.model").write_bytes(b"")
    with pytest.raises(InputError, match="spm.model is empty"):
        load_tokenizer(tmp_path / "run")
    (tmp_path / "run" / "spm.model").write_bytes(b"nonsense")
    with pytest.raises(InputError, match="spm.model is not a sentencepiece model"):
        load_tokenizer(tmp_path / "run")
    (tmp_path / "run" / "spm.model").unlink()
    (tmp_path / "run" / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="is not a valid tokenizer.json"):
        load_tokenizer(tmp_path / "run")
    (tmp_path / "run" / "tokenizer.json").write_bytes(bert_json())
    (tmp_path / "run" / "tokenizer_config.json").write_text('{"pad_token": "<nope>"}')
    with pytest.raises(InputError, match="pad_token='<nope>'.* is not in"):
        load_tokenizer(tmp_path / "run")
    (tmp_path / "run" / "tokenizer_config.json").write_text("{")
    with pytest.raises(InputError, match="tokenizer_config.json is not valid JSON"):
        load_tokenizer(tmp_path / "run")
