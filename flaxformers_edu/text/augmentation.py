"""TinyBERT's augmentation of a task's texts (Jiao et al. 2020, algorithm 1).

Some words of a text are replaced by others that fit. A word of one piece by what a masked language
model expects in its place; a word of several pieces by words whose embeddings point where the mean
of its own does. The authors take GloVe's vectors for the latter; the model's own table stands in
for them here, so that no further file is needed.

Dims: R rows, T length, V vocabulary, E embedding size, M candidates.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from flaxformers_edu.errors import InputError
from flaxformers_edu.text.batching import pad_sequences
from flaxformers_edu.text.pieces import Pieces
from flaxformers_edu.text.tokenizer import Tokenizer

Guess = Callable[[Sequence[Sequence[int]], Sequence[Sequence[int]]], Int[np.ndarray, "R M"]]
"""(ids of rows with one mask each, their token types) -> the likeliest ids in its place."""

_ENGLISH = """
    i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she
    her hers herself it its itself they them their theirs themselves what which who whom this that
    these those am is are was were be been being have has had having do does did doing a an the and
    but if or because as until while of at by for with about against between into through during
    before after above below to from up down in out on off over under again further then once here
    there all any both each few more most other some such no nor not only own same so than too very
    s t can will just don should now d ll m o re ve y ain aren couldn didn doesn hadn hasn haven isn
    ma mightn mustn needn shan shouldn wasn weren won wouldn
"""
STOP_WORDS = frozenset(_ENGLISH.split())
"""Words of English that are never replaced: with another "not", a label would not hold."""


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How much is replaced; the defaults are the paper's (section 4.2)."""

    probability: float = 0.4
    """Of a word to be replaced."""
    candidates: int = 15
    """Words that may replace one."""
    variants: int = 30
    """Texts that are drawn from one; those that come twice are left out. The released code draws
    20 for SST-2 and QNLI, 10 for MNLI and QQP."""
    kept: frozenset[str] = STOP_WORDS
    """Words in lower case that are never replaced."""

    def __post_init__(self) -> None:
        if not 0 < self.probability <= 1:
            raise InputError(
                f"probability is {self.probability}; it must be above 0, and 1 at most"
            )
        for name in ("candidates", "variants"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least 1")


@dataclasses.dataclass(frozen=True)
class Word:
    """A word of a text: its place in characters, and that of its pieces."""

    start: int
    end: int
    pieces: range


def words_of(pieces: Pieces, starts_word: Bool[np.ndarray, " V"]) -> list[Word]:
    """Pieces joined to words."""
    begins = [i for i, piece in enumerate(pieces.ids) if i == 0 or starts_word[piece]]
    ends = [*begins[1:], len(pieces.ids)]
    return [
        Word(pieces.spans[i][0], pieces.spans[j - 1][1], range(i, j))
        for i, j in zip(begins, ends, strict=True)
    ]


@dataclasses.dataclass(frozen=True)
class Augmenter:
    """Draws variants of texts; made once by `augmenter_of`."""

    tokenizer: Tokenizer
    guess: Guess
    directions_VE: Float[np.ndarray, "V E"]
    """Embeddings of the vocabulary, of length 1."""
    whole_V: Bool[np.ndarray, " V"]
    """Which pieces are words by themselves."""
    settings: Augmentation = Augmentation()

    def variants(self, text: str, rng: np.random.Generator) -> list[str]:
        """The text, and those that were drawn from it."""
        options = self.options(text)
        found: dict[str, None] = {text: None}  # a dict keeps their order
        for _ in range(self.settings.variants):
            chosen = {
                word: candidates[rng.integers(len(candidates))]
                for word, candidates in options.items()
                if rng.random() < self.settings.probability
            }
            found[replaced(text, chosen)] = None
        return list(found)

    def options(self, text: str) -> dict[Word, list[str]]:
        """What may stand in place of each word that may be replaced."""
        pieces = self.tokenizer.pieces(text)
        words = [
            word
            for word in words_of(pieces, self.tokenizer.starts_word)
            if (written := text[word.start : word.end]).isalpha()
            and written.lower() not in self.settings.kept
        ]
        single = [word for word in words if len(word.pieces) == 1]
        found = dict(zip(single, self._expected(pieces.ids, single), strict=True))
        for word in words:
            ids = found[word] if word in found else self._nearest(pieces.ids, word)
            found[word] = self._written(ids, like=text[word.start : word.end])
        return {word: found[word] for word in words if found[word]}

    def _expected(self, ids: list[int], words: list[Word]) -> list[Any]:
        """The guesses for each of these words, hidden in the text; the text itself is beside it."""
        mask = self.tokenizer.mask_token_id
        assert mask is not None, "augmenter_of refuses tokenisers without a mask"
        rows: list[list[int]] = []
        types: list[list[int]] = []
        for word in words:
            hidden = list(ids)
            hidden[word.pieces[0]] = mask
            row, row_types = self.tokenizer.join(hidden, ids)
            rows.append(row)
            types.append(row_types)
        return list(self.guess(rows, types)) if rows else []

    def _nearest(self, ids: list[int], word: Word) -> np.ndarray:
        mean_E = self.directions_VE[[ids[i] for i in word.pieces]].mean(axis=0)
        near_V = np.where(self.whole_V, self.directions_VE @ mean_E, -np.inf)
        return np.argsort(-near_V, kind="stable")[: self.settings.candidates]

    def _written(self, ids: np.ndarray, like: str) -> list[str]:
        known = [i for i in ids.tolist() if i >= 0 and self.whole_V[i]]
        words = [self.tokenizer.decode([i]).strip() for i in known]
        return [word.title() for word in words] if like.istitle() else words


def replaced(text: str, chosen: Mapping[Word, str]) -> str:
    """The text with other words in places of these; what is between them stays."""
    parts: list[str] = []
    end = 0
    for word in sorted(chosen, key=lambda word: word.start):
        parts += [text[end : word.start], chosen[word]]
        end = word.end
    return "".join([*parts, text[end:]])


def augmenter_of(
    model: Any, params: Any, tokenizer: Tokenizer, settings: Augmentation = Augmentation()
) -> Augmenter:
    """An augmenter by a masked language model and its table of embeddings.

    Raises:
        InputError: the tokeniser has no mask token.
    """
    if tokenizer.mask_token_id is None:
        raise InputError("augmentation hides words, and the tokeniser has no mask token")
    table_VE = np.asarray(params["embeddings"]["token"]["embedding"], np.float32)
    lengths_V = np.linalg.norm(table_VE, axis=1)
    whole_V: np.ndarray = np.zeros(len(table_VE), bool)
    for i in range(tokenizer.vocab_size):
        if tokenizer.starts_word[i] and i not in tokenizer.special_ids:
            whole_V[i] = tokenizer.decode([i]).strip().isalpha()
    guess = guesser(model, params, whole_V, settings.candidates)
    directions_VE = table_VE / np.maximum(lengths_V, 1e-12)[:, None]
    return Augmenter(tokenizer, guess, directions_VE, whole_V, settings)


def guesser(model: Any, params: Any, whole_V: Bool[np.ndarray, " V"], candidates: int) -> Guess:
    """What a masked language model expects, of whole words alone; compiles once a rounded shape.

    Rows are cut to the longest that the model reads; one whose mask is cut off gets -1 for ids.
    """
    config, most = model.config, min(candidates, int(whole_V.sum()))

    @jax.jit
    def likeliest(ids_RT: Array, types_RT: Array, real_RT: Array) -> Array:
        places_R1 = (ids_RT == config.mask_token_id).argmax(axis=1)[:, None]
        inputs = {"input_ids": ids_RT, "token_type_ids": types_RT, "attention_mask": real_RT}
        output = model.apply({"params": params}, **inputs, predict_positions=places_R1)
        logits_RV = jnp.where(whole_V[None], output.logits[:, 0], -jnp.inf)
        return jax.lax.top_k(logits_RV, most)[1]

    def guess(rows: Sequence[Sequence[int]], types: Sequence[Sequence[int]]) -> np.ndarray:
        longest = max(map(len, rows))
        length = min(-(-longest // 32) * 32, config.max_length)
        empty: list[list[int]] = [[]] * (-len(rows) % 8)
        cut = [list(row[:length]) for row in rows] + empty
        ids_RT = pad_sequences(cut, length, config.pad_token_id)
        types_RT = pad_sequences([list(row[:length]) for row in types] + empty, length, 0)
        real_RT = pad_sequences([[1] * len(row) for row in cut], length, 0)
        found = np.asarray(likeliest(ids_RT, types_RT, real_RT))[: len(rows)]
        hidden = (ids_RT[: len(rows)] == config.mask_token_id).any(axis=1)
        return np.where(hidden[:, None], found, -1)

    return guess
