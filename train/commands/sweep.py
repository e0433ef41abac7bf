"""The command `sweep`: the ladder of a config."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import tyro

from flaxformers_edu.errors import InputError
from train.commands.arguments import Given
from train.scaling.ladder import make_points
from train.scaling.sweep import Sweep
from train.scaling.sweep import sweep as run_ladder


@dataclasses.dataclass(frozen=True)
class Options:
    """Run the points of a ladder, and fit laws to their losses."""

    sweep: Annotated[Sweep, tyro.conf.arg(name="")]
    workdir: Path
    """Folder of the ladder, with a folder for each point: a new one, or one to go on with."""

    @classmethod
    def of(cls, experiment: Any) -> "Options":
        """The defaults, with a folder called after the experiment."""
        return cls(Sweep(), Path("runs") / experiment.name)


def sweep(given: Given) -> int:
    """The command; its exit status.

    Raises:
        InputError: the config has no ladder.
    """
    if not hasattr(given.config, "ladder"):
        raise InputError(f"{given.config.__file__} has no function ladder(base)")
    points = make_points(given.config.ladder, given.default, given.experiment)
    options: Options = given.options
    return run_ladder(points, given.experiment, options.sweep, options.workdir)
