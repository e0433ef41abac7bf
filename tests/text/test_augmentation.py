"""Words that are replaced, by what, and all that stays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.models import BertConfig
from flaxformers_edu.text.augmentation import (
    Augmentation,
    Augmenter,
    augmenter_of,
    guesser,
    words_of,
)
from flaxformers_edu.text.tokenizer import load_tokenizer
from tests.trees import random_params

PIECES = "[PAD] [UNK] [CLS] [SEP] [MASK] the a film story great dull warm ##th ##ness , . not 7"
VOCABULARY = PIECES.split()
ID = {piece: i for i, piece in enumerate(VOCABULARY)}
TEXT = "The great film, not a warmthness."


@pytest.fixture
def tokenizer(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    return load_tokenizer(tmp_path)


def model_and_params(**fields):
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=8,
        num_layers=1,
        num_heads=2,
        intermediate_size=8,
        max_length=32,
        eos_token_id=3,
        mask_token_id=4,
        **fields,
    )
    model = config.build("masked_lm")
    return model, random_params(model, **model.dummy_inputs())


class Recorder:
    """A language model that always expects the same."""

    def __init__(self, *pieces):
        self.ids, self.rows, self.types = [ID[piece] for piece in pieces], [], []

    def __call__(self, rows, types):
        self.rows += rows
        self.types += types
        return np.tile(self.ids, (len(rows), 1))


def augmenter(tokenizer, *pieces, **settings):
    table = np.eye(len(VOCABULARY), dtype=np.float32)
    table[ID["warm"], ID["dull"]] = table[ID["warm"], ID["story"]] = 0.6
    table[ID["##th"], ID["story"]] = 0.3
    whole = np.array([piece.isalpha() for piece in VOCABULARY])
    return Augmenter(tokenizer, Recorder(*pieces), table, whole, Augmentation(**settings))


def test_pieces_are_joined_to_words(tokenizer):
    pieces = tokenizer.pieces(TEXT)
    words = words_of(pieces, tokenizer.starts_word)
    written = [TEXT[word.start : word.end] for word in words]
    assert written == ["The", "great", "film", ",", "not", "a", "warmthness", "."]
    assert list(words[6].pieces) == [6, 7, 8]


def test_single_pieces_are_guessed_beside_the_text_and_others_by_their_neighbours(tokenizer):
    drawing = augmenter(tokenizer, "dull", "##th", "story", candidates=3)
    options = {TEXT[w.start : w.end]: found for w, found in drawing.options(TEXT).items()}
    # Stop words and punctuation stay; a piece that only continues words is no word.
    assert options["great"] == options["film"] == ["dull", "story"]
    assert list(options) == ["great", "film", "warmthness"]
    assert options["warmthness"][:2] == ["warm", "story"]
    rows = [tokenizer.tokens(row) for row in drawing.guess.rows]
    pieces = tokenizer.tokens(tokenizer.pieces(TEXT).ids)
    hidden = [*pieces[:1], "[MASK]", *pieces[2:]]
    assert rows[0] == ["[CLS]", *hidden, "[SEP]", *pieces, "[SEP]"]
    assert len(rows) == 2 and drawing.guess.types[0][-1] == 1


def test_variants_differ_in_words_alone_and_the_text_is_the_first(tokenizer):
    drawing = augmenter(tokenizer, "dull", "story", probability=0.5, candidates=2, variants=1000)
    found = drawing.variants(TEXT, np.random.default_rng(0))
    assert found[0] == TEXT
    # Each of three words is kept, or is one of two others.
    assert len(found) == len(set(found)) == 3**3
    assert all(text.startswith("The ") and ", not a " in text and text[-1] == "." for text in found)
    again = drawing.variants(TEXT, np.random.default_rng(0))
    assert found == again != drawing.variants(TEXT, np.random.default_rng(1))


def test_how_many_words_change_is_the_probability(tokenizer):
    drawing = augmenter(tokenizer, "dull", probability=0.25, variants=1)
    rng = np.random.default_rng(0)
    changed = [len(drawing.variants("film", rng)) - 1 for _ in range(400)]
    assert 0.19 < np.mean(changed) < 0.31


def test_a_capital_letter_stays(tokenizer):
    drawing = augmenter(tokenizer, "dull", probability=1.0, variants=1)
    assert drawing.variants("Great, great", np.random.default_rng(0))[1] == "Dull, dull"


def test_the_language_model_is_asked_for_whole_words_at_the_hidden_place(tokenizer):
    model, params = model_and_params()
    drawing = augmenter_of(model, params, tokenizer, Augmentation(candidates=4))
    np.testing.assert_allclose(np.linalg.norm(drawing.directions_VE, axis=1), 1.0, rtol=1e-5)
    whole = [VOCABULARY[i] for i in np.flatnonzero(drawing.whole_V)]
    assert whole == [*VOCABULARY[ID["the"] : ID["##th"]], "not"]

    rows, types = zip(
        *[tokenizer.join([4, ID["film"]]), tokenizer.join([ID["a"], 4, ID["dull"]])], strict=True
    )
    found = drawing.guess(rows, types)
    run = jax.jit(lambda inputs: model.apply({"params": params}, **inputs).logits)
    for row, place, ids in zip(rows, (1, 2), found, strict=True):
        inputs = {"input_ids": jnp.array([row]), "token_type_ids": jnp.zeros((1, len(row)), int)}
        logits = np.asarray(run(inputs))[0, place]
        expected = sorted(np.flatnonzero(drawing.whole_V), key=lambda i: -logits[i])[:4]
        assert list(ids) == expected


def test_a_mask_that_is_cut_off_gives_no_guess():
    model, params = model_and_params()
    guess = guesser(model, params, np.arange(len(VOCABULARY)) > 4, 3)
    rows = [[2, *[5] * 40, 4, 3], [2, 4, *[5] * 40, 3]]
    found = guess(rows, [[0] * len(row) for row in rows])
    assert (found[0] == -1).all() and (found[1] > 4).all()


@pytest.mark.parametrize(
    "fields, words",
    [({"probability": 0.0}, "probability is 0.0"), ({"candidates": 0}, "candidates is 0"),
     ({"variants": 0}, "variants is 0")],
)  # fmt: skip
def test_settings_that_replace_nothing_are_refused(fields, words):
    with pytest.raises(InputError, match=words):
        Augmentation(**fields)
