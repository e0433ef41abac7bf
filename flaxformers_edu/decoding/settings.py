"""The settings of a search, by Hugging Face's names, and what they may be."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from flaxformers_edu.decoding.scoring import SCORERS
from flaxformers_edu.errors import InputError, unknown_name


@dataclasses.dataclass(frozen=True)
class Settings:
    """What `generate` is asked for: greedy search, unless beams or sampling are."""

    max_new_tokens: int
    """New tokens of a sequence at most, its end included."""
    num_beams: int = 1
    """Beams of a row; 1 means no beam search."""
    length_penalty: float = 1.0
    """Exponent on the length that divides a beam's score, see `BeamSearch`."""
    early_stopping: bool | str = False
    """When a row's beam search stops: True, False or "never", see `BeamSearch`."""
    num_return_sequences: int = 1
    """Sequences of a row: at most `num_beams` with beams, any number with sampling."""
    do_sample: bool = False
    """Draw the tokens; needs a key, excludes beam search."""
    temperature: float = 1.0
    """Logits are divided by it before a draw; 1.0 changes nothing."""
    top_k: int = 0
    """Draw among the k likeliest; 0: among all."""
    top_p: float = 1.0
    """Draw among the fewest tokens that have this probability together; 1.0: among all."""
    min_new_tokens: int = 0
    """No end of sequence before that many."""
    eos_token_id: Any = None
    """An id or several; None takes the config's, `()` means that there is none."""
    pad_token_id: int | None = None
    """What follows an end; None takes the config's, or else the first end-of-sequence token."""
    min_p: float = 0.0
    """Draw among tokens at least this likely, relative to the likeliest; 0.0: among all."""
    repetition_penalty: float = 1.0
    """Above 1 discourages tokens that were there before; 1.0 changes nothing."""
    no_repeat_ngram_size: int = 0
    """No sequence of so many tokens stands twice in prompt and new tokens; 0: they may."""
    suppress_tokens: Sequence[int] = ()
    """Tokens that are never chosen."""
    bad_words_ids: Sequence[Sequence[int]] = ()
    """Sequences that are never completed. As in Hugging Face's search, one that is nothing but an
    end-of-sequence token is left out."""
    stop_sequences: Sequence[Sequence[int]] = ()
    """Sequences of tokens; when the new tokens end with one of them, they have ended."""
    forced_bos_token_id: Any = None
    """The token after a prompt, or a decoder's start, of one token."""
    forced_eos_token_id: Any = None
    """The token that the last place gets; for both None takes the config's, `()` means none."""
    decoder_start_token_id: int | None = None
    """Of an encoder-decoder; None takes the config's."""
    scorer: str = "huggingface"
    """"huggingface" divides a beam's score by length ** length_penalty, "gnmt" by
    ((5 + length) / 6) ** length_penalty."""

    def check(self, vocab_size: int, rng: Any) -> None:
        """Raises InputError for the first setting that is out of range."""
        self._check_lengths()
        self._check_distribution()
        self._check_search(vocab_size, rng)
        self._check_sequences(vocab_size)

    def _check_lengths(self) -> None:
        _count("max_new_tokens", self.max_new_tokens, 1)
        _count("min_new_tokens", self.min_new_tokens, 0)
        _need(
            self.min_new_tokens <= self.max_new_tokens,
            "min_new_tokens",
            self.min_new_tokens,
            f"at most max_new_tokens, {self.max_new_tokens}",
        )

    def _check_distribution(self) -> None:
        temperature, penalty = self.temperature, self.repetition_penalty
        positive = _is_number(temperature) and temperature > 0
        allowed = "a finite number > 0 (for the limit at 0, leave out do_sample)"
        _need(positive, "temperature", temperature, allowed)
        _count("top_k", self.top_k, 0)
        for name in ("top_p", "min_p"):
            value = getattr(self, name)
            _need(_is_number(value) and 0 <= value <= 1, name, value, "in [0, 1]")
        positive = _is_number(penalty) and penalty > 0
        _need(positive, "repetition_penalty", penalty, "a finite number > 0")
        _count("no_repeat_ngram_size", self.no_repeat_ngram_size, 0)

    def _check_search(self, vocab_size: int, rng: Any) -> None:
        beams, number, early = self.num_beams, self.num_return_sequences, self.early_stopping
        _count("num_beams", beams, 1)
        _count("num_return_sequences", number, 1)
        known = early is True or early is False or early == "never"
        _need(known, "early_stopping", early, 'True, False or "never"')
        penalty = self.length_penalty
        _need(_is_number(penalty), "length_penalty", penalty, "a finite number")
        if self.scorer not in SCORERS:
            raise unknown_name("scorer", self.scorer, SCORERS)
        allowed = f"at most the size of the vocabulary, {vocab_size}"
        _need(beams <= vocab_size, "num_beams", beams, allowed)
        if self.do_sample:
            _need(beams == 1, "num_beams", beams, "1 when do_sample is set")
            a_key = "a key, such as jax.random.key(0), to sample with"
            _need(rng is not None, "rng", rng, a_key)
        elif beams > 1:
            allowed = f"at most num_beams, {beams}"
            _need(number <= beams, "num_return_sequences", number, allowed)
        else:
            allowed = "1 in greedy search (set num_beams or do_sample for more)"
            _need(number == 1, "num_return_sequences", number, allowed)

    def _check_sequences(self, vocab_size: int) -> None:
        _check_ids("suppress_tokens", self.suppress_tokens, vocab_size)
        for name in ("bad_words_ids", "stop_sequences"):
            sequences = getattr(self, name)
            if isinstance(sequences, str) or not isinstance(sequences, Sequence):
                raise InputError(
                    f"{name} is {sequences!r}; it must be a list of lists of token ids"
                )
            for sequence in sequences:
                _check_ids(name, sequence, vocab_size)
                if not len(sequence):
                    raise InputError(f"{name} has an empty sequence; each needs a token at least")


def token_ids(name: str, given: Any, default: Any, vocab_size: int) -> tuple[int, ...]:
    """Token ids as a tuple: what was given (checked against the vocabulary) or the config's."""
    value = default if given is None else given
    if value is None:
        return ()
    array = np.asarray(value if not isinstance(value, tuple | list) else list(value))
    if array.size == 0:
        return ()
    if array.dtype.kind not in "iu" or array.ndim > 1:
        raise InputError(f"{name} is {value!r}; it must be a token id or a sequence of them")
    ids = tuple(int(token_id) for token_id in array.reshape(-1))
    if given is not None and not all(0 <= token_id < vocab_size for token_id in ids):
        raise InputError(
            f"{name} is {value!r}; token ids lie in [0, vocab_size) = [0, {vocab_size})"
        )
    return ids


def _check_ids(name: str, given: Any, vocab_size: int) -> None:
    """Refuses anything but a sequence of token ids."""
    if isinstance(given, int | np.integer):
        raise InputError(f"{name} is {given!r}; it must be a list of token ids")
    token_ids(name, given, None, vocab_size)


def _need(condition: bool, name: str, value: object, allowed: str) -> None:
    if not condition:
        raise InputError(f"{name} is {value!r}; it must be {allowed}")


def _count(name: str, value: Any, lowest: int) -> None:
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    _need(whole and value >= lowest, name, value, f"a whole number >= {lowest}")


def _is_number(value: Any) -> bool:
    real = isinstance(value, int | float | np.integer | np.floating)
    return real and not isinstance(value, bool) and math.isfinite(value)
