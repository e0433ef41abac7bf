"""Fine-tuning a language model on the four formats of GPT-1 (Radford et al. 2018, section 3.3).

Texts stand among a start, a delimiter and an extract token, which the tokeniser adds
(`text/task_tokens.py`), and the task is learnt from the state of the last of them. Classification
and entailment have one text or pair, similarity has a pair in both orders, whose states are added,
and multiple choice a pair for each answer.

Dims: B rows, C texts of a row, D hidden size.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from jaxtyping import Array, Float

from flaxformers_edu.errors import InputError
from flaxformers_edu.objectives.auxiliary_lm import Classify, WithLanguageModel, check_weight
from flaxformers_edu.objectives.classification import Classification, Regression, texts_of
from flaxformers_edu.objectives.multiple_choice import MultipleChoice
from flaxformers_edu.objectives.rows import check_fits, check_unpacked, encode_texts, label_of
from flaxformers_edu.objectives.several_texts import side_by_side
from flaxformers_edu.text.batching import IGNORED_LABEL
from flaxformers_edu.text.task_tokens import check_task_tokens
from flaxformers_edu.text.tokenizer import Tokenizer


@dataclasses.dataclass(frozen=True)
class GPT1Classification(WithLanguageModel, Classification):
    """A label for `start text extract`, or `start premise delimiter hypothesis extract`."""

    symmetric: bool = False
    """Whether pairs have no order (similarity): both are read, and their states added."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_weight(self.lm_weight)

    @property
    def num_texts(self) -> int:
        """The orders that are read."""
        return 2 if self.symmetric else 1

    def encode(
        self, example: Mapping[str, Any], tokenizer: Tokenizer, *, max_length: int
    ) -> dict[str, list[int]]:
        """The text or the pair, in one order or both, the longer one cut first; and its label.

        Raises:
            InputError: a field is missing, the label is not in the set, or the tokeniser lacks the
                three tokens or room for them.
        """
        orders = orders_of(texts_of(example), symmetric=self.symmetric)
        row = side_by_side(laid_out(tokenizer, orders, max_length))
        return {**row, "labels": [label_of(example, self.labels)]}

    def collate(self, config: Any, *, packed: bool = False) -> Callable[..., dict]:
        """See `collate_with`. Raises InputError for another number of labels, and packing."""
        check_fits(config, self.num_labels, packed)
        return self.collate_with(config, IGNORED_LABEL)


@dataclasses.dataclass(frozen=True)
class GPT1Regression(WithLanguageModel, Regression):
    """A number for how alike two texts are, which are read in both orders: STS-B."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_weight(self.lm_weight)

    @property
    def num_texts(self) -> int:
        """Both orders."""
        return 2

    def encode(
        self, example: Mapping[str, Any], tokenizer: Tokenizer, *, max_length: int
    ) -> dict[str, list[int] | list[float]]:
        """The pair in both orders, the longer text cut first; and its number.

        Raises:
            InputError: a field is missing, the label is no number, or the tokeniser lacks the three
                tokens or room for them.
        """
        orders = orders_of(texts_of(example), symmetric=True)
        row = side_by_side(laid_out(tokenizer, orders, max_length))
        return {**row, "labels": [self.number_of(example)]}

    def collate(self, config: Any, *, packed: bool = False) -> Callable[..., dict]:
        """See `collate_with`. Raises InputError for more than one output, and packing."""
        check_fits(config, self.num_labels, packed)
        return self.collate_with(config, math.nan)


@dataclasses.dataclass(frozen=True)
class GPT1MultipleChoice(WithLanguageModel, MultipleChoice):
    """Each choice as `start question delimiter choice extract`, and a softmax over their scores.

    Where a question is about a text, that stands before it: the column question=text+question.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        check_weight(self.lm_weight)

    @property
    def num_texts(self) -> int:
        """The choices."""
        return len(self.labels)

    def head(self, classify: Classify, x_BCD: Float[Array, "B C D"]) -> Float[Array, "B C"]:
        """A score for each choice; what is dropped is the same for all of them, as published."""
        return jax.vmap(classify, in_axes=1, out_axes=1)(x_BCD)[..., 0]

    def encode(
        self, example: Mapping[str, Any], tokenizer: Tokenizer, *, max_length: int
    ) -> dict[str, list[int]]:
        """See `MultipleChoice`. Raises InputError where the tokeniser lacks the three tokens."""
        check_task_tokens(tokenizer)
        return super().encode(example, tokenizer, max_length=max_length)

    def collate(self, config: Any, *, packed: bool = False) -> Callable[..., dict]:
        """See `collate_with`. Raises InputError for packing."""
        check_unpacked(packed)
        return self.collate_with(config, IGNORED_LABEL)


def orders_of(texts: Sequence[str], *, symmetric: bool) -> list[Sequence[str]]:
    """The texts as they are, or in both orders.

    Raises:
        InputError: there is one text and no order.
    """
    if not symmetric:
        return [texts]
    if len(texts) != 2:
        raise InputError("there is no field 'text_pair', and similarity is of two texts")
    return [texts, texts[::-1]]


def laid_out(
    tokenizer: Tokenizer, texts: Sequence[Sequence[str]], max_length: int
) -> list[dict[str, list[int]]]:
    """Each text, or pair, among the three tokens.

    Raises:
        InputError: the tokeniser lacks them, or `max_length` has no room.
    """
    check_task_tokens(tokenizer)
    return [encode_texts(tokenizer, *parts, max_length=max_length) for parts in texts]
