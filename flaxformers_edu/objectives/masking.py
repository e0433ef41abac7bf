"""Which tokens are hidden, and by what: on the device, with shapes that never change.

A row has as many places for predictions as its length allows; a shorter text uses fewer, and the
places that are left have the label -100. So a step compiles once, whatever is drawn.

`maskable` says of each token: 0 it is special or padding and is never hidden, 1 it begins a word,
2 it continues one.

Dims: B rows, T length, P places, W words of a row.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Key

from flaxformers_edu.errors import InputError
from flaxformers_edu.objectives.rows import MODEL_INPUTS
from flaxformers_edu.text.batching import IGNORED_LABEL

EVALUATION_SEED = 0  # of what is hidden where no key is given: the same in every evaluation


@dataclasses.dataclass(frozen=True)
class Masking:
    """What is hidden; the defaults are BERT's (Devlin et al. 2019, section 3.1)."""

    fraction: float = 0.15
    """Of the tokens of a text that may be hidden; at least one is."""
    masked: float = 0.8
    """Of the hidden ones: those that become [MASK]."""
    random: float = 0.1
    """Those that become any token of the vocabulary; the rest stay as they are."""
    whole_words: bool = False
    """Hide all pieces of a word or none."""
    max_ngram: int = 1
    """Longest run of words that is hidden together, with whole_words; a length of n has a
    probability in proportion to 1/n (Lan et al. 2019, section 4.1, has 3)."""
    smoothing: float = 0.0
    """s: of the tokens of a row, the first to be hidden is one that stands n times in the corpus
    with a probability in proportion to n^-s, the next one of the rest, and so on. Rare ones are
    favoured (DistilBERT's released training has 0.7, as XLM's); 0: all are alike."""

    def __post_init__(self) -> None:
        if not 0 < self.fraction < 1:
            raise InputError(f"masking.fraction is {self.fraction}; it must be between 0 and 1")
        if self.masked < 0 or self.random < 0 or self.masked + self.random > 1:
            raise InputError(
                f"masking.masked and masking.random are {self.masked} and {self.random}; "
                "they must be shares that add up to 1 at most"
            )
        if self.max_ngram < 1 or (self.max_ngram > 1 and not self.whole_words):
            raise InputError(
                f"masking.max_ngram is {self.max_ngram}; it must be 1, or more with whole_words"
            )

        if self.smoothing < 0 or (self.smoothing > 0 and self.whole_words):
            raise InputError(
                f"masking.smoothing is {self.smoothing}; it must be 0 or more, and 0 with "
                "whole_words, which are chosen alike"
            )

    def places(self, length: int) -> int:
        """Places for predictions in rows of a length."""
        return max(1, round(self.fraction * length))

    def shapes(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        """The shapes of a batch and of `predict_positions`, which its loss adds."""
        rows, length = shapes["input_ids"]
        return {**shapes, "predict_positions": (rows, self.places(length))}


def split_key(key: Key[Array, ""] | None, number: int) -> tuple[Key[Array, ""], ...]:
    """Keys of which the last is for dropout; without a key, fixed ones to hide by."""
    return tuple(jax.random.split(jax.random.key(EVALUATION_SEED) if key is None else key, number))


def for_dropout(key: Key[Array, ""] | None) -> Key[Array, ""] | None:
    """The part of a key that hiding leaves for dropout; of none, none."""
    return None if key is None else split_key(key, 2)[-1]


def mask_batch(
    batch: Mapping[str, Array], config: Any, masking: Masking, key: Key[Array, ""]
) -> tuple[dict[str, Array], Int[Array, "B P"]]:
    """A batch with `maskable` as a model's inputs, `predict_positions` included, and the labels.

    With `masking.smoothing` it has `counts`, too: how often each token stands in the corpus.

    config: the model's, whose mask_token_id and vocab_size say what hides a token.
    """
    choice_key, hiding_key = jax.random.split(key)
    input_ids_BT, maskable_BT = batch["input_ids"], batch["maskable"]
    counts_BT = batch["counts"] if masking.smoothing else None
    chosen_BT = choose(choice_key, maskable_BT, masking, counts_BT)
    positions_BP, labels_BP = places_of(
        chosen_BT, input_ids_BT, masking.places(input_ids_BT.shape[1])
    )
    inputs = {name: batch[name] for name in MODEL_INPUTS if name in batch}
    inputs["input_ids"] = hide(hiding_key, input_ids_BT, chosen_BT, config, masking)
    inputs["predict_positions"] = positions_BP
    return inputs, labels_BP


def choose(
    key: Key[Array, ""],
    maskable_BT: Int[Array, "B T"],
    masking: Masking,
    counts_BT: Int[Array, "B T"] | None = None,
) -> Bool[Array, "B T"]:
    """The tokens to be predicted: never special ones, never more than there are places."""
    number_B = jnp.sum(maskable_BT > 0, axis=1)
    most = masking.places(maskable_BT.shape[1])
    budget_B = jnp.clip(jnp.round(masking.fraction * number_B).astype(jnp.int32), 1, most)
    if masking.whole_words:
        return _choose_words(key, maskable_BT, budget_B, masking.max_ngram)
    if counts_BT is None:
        score_BT = jax.random.uniform(key, maskable_BT.shape)
    else:  # the greatest of log p + Gumbel noise are a sample by p without replacement
        log_BT = jnp.log(jnp.maximum(counts_BT, 1).astype(jnp.float32))
        score_BT = jax.random.gumbel(key, maskable_BT.shape) - masking.smoothing * log_BT
    score_BT = jnp.where(maskable_BT > 0, score_BT, -jnp.inf)
    rank_BT = jnp.argsort(jnp.argsort(-score_BT, axis=1), axis=1)
    return (rank_BT < budget_B[:, None]) & (maskable_BT > 0)


def _choose_words(
    key: Key[Array, ""],
    maskable_BT: Int[Array, "B T"],
    budget_B: Int[Array, " B"],
    max_ngram: int,
) -> Bool[Array, "B T"]:
    """Words in random order, each with its followers, as long as the budget lasts.

    As ALBERT's create_pretraining_data.py: what does not fit is tried shorter, then passed over,
    and so is what touches words that are already chosen.
    """
    order_key, length_key = jax.random.split(key)
    B, T = maskable_BT.shape
    starts_BT = maskable_BT == 1
    word_BT = jnp.where(maskable_BT > 0, jnp.cumsum(starts_BT, axis=1), 0)
    words_B = starts_BT.sum(axis=1)
    score_BT = jnp.where(starts_BT, jax.random.uniform(order_key, (B, T)), -1.0)
    order_BT = jnp.take_along_axis(word_BT, jnp.argsort(-score_BT, axis=1), axis=1)
    lengths_BT = 1 + jax.random.categorical(
        length_key, -jnp.log(jnp.arange(1.0, max_ngram + 1)), shape=(B, T)
    )

    def some_left(carry: tuple[Array, Array, Array]) -> Array:
        turn, _, left_B = carry
        return jnp.any((left_B > 0) & (turn < words_B))

    def next_word(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        turn, chosen_BT, left_B = carry
        first_B1 = order_BT[:, turn][:, None]
        taken_BT = jnp.zeros_like(chosen_BT)
        for n in range(1, max_ngram + 1):
            run_BT = (word_BT >= first_B1) & (word_BT < first_B1 + n)
            fits_B = (n <= lengths_BT[:, turn]) & (run_BT.sum(axis=1) <= left_B)
            taken_BT = jnp.where(fits_B[:, None], run_BT, taken_BT)
        free_B = (turn < words_B) & ~jnp.any(taken_BT & chosen_BT, axis=1)
        taken_BT &= free_B[:, None]
        return turn + 1, chosen_BT | taken_BT, left_B - taken_BT.sum(axis=1)

    begin = (jnp.int32(0), jnp.zeros((B, T), bool), budget_B)
    return jax.lax.while_loop(some_left, next_word, begin)[1]


def places_of(
    chosen_BT: Bool[Array, "B T"], input_ids_BT: Int[Array, "B T"], places: int
) -> tuple[Int[Array, "B P"], Int[Array, "B P"]]:
    """Where the chosen tokens are, in order, and what they are; -100 in the places left over."""
    T = chosen_BT.shape[1]
    from_the_end_BT = jnp.where(chosen_BT, T - jnp.arange(T), 0)
    found_BP, positions_BP = jax.lax.top_k(from_the_end_BT, places)
    ids_BP = jnp.take_along_axis(input_ids_BT, positions_BP, axis=1)
    return positions_BP, jnp.where(found_BP > 0, ids_BP, IGNORED_LABEL)


def hide(
    key: Key[Array, ""],
    input_ids_BT: Int[Array, "B T"],
    chosen_BT: Bool[Array, "B T"],
    config: Any,
    masking: Masking,
) -> Int[Array, "B T"]:
    """The ids with the chosen ones masked, replaced by random ones, or left as they are."""
    die_key, random_key = jax.random.split(key)
    die_BT = jax.random.uniform(die_key, input_ids_BT.shape)
    random_BT = jax.random.randint(
        random_key, input_ids_BT.shape, 0, config.vocab_size, input_ids_BT.dtype
    )
    hidden_BT = jnp.where(die_BT < masking.masked + masking.random, random_BT, input_ids_BT)
    hidden_BT = jnp.where(die_BT < masking.masked, config.mask_token_id, hidden_BT)
    return jnp.where(chosen_BT, hidden_BT, input_ids_BT)
