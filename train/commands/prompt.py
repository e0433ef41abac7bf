"""The command `prompt`: zero-, one- and few-shot scores of a language model on a task."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flaxformers_edu.errors import InputError
from flaxformers_edu.prompting import Evaluation, evaluate_prompts, load_task
from train.commands.language import language_model
from train.log import write_atomically


@dataclasses.dataclass(frozen=True)
class Prompt:
    """Scores a language model on a task, with demonstrations in its prompt or without any.

    DIR is a run's folder, or one in Hugging Face's format.
    """

    task: Path
    """File of the task: .json or .py, see docs/prompting.md."""
    shots: tuple[int, ...] = (0,)
    """Numbers of demonstrations, one evaluation each: --shots 0 1 5."""
    split: str = "test"
    """train, validation or test: the examples that are asked."""
    demonstrations: str = "train"
    """The split that demonstrations are drawn from; it may be the same."""
    limit: int | None = None
    """Only the first so many examples."""
    seed: int = 0
    """Of the draw of demonstrations."""
    batch_size: int = 8
    """Prompts that are read at once."""
    checkpoint: str = "best"
    """best, last, or a step; of a run."""
    output: Path | None = None
    """File for the scores and what came of each example, as JSON."""

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise InputError(f"--limit is {self.limit}; it must be at least 1")
        if not self.shots:
            raise InputError("--shots is empty; give numbers of demonstrations, such as 0 1 5")


def prompt(folder: Path, options: Prompt) -> int:
    """The command: prints a table, a row for each number of shots."""
    file = load_task(options.task)
    examples = file.examples(options.split)[: options.limit]
    train = file.examples(options.demonstrations) if any(options.shots) else None
    pretrained = language_model(folder, options.checkpoint)
    found = evaluate_prompts(
        pretrained,
        file.task,
        examples,
        train=train,
        shots=options.shots,
        seed=options.seed,
        batch_size=options.batch_size,
    )
    print(f"{file.task.name}: {len(examples):,} examples of {options.split}\n")
    print(table(found))
    for one in found:
        if one.cut:
            print(
                f"\n{one.cut:,} prompts had room for fewer than {one.shots} demonstrations: "
                f"{one.shown:.1f} on average"
            )
    if options.output is not None:
        content = {
            "folder": str(folder),
            "task": file.task.name,
            "split": options.split,
            "seed": options.seed,
            "evaluations": [dataclasses.asdict(one) for one in found],
        }
        write_atomically(options.output, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return 0


def table(found: Sequence[Evaluation]) -> str:
    """Shots and metrics in columns."""
    names = list(found[0].metrics)
    rows: list[Sequence[Any]] = [("shots", *names)]
    rows += [(one.shots, *(f"{one.metrics[name]:.4g}" for name in names)) for one in found]
    widths = [max(len(str(row[i])) for row in rows) for i in range(len(names) + 1)]
    return "\n".join(
        "  ".join(str(cell).rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
