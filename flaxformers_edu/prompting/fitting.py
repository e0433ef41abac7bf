"""As many demonstrations as the model has room for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flaxformers_edu.errors import InputError
from flaxformers_edu.prompting.tasks import Example, Prompted
from flaxformers_edu.prompting.tokens import Query, Reader


@dataclass(frozen=True)
class Prompt:
    """What a model is given for an example."""

    query: Query
    demonstrations: int
    """How many stand before the example."""


def fit(
    task: Prompted,
    reader: Reader,
    example: Example,
    demonstrations: Sequence[Example],
    *,
    continuations: Sequence[str],
    length: Callable[[Query], int],
    room: int,
) -> Prompt:
    """The prompt of an example with the most demonstrations, the first of those given, that fit.

    Args:
        task: how an example becomes text.
        reader: how text becomes tokens.
        example: the one that is asked.
        demonstrations: those that may be shown.
        continuations: texts that may follow the prompt.
        length: of a query, what must not exceed `room`.
        room: in tokens.

    Raises:
        InputError: it does not even fit without any.
    """

    def tried(number: int) -> Query:
        return reader.query(task.compose(example, demonstrations[:number]), continuations)

    fits, too_many = -1, len(demonstrations) + 1
    queries: dict[int, Query] = {}
    number = len(demonstrations)  # mostly all of them fit
    while fits + 1 < too_many:
        queries[number] = tried(number)
        if length(queries[number]) <= room:
            fits = number
        else:
            too_many = number
        number = (fits + too_many) // 2
    if fits < 0:
        raise InputError(
            f"its prompt has {length(queries[0])} tokens without any demonstration, and the model "
            f"has room for {max(room, 0)}; shorten it"
        )
    return Prompt(queries[fits], fits)
