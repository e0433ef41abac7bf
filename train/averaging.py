"""Averaging that begins when training has come to a standstill: NT-ASGD.

Stochastic gradient descent at a constant rate ends up walking around an optimum; the mean of its
steps lies nearer to it. Averaging is of use only from there on, and the validation metric says when
(Merity et al. 2017, section 3.1, algorithm 1).
"""

import math
from collections.abc import Sequence
from pathlib import Path

from train.experiment import Experiment
from train.log import METRICS, read_records
from train.patience import judged_by


def is_triggered(values: Sequence[float], interval: int, *, higher_is_better: bool) -> bool:
    """Whether some evaluation is worse than the best of those more than `interval` before it.

    `values` are those of all evaluations in turn. As published, an equal one is not worse, and the
    first that can trigger it is the one with more than `interval` before it.
    """
    losses = [-value if higher_is_better else value for value in values]
    losses = [loss if math.isfinite(loss) else math.inf for loss in losses]
    return any(losses[t] > min(losses[: t - interval]) for t in range(interval + 1, len(losses)))


def is_due(experiment: Experiment, workdir: Path) -> bool:
    """Whether the evaluations in the run's log have triggered it.

    The log, and nothing that a process remembers: as with patience, an interrupted run does what
    it would have done.
    """
    if not experiment.nt_asgd:
        return False
    metric, higher_is_better = judged_by(experiment)
    records = read_records(workdir / METRICS)
    found = [record.get(metric) for record in records if record.get("kind") == "eval"]
    values = [float(value) if value is not None else math.nan for value in found]
    return is_triggered(values, experiment.nt_asgd, higher_is_better=higher_is_better)
