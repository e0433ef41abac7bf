"""Prefix LM: what is cut where, what has a label, and who sees whom."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.layers.masks import Mask
from flaxformers_edu.models import GPTConfig
from flaxformers_edu.objectives import OBJECTIVES, PrefixLM
from flaxformers_edu.text.training import train_tokenizer
from tests.trees import random_params

PIECES = train_tokenizer("characters", ["abcdefgh"], vocab_size=10)  # 0 ends, 2 is a
CONFIG = GPTConfig(
    vocab_size=10,
    hidden_size=8,
    num_layers=2,
    num_heads=2,
    intermediate_size=12,
    max_length=16,
    pad_token_id=0,
    eos_token_id=0,
)
ROWS = [
    {"input_ids": [2, 3, 4, 5, 0], "prefix_length": [3]},
    {"input_ids": [6, 7, 0], "prefix_length": [0]},
    {"input_ids": [8, 0], "prefix_length": [1]},
]


def encode(example, max_length=16, **fields):
    return PrefixLM(**fields).encode(example, PIECES, max_length=max_length)


def test_a_prefix_and_its_continuation():
    assert OBJECTIVES["prefix_lm"] is PrefixLM
    example = {"prefix": "abc", "text": "de"}
    assert PrefixLM().texts(example) == ["abc", "de"]
    assert encode(example) == [{"input_ids": [2, 3, 4, 5, 6, 0], "prefix_length": [3]}]
    assert encode({"prefix": "", "text": "d"}) == [{"input_ids": [5, 0], "prefix_length": [0]}]


def test_the_longer_one_is_cut_where_the_two_are_far_apart():
    cut = encode({"prefix": "abcdef", "text": "g"}, max_length=4)
    assert cut == [{"input_ids": [6, 7, 8, 0], "prefix_length": [2]}]
    cut = encode({"prefix": "a", "text": "bcdefg"}, max_length=4)
    assert cut == [{"input_ids": [2, 3, 4, 5], "prefix_length": [1]}]


def test_a_text_is_cut_into_rows_each_with_a_prefix_of_its_own():
    text = "abcdefgh" * 3
    rows = encode({"text": text}, max_length=10)
    assert [len(row["input_ids"]) for row in rows] == [10, 10, 5]
    assert sum((row["input_ids"] for row in rows), []) == PIECES.encode(text)
    assert rows == encode({"text": text}, max_length=10)
    texts = ["".join(np.random.default_rng(i).permutation(list("abcdefgh"))) for i in range(200)]
    lengths = {seed: [encode({"text": t}, seed=seed)[0]["prefix_length"][0] for t in texts]
               for seed in (0, 1)}  # fmt: skip
    assert set(lengths[0]) == set(range(1, 9))  # of 9 tokens: 1 to 8
    assert lengths[0] != lengths[1]
    assert encode({"text": ""}) == [{"input_ids": [0], "prefix_length": [1]}]


def test_labels_begin_with_the_continuation():
    batch = PrefixLM().collate(CONFIG)(ROWS, 4, 5)
    assert sorted(batch) == ["attention_mask", "input_ids", "labels", "prefix_mask"]
    x = -100
    np.testing.assert_array_equal(
        batch["labels"], [[x, x, 5, 0, x], [7, 0, x, x, x], [0, x, x, x, x], [x] * 5]
    )
    np.testing.assert_array_equal(
        batch["prefix_mask"], [[1, 1, 1, 0, 0], [0] * 5, [1, 0, 0, 0, 0], [0] * 5]
    )
    packed = PrefixLM().collate(CONFIG, packed=True)([ROWS], 1, 11)
    np.testing.assert_array_equal(packed["labels"], [[x, x, 5, 0, x, 7, 0, x, 0, x, x]])
    np.testing.assert_array_equal(packed["prefix_mask"], [[1, 1, 1, 0, 0, 0, 0, 0, 1, 0, 0]])


def test_the_mask_is_causal_behind_the_prefix():
    segments = np.array([[1, 1, 1, 1, 2, 2]])
    mask = Mask.packed(segments, segments, causal=True)
    dense = mask.with_prefix(np.array([[1, 1, 0, 0, 1, 1]])).dense(6, 6)
    expected = [[1, 1, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 0, 0],
                [0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 1, 1]]  # fmt: skip
    np.testing.assert_array_equal(dense[0].astype(int), expected)


@pytest.fixture(scope="module")
def model():
    module = CONFIG.build()
    return module, random_params(module, **module.dummy_inputs())


def test_a_token_of_the_prefix_sees_those_behind_it(model):
    module, params = model

    @partial(jax.jit, static_argnums=1)
    def changes(params, changed):
        ids = jnp.array([[2, 3, 4, 5, 6]])
        prefix = {"prefix_mask": jnp.array([[1, 1, 1, 0, 0]])}
        states = [
            module.apply({"params": params}, ids, **prefix).last_hidden_state
            for ids in (ids, ids.at[0, changed].set(9))
        ]
        return jnp.abs(states[0] - states[1]).max(axis=-1)[0] > 1e-5

    assert changes(params, 2).tolist() == [True] * 5
    assert changes(params, 3).tolist() == [False, False, False, True, True]


def test_packed_rows_have_the_same_loss(model):
    module, params = model
    loss_of = jax.jit(partial(PrefixLM().loss, module), static_argnums=2)
    rows = jax.tree.map(jnp.asarray, PrefixLM().collate(CONFIG)(ROWS, 3, 5))
    packed = jax.tree.map(jnp.asarray, PrefixLM().collate(CONFIG, packed=True)([ROWS], 1, 12))
    expected, found = loss_of(params, rows, None), loss_of(params, packed, None)
    assert found.weight == expected.weight == 2 + 2 + 1
    np.testing.assert_allclose(found.sum, expected.sum, rtol=1e-5)


@pytest.mark.parametrize(
    ("example", "settings", "message"),
    [
        ({"prefix": 3, "text": "a"}, {}, "prefix is 3; it must be a text"),
        ({"prefix": "a"}, {}, "there is no field 'text'"),
        ({"text": "ab"}, {"max_length": 1}, "max_source_length is 1; .* need 2"),
        ({"text": "ab"}, {"seed": -1}, "objective.seed is -1; it must be 0 or more"),
    ],
)
def test_bad_input(example, settings, message):
    with pytest.raises(InputError, match=message):
        encode(example, **settings)
