"""Which examples are shown before the one that is asked."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from flaxformers_edu.errors import InputError
from flaxformers_edu.prompting.tasks import Example, Prompted


class Demonstrations:
    """Draws demonstrations for each example from a pool (Brown et al. 2020, section 2.4).

    A draw depends on the seed and on the example's number alone, and fewer shots are the first of
    more: what one example is shown never changes with what others are.
    """

    def __init__(self, task: Prompted, pool: Sequence[Example], *, seed: int) -> None:
        """Raises InputError for an example of the pool that lacks the field of `task.group`."""
        self._task, self._pool, self._seed = task, pool, seed
        self._groups: dict[str, list[int]] = defaultdict(list)
        for index, example in enumerate(pool):
            self._groups[self._group(example)].append(index)

    def draw(self, example: Example, number: int, *, shots: int) -> list[Example]:
        """So many of the pool in random order, never one that equals the example itself.

        Args:
            example: the one that is asked.
            number: its place in its split.
            shots: how many.

        Raises:
            InputError: the pool has not enough.
        """
        if not shots:
            return []
        members = self._groups.get(self._group(example), [])
        drawn: list[Example] = []
        for place in np.random.default_rng([self._seed, number]).permutation(len(members)):
            candidate = self._pool[members[place]]
            if candidate != example:
                drawn.append(candidate)
            if len(drawn) == shots:
                return drawn
        where = f" of {self._task.group} {self._group(example)!r}" if self._task.group else ""
        raise InputError(
            f"{shots} demonstrations cannot be drawn from {len(drawn)}{where}; ask for fewer shots"
        )

    def _group(self, example: Example) -> str:
        field = self._task.group
        if not field:
            return ""
        if field not in example:
            raise InputError(f"an example has no field {field!r} to find its demonstrations by")
        return str(example[field])
