"""`evaluate_prompts`: zero-, one- and few-shot scores of a language model on a task."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from flaxformers_edu.errors import InputError
from flaxformers_edu.interop import Pretrained
from flaxformers_edu.prompting.demonstrations import Demonstrations
from flaxformers_edu.prompting.fitting import Prompt, fit
from flaxformers_edu.prompting.generation import Writing, write_after
from flaxformers_edu.prompting.judging import compared, text_scores
from flaxformers_edu.prompting.scoring import Likelihood, Scorer
from flaxformers_edu.prompting.tasks import (
    Choice,
    Cloze,
    Example,
    Generation,
    Prompted,
    RunningText,
    Task,
)
from flaxformers_edu.prompting.tokens import Query, Reader
from flaxformers_edu.prompting.windows import TextLikelihood, text_likelihoods


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What came of a task with a number of demonstrations."""

    shots: int
    """Demonstrations that were asked for."""
    metrics: dict[str, float]
    """By name; accuracies from 0 to 1, texts' scores from 0 to 100, as they are published."""
    outcomes: list[dict[str, Any]]
    """One an example, fit for JSON."""
    shown: float = 0.0
    """Demonstrations before an example, on average."""
    cut: int = 0
    """Examples that had room for fewer than were asked for."""


def evaluate_prompts(
    pretrained: Pretrained,
    task: Task,
    examples: Sequence[Example],
    *,
    train: Sequence[Example] | None = None,
    shots: Sequence[int] = (0,),
    seed: int = 0,
    batch_size: int = 8,
) -> list[Evaluation]:
    """Prompts a model with the examples of a task, and scores its answers.

    Args:
        pretrained: a decoder with its tokeniser, see `from_pretrained(folder, "causal_lm")`.
        task: how examples become prompts, and answers scores.
        examples: what is asked.
        train: what demonstrations are drawn from; None: from `examples`, never the one asked.
        shots: numbers of demonstrations, one evaluation each; running text knows none.
        seed: of the draw.
        batch_size: prompts that are read at once.

    Raises:
        InputError: no examples, shots below 0 or more than there are demonstrations, a field of a
            template that an example lacks, a candidate without tokens, a prompt that is too long.
    """
    if not examples:
        raise InputError(f"task {task.name} has no examples")
    if isinstance(task, RunningText):
        if set(shots) - {0}:
            raise InputError(f"task {task.name} is running text: it has no shots but 0")
        return [_running_text(pretrained, task, examples, batch_size)]
    for number in shots:
        if number < 0:
            raise InputError(f"shots is {number}; it must be 0 or more")
    pool = examples if train is None else train
    drawn = Demonstrations(task, pool, seed=seed)
    evaluation = _Prompting(Reader.of(pretrained), Scorer(pretrained, batch_size), drawn)
    return [evaluation.run(task, examples, number) for number in shots]


@dataclasses.dataclass(frozen=True)
class _Prompting:
    """What the tasks with answers share."""

    reader: Reader
    scorer: Scorer
    demonstrations: Demonstrations

    def run(self, task: Prompted, examples: Sequence[Example], shots: int) -> Evaluation:
        """One evaluation."""
        kinds: dict[type, Callable] = {
            Choice: self._choice,
            Cloze: self._cloze,
            Generation: self._generation,
        }
        metrics, outcomes, prompts = kinds[type(task)](task, examples, shots)
        shown = [prompt.demonstrations for prompt in prompts]
        return Evaluation(
            shots,
            metrics,
            outcomes,
            shown=sum(shown) / len(shown),
            cut=sum(number < shots for number in shown),
        )

    def _prompts(
        self,
        task: Prompted,
        examples: Sequence[Example],
        shots: int,
        continuations: Callable[[Example], Sequence[str]],
        *,
        length: Callable[[Query], int] = lambda query: query.length,
        reserved: int = 0,
    ) -> list[Prompt]:
        """The prompt of each example; what is wrong with one is said with its number."""
        found = []
        for number, example in enumerate(examples):
            try:
                shown = self.demonstrations.draw(example, number, shots=shots)
                texts = [task.between + text for text in _not_blank(continuations(example))]
                found.append(
                    fit(
                        task,
                        self.reader,
                        example,
                        shown,
                        continuations=texts,
                        length=length,
                        room=self.scorer.max_length - reserved,
                    )
                )
            except InputError as error:
                raise InputError(f"task {task.name}, example {number}: {error}") from error
        return found

    def _choice(self, task: Choice, examples: Sequence[Example], shots: int) -> Any:
        prompts = self._prompts(task, examples, shots, task.candidates_of)
        right = [task.right_of(example) for example in examples]
        likelihoods = self.scorer([prompt.query for prompt in prompts])
        alone = self._alone(task, examples)
        outcomes = []
        for example, found, without in zip(examples, likelihoods, alone, strict=True):
            outcomes.append(compared(task.candidates_of(example), found, without))
        metrics = {}
        for score in outcomes[0]["chosen"]:
            chosen = [outcome["chosen"][score] for outcome in outcomes]
            hits = sum(one == truth for one, truth in zip(chosen, right, strict=True))
            metrics[f"accuracy_{score}"] = hits / len(examples)
        for outcome, truth in zip(outcomes, right, strict=True):
            outcome["right"] = truth
        return {"accuracy": metrics[f"accuracy_{task.score}"], **metrics}, outcomes, prompts

    def _alone(self, task: Choice, examples: Sequence[Example]) -> list[list[Likelihood] | None]:
        """Likelihoods of the candidates behind `task.unconditional`, if that is wanted."""
        if not task.unconditional:
            return [None] * len(examples)
        texts = [[task.between + one for one in task.candidates_of(e)] for e in examples]
        return [*self.scorer([self.reader.query(task.unconditional, some) for some in texts])]

    def _cloze(self, task: Cloze, examples: Sequence[Example], shots: int) -> Any:
        prompts = self._prompts(task, examples, shots, lambda example: [task.answer_of(example)])
        found = [one for [one] in self.scorer([prompt.query for prompt in prompts])]
        outcomes: list[dict[str, Any]] = [
            {"log_likelihood": one.log_likelihood, "tokens": one.tokens, "right": one.greedy}
            for one in found
        ]
        nats = -math.fsum(one.log_likelihood for one in found)
        metrics = {
            "accuracy": sum(one.greedy for one in found) / len(found),
            "perplexity": math.exp(min(nats / sum(one.tokens for one in found), 700.0)),
        }
        return metrics, outcomes, prompts

    def _generation(self, task: Generation, examples: Sequence[Example], shots: int) -> Any:
        # Of what follows only the room is known: the context is fitted with an answer's beginning.
        prompts = self._prompts(
            task,
            examples,
            shots,
            lambda example: [task.answer_of(example)],
            length=lambda query: len(query.context),
            reserved=task.max_new_tokens - 1,
        )
        texts = write_after(
            self.scorer.pretrained,
            [prompt.query.context for prompt in prompts],
            Writing(task.max_new_tokens, task.stop, task.num_beams, task.length_penalty),
            batch_size=self.scorer.batch_size,
        )
        said = [text.strip() for text in texts]
        wanted = [task.answer_of(example).strip() for example in examples]
        outcomes = [{"text": one, "answer": other} for one, other in zip(said, wanted, strict=True)]
        return text_scores(task.metrics, said, wanted), outcomes, prompts


def _not_blank(texts: Sequence[str]) -> Iterator[str]:
    for text in texts:
        if not text.strip():
            raise InputError(f"the answer or candidate {text!r} has no tokens")
        yield text


def _running_text(
    pretrained: Pretrained, task: RunningText, examples: Sequence[Example], batch_size: int
) -> Evaluation:
    reader, scorer = Reader.of(pretrained), Scorer(pretrained, batch_size)
    found = text_likelihoods(
        reader, scorer, [task.text_of(example) for example in examples], stride=task.stride
    )
    total = sum(found, TextLikelihood())
    if not total.tokens:
        raise InputError(f"the texts of task {task.name} have no tokens")
    outcomes = [dataclasses.asdict(one) for one in found]
    return Evaluation(0, total.measures, outcomes)
