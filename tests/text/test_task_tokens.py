"""GPT-1's three tokens: behind all others, around all texts, and nowhere else."""

import pickle

import numpy as np
import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.text import load_tokenizer
from flaxformers_edu.text.task_tokens import TASK_TOKENS, check_task_tokens
from flaxformers_edu.text.training import train_tokenizer

CORPUS = ["the quick brown fox jumps over the lazy dog near the old river bank"] * 4
SIZES = {"bpe": 60, "gpt2": 290, "wordpiece": 84, "byte_bpe": 290}


@pytest.fixture(scope="module", params=SIZES)
def pair(request):
    """A tokeniser, and the same with the three tokens."""
    plain = train_tokenizer(request.param, CORPUS, vocab_size=SIZES[request.param])
    return plain, plain.with_task_tokens()


def test_they_are_the_last_ids_and_the_template(pair):
    plain, with_tokens = pair
    start, delimiter, extract = range(plain.vocab_size, plain.vocab_size + 3)
    assert with_tokens.vocab_size == plain.vocab_size + 3
    assert tuple(with_tokens.tokens([start, delimiter, extract])) == TASK_TOKENS
    assert with_tokens.join([7, 8]) == ([start, 7, 8, extract], [0] * 4)
    assert with_tokens.join([7], [8]) == ([start, 7, delimiter, 8, extract], [0] * 5)
    assert with_tokens.num_special(True) == 3
    assert {start, delimiter, extract} <= with_tokens.special_ids


def test_whoever_calls_it_gets_the_template(pair):
    plain, with_tokens = pair
    a, b = (with_tokens.encode(text, add_eos=False) for text in ("the fox", "old dog"))
    found = with_tokens("the fox", "old dog")
    assert found["input_ids"].tolist() == [with_tokens.join(a, b)[0]]
    assert "token_type_ids" not in found
    np.testing.assert_array_equal(found["attention_mask"], np.ones_like(found["input_ids"]))


def test_all_else_is_as_it_was(pair):
    plain, with_tokens = pair
    for text in ("the lazy fox", "river"):
        assert with_tokens.encode(text) == plain.encode(text)
        assert with_tokens.decode(plain.encode(text)) == plain.decode(plain.encode(text))
    for role in ("pad", "bos", "eos", "unk"):
        name = f"{role}_token_id"
        assert getattr(with_tokens, name) == getattr(plain, name)


def test_they_are_kept_and_added_once(pair, tmp_path):
    plain, with_tokens = pair
    assert with_tokens.with_task_tokens() is with_tokens
    with_tokens.save(tmp_path)
    for again in (load_tokenizer(tmp_path), pickle.loads(pickle.dumps(with_tokens))):
        assert again.fingerprint == with_tokens.fingerprint != plain.fingerprint
        assert again.join([7], [8]) == with_tokens.join([7], [8])
        check_task_tokens(again)


def test_a_tokeniser_without_them(pair):
    with pytest.raises(InputError, match=r"no start, delimiter and extract .*tokenizer.task_tok"):
        check_task_tokens(pair[0])
