"""Prompting: zero-, one- and few-shot evaluation of language models (GPT-2, GPT-3)."""

from flaxformers_edu.prompting.evaluate import Evaluation, evaluate_prompts
from flaxformers_edu.prompting.generation import Writing, write_after
from flaxformers_edu.prompting.scoring import Likelihood, Scorer
from flaxformers_edu.prompting.task_files import TaskFile, load_task, task_of
from flaxformers_edu.prompting.tasks import Choice, Cloze, Example, Generation, RunningText, Task
from flaxformers_edu.prompting.templates import Template
from flaxformers_edu.prompting.tokens import Query, Reader
from flaxformers_edu.prompting.windows import TextLikelihood, text_likelihoods, windows

__all__ = [
    "Choice",
    "Cloze",
    "Evaluation",
    "Example",
    "Generation",
    "Likelihood",
    "Query",
    "Reader",
    "RunningText",
    "Scorer",
    "Task",
    "TaskFile",
    "Template",
    "TextLikelihood",
    "Writing",
    "evaluate_prompts",
    "load_task",
    "task_of",
    "text_likelihoods",
    "windows",
    "write_after",
]
