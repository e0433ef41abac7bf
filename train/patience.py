"""Early stopping: a run ends where evaluations have not found a better metric for some time."""

import math
from pathlib import Path
from typing import Any

from train.experiment import Experiment
from train.log import METRICS, read_records


def judged_by(experiment: Experiment) -> tuple[str, bool]:
    """The metric that evaluations while training find and judge by, and whether higher is better.

    Where no text is generated for an objective that is judged by its texts, it is the loss.
    """
    objective = experiment.objective
    if objective.generates and not experiment.eval_examples:
        return "loss", False
    return objective.metric, objective.higher_is_better


def evaluations_since_best(values: list[float | None], *, higher_is_better: bool) -> int:
    """How many values came after the first of the best ones; what is not finite is never best."""
    sign = 1.0 if higher_is_better else -1.0
    goodness = [
        sign * value if value is not None and math.isfinite(value) else -math.inf
        for value in values
    ]
    return len(values) - 1 - goodness.index(max(goodness)) if values else 0


def is_out(experiment: Experiment, workdir: Path) -> bool:
    """Whether the evaluations in the run's log have used its patience up.

    The log, and nothing that a process remembers: so a run stops at the same step however often it
    was interrupted.
    """
    if not experiment.patience:
        return False
    metric, higher_is_better = judged_by(experiment)
    records: list[dict[str, Any]] = read_records(workdir / METRICS)
    values = [record.get(metric) for record in records if record.get("kind") == "eval"]
    since = evaluations_since_best(values, higher_is_better=higher_is_better)
    return since >= experiment.patience
