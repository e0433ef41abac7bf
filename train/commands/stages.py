"""The command `stages`: runs of a config that begin from each other, one after the other.

A config with `stages()` gives them by name, {"language": Experiment, "classifier": Experiment}.
Each is a run of its own in DIR/NAME, as `run` would make it with --init of the one before it.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flaxformers_edu.errors import InputError
from train.commands.arguments import config_files, load_config_file, parse
from train.experiment import Experiment
from train.initial import based_on
from train.loop import DONE
from train.loop import run as train
from train.prepare import check_writable


def stages(arguments: Sequence[str]) -> int:
    """The command: what is finished is left alone, what was interrupted goes on.

    Returns:
        0, or the status of the first stage that did not come to its end.

    Raises:
        InputError: the config has no stages, or one of them cannot be.
        SystemExit: help was printed (0), or there is no config (2).
    """
    if not arguments or arguments[0].startswith("-"):
        names = ", ".join(sorted(config_files()))
        print(f"usage: python -m train stages CONFIG --workdir DIR [...]\n\nconfigs: {names}")
        raise SystemExit(0 if arguments and arguments[0] in ("-h", "--help") else 2)
    name, *words = arguments
    config = load_config_file(name)
    if not hasattr(config, "stages"):
        raise InputError(f"{config.__file__} has no function stages()")
    workdir, experiments = parsed(config.stages(), words, name, config.__doc__ or "")
    check_writable(workdir)
    return run_all(experiments, workdir)


def parsed(
    given: Mapping[str, Experiment], words: Sequence[str], name: str, about: str
) -> tuple[Path, dict[str, Experiment]]:
    """The folder, and the stages with what the command line says: --language.steps 100."""
    fields: list[Any] = [("workdir", Path)]
    fields += [
        (stage, type(experiment), dataclasses.field(default=experiment))
        for stage, experiment in given.items()
    ]
    kind = dataclasses.make_dataclass("Stages", fields, frozen=True)
    found = parse(kind, words, prog=f"python -m train stages {name}", description=about)
    return found.workdir, {stage: getattr(found, stage) for stage in given}


def run_all(experiments: Mapping[str, Experiment], workdir: Path) -> int:
    """Trains each from the one before; 0, or the status of the first that did not finish."""
    before = ""
    for stage, experiment in experiments.items():
        folder = workdir / stage
        if before:
            experiment = based_on(dataclasses.replace(experiment, init=before), folder)
        print(f"stage {stage}: {folder}", flush=True)
        status = train(experiment, folder)
        if status != DONE:
            return status
        before = str(folder)
    return DONE
