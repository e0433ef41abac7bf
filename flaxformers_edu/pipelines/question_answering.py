"""The span of a context that answers a question."""

from collections.abc import Sequence
from typing import Any

from flaxformers_edu.objectives import QuestionAnswering
from flaxformers_edu.pipelines.base import Pipeline


class Answers(Pipeline):
    """{"question", "context"}: {answer, start, end, candidates}, over a context's windows."""

    model_task = "question_answering"

    def answers(self, inputs: Sequence[Any], *, unanswerable: bool = False) -> list[Any]:
        """One answer a question; with `unanswerable` it may be empty."""
        return self.by_objective(QuestionAnswering(unanswerable=unanswerable), inputs)
