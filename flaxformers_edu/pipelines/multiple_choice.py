"""Which of several texts goes with a question."""

from collections.abc import Sequence
from typing import Any

from flaxformers_edu.errors import InputError
from flaxformers_edu.objectives import MultipleChoice
from flaxformers_edu.pipelines.base import Pipeline


class Choices(Pipeline):
    """{"question", "choices"}: {label, choice, probabilities}; the label is the number, from 0."""

    model_task = "multiple_choice"

    def answers(self, inputs: Sequence[Any]) -> list[Any]:
        """One choice a question; questions may have different numbers of choices."""
        numbers = [len(example.get("choices", ())) for example in inputs]
        found: list[Any] = [None] * len(inputs)
        for number in sorted(set(numbers)):
            if number < 2:
                raise InputError(f"a question has {number} choices; give at least 2")
            objective = MultipleChoice(labels=tuple(map(str, range(number))))
            chosen = [i for i, n in enumerate(numbers) if n == number]
            outcomes = self.by_objective(objective, [inputs[i] for i in chosen])
            for index, outcome in zip(chosen, outcomes, strict=True):
                found[index] = outcome
        return found
