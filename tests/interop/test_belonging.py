"""A tokeniser of another model is refused, with the reason."""

import json

import pytest
import tokenizers
from tokenizers import models, pre_tokenizers, processors

import flaxformers_edu as ff
from flaxformers_edu.errors import InputError
from tests.interop.folders import change_config, written

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CONFIG = dict(
    tokenizer_class="BertTokenizerFast",
    pad_token="[PAD]",
    unk_token="[UNK]",
    cls_token="[CLS]",
    sep_token="[SEP]",
    mask_token="[MASK]",
)


def save_tokenizer(folder, special=tuple(SPECIAL), words=16, config=CONFIG):
    """A vocabulary of words; `special` come first, in order."""
    pieces = [*special, *(f"word{i}" for i in range(words))]
    model = models.WordPiece({p: i for i, p in enumerate(pieces)}, unk_token="[UNK]")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(list(special))
    if "[CLS]" in special:
        pairs = [(p, pieces.index(p)) for p in ("[SEP]", "[CLS]")]
        tokenizer.post_processor = processors.BertProcessing(*pairs)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


@pytest.fixture
def folder(tmp_path):
    written(tmp_path / "model", eos_token_id=0, mask_token_id=0)
    return tmp_path / "model"


def test_a_folder_with_its_tokeniser(folder, tmp_path):
    """It also says what config.json does not: the ids of [SEP] and [MASK]."""
    save_tokenizer(folder)
    loaded = ff.from_pretrained(folder)
    assert (loaded.config.eos_token_id, loaded.config.mask_token_id) == (3, 4)
    assert loaded.tokenizer("word1 word2")["input_ids"].tolist() == [[2, 6, 7, 3]]
    ff.save_pretrained(tmp_path / "again", loaded)
    again = ff.from_pretrained(tmp_path / "again")
    assert again.tokenizer.fingerprint == loaded.tokenizer.fingerprint
    assert again.config == loaded.config


def test_a_table_padded_to_a_round_size(folder):
    save_tokenizer(folder, words=11)
    assert ff.from_pretrained(folder).tokenizer.vocab_size == 16


def no_cls(folder):
    special = ("[PAD]", "[UNK]")
    config = {"pad_token": "[PAD]", "unk_token": "[UNK]"}
    save_tokenizer(folder, special, 19, config)


@pytest.mark.parametrize(
    ("save", "message"),
    [
        (lambda f: save_tokenizer(f, words=17), "has 22 tokens and the model 21 rows for them"),
        (
            lambda f: save_tokenizer(f, ("[UNK]", "[PAD]", *SPECIAL[2:])),
            "has pad_token_id 1 and config.json says 0",
        ),
        (no_cls, r"no token for a text's beginning and end .* which a Bert needs"),
        (
            lambda f: (save_tokenizer(f), change_config(f, tokenizer_class="RobertaTokenizer")),
            "is of a BertTokenizer and config.json names a RobertaTokenizer",
        ),
    ],
)
def test_a_tokeniser_of_another_model(save, message, folder):
    save(folder)
    with pytest.raises(InputError, match=f"{message}.*tokeniser of another model"):
        ff.from_pretrained(folder)


def test_a_vocabulary_much_smaller_than_the_table(tmp_path):
    written(tmp_path / "model", vocab_size=2000)
    save_tokenizer(tmp_path / "model")
    with pytest.raises(InputError, match="has 21 tokens and the model 2000 rows"):
        ff.from_pretrained(tmp_path / "model")


def test_one_is_not_saved_with_another_model(folder, tmp_path):
    save_tokenizer(folder)
    loaded = ff.from_pretrained(folder)
    written(tmp_path / "small", vocab_size=20)
    small = ff.from_pretrained(tmp_path / "small")
    with pytest.raises(InputError, match="has 21 tokens and the model 20 rows"):
        ff.save_pretrained(tmp_path / "both", ff.interop.Pretrained(
            small.model, small.params, loaded.tokenizer, small.config
        ))  # fmt: skip
    assert not (tmp_path / "both").exists()
