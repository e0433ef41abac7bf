"""python -m train COMMAND ...

Heavy packages are imported by the command that needs them: help must answer at once.
"""

import contextlib
import difflib
import importlib.util
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HELP = """usage: python -m train COMMAND ...

  run CONFIG --workdir DIR [--any.field value ...]
                         train a config; goes on where DIR's newest checkpoint stands
  evaluate DIR [...]     score a run's predictions on a split
  generate DIR [...]     translate lines from a file or standard input
  plan CONFIG --topology v5p:8x8x8 [...]
                         compile for a TPU pod without one: memory, traffic, the bound on speed
  sweep CONFIG [...]     run a ladder of sizes, and fit scaling laws to its losses
  list                   configs, published sizes, tasks, objectives

`python -m train COMMAND --help` documents each option, and
`python -m train run CONFIG --help` each field of an experiment.

examples:
  python -m train run configs/translate_toy.py --workdir runs/toy
  python -m train run configs/translate_toy.py --workdir runs/small --model.num-layers 1 --steps 300
  echo "Where did the teacher buy three books?" | python -m train generate runs/toy --num-beams 5

exit status: 0 done, 2 bad input, 3 loss not finite, 4 another process of the run died,
143 stopped by SIGTERM after saving
"""


def main(arguments: Sequence[str]) -> int:
    """Dispatches to a command; the exit status."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0 if arguments else 2
    command, rest = arguments[0], list(arguments[1:])
    commands = {
        "run": run,
        "evaluate": evaluate,
        "generate": generate,
        "plan": plan,
        "sweep": sweep,
        "list": listing,
    }
    if command not in commands:
        return fail(f"unknown command {command!r}{nearest(command, list(commands))}")
    from flaxformers_edu.errors import InputError

    try:
        return commands[command](rest)
    except InputError as error:
        return fail(str(error))
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        return fail(f"{error.strerror or error}{where}; finished checkpoints are intact")
    except KeyboardInterrupt:  # while there was nothing to save yet
        return 130


def fail(message: str) -> int:
    """One line on standard error, and the status of bad input."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return 2


def nearest(name: str, known: Sequence[str]) -> str:
    """A hint at the nearest valid name."""
    found = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {found[0]!r}?" if found else f"; there are {', '.join(known)}"


def run(arguments: list[str]) -> int:
    """Run CONFIG --workdir DIR [--any.field value ...]."""
    import dataclasses
    from typing import Annotated, Literal

    import tyro

    if not arguments or arguments[0].startswith("-"):
        names = ", ".join(sorted(config_files()))
        print(f"usage: python -m train run CONFIG --workdir DIR [...]\n\nconfigs: {names}")
        return 0 if arguments and arguments[0] in ("-h", "--help") else 2
    from train.launch import Launch, joined

    default = load_config(arguments[0])
    kind = type(default)

    @dataclasses.dataclass(frozen=True)
    class Run:
        workdir: Path
        """Folder of the run: a new one, or one to resume; all hosts must share it."""
        resume: Literal["newest", "previous"]
        """previous: if the newest checkpoint is damaged, set it aside (it is renamed to
        STEP.damaged) and go on from the one before."""
        processes: Annotated[Launch, tyro.conf.arg(name="")]
        experiment: Annotated[kind, tyro.conf.arg(name="")]  # type: ignore[valid-type]

    given = parse(
        Run,
        arguments[1:],
        prog=f"python -m train run {arguments[0]}",
        description=sys.modules["flaxformers_edu_config"].__doc__,
        default=Run(workdir=tyro.MISSING, resume="newest", processes=Launch(), experiment=default),
    )
    from train.loop import run as train

    with joined(given.processes):
        return train(given.experiment, given.workdir, resume=given.resume)


def evaluate(arguments: list[str]) -> int:
    """Evaluate DIR [...]."""
    from train.evaluate import Evaluate
    from train.evaluate import evaluate as command

    workdir, options = folder_and_options("evaluate", arguments, Evaluate)
    return command(workdir, options)


def generate(arguments: list[str]) -> int:
    """Generate DIR [...]."""
    from train.generate import Generate
    from train.generate import generate as command

    workdir, options = folder_and_options("generate", arguments, Generate)
    return command(workdir, options)


def plan(arguments: list[str]) -> int:
    """Plan CONFIG --topology NAME [--search] [--output DIR] [...] [--any.field value ...]."""
    import dataclasses
    from typing import Annotated

    import tyro

    if not arguments or arguments[0].startswith("-"):
        names = ", ".join(sorted(config_files()))
        print(f"usage: python -m train plan CONFIG --topology v5p:8x8x8 [...]\n\nconfigs: {names}")
        return 0 if arguments and arguments[0] in ("-h", "--help") else 2
    from train.plan.command import Options
    from train.plan.command import plan as command

    default = load_config(arguments[0])
    kind = type(default)

    @dataclasses.dataclass(frozen=True)
    class Arguments:
        options: Annotated[Options, tyro.conf.arg(name="")]
        experiment: Annotated[kind, tyro.conf.arg(name="")]  # type: ignore[valid-type]

    given = parse(
        Arguments,
        arguments[1:],
        prog=f"python -m train plan {arguments[0]}",
        description=Options.__doc__,
        default=Arguments(Options(topology=tyro.MISSING), default),
    )
    return command(given.experiment, given.options, ["python", "-m", "train", "plan", *arguments])


def sweep(arguments: list[str]) -> int:
    """Sweep CONFIG [--workdir DIR] [--dry-run] [...] [--any.field value ...]."""
    import dataclasses
    from typing import Annotated

    import tyro

    from flaxformers_edu.errors import InputError

    if not arguments or arguments[0].startswith("-"):
        names = ", ".join(sorted(name for name in config_files() if "scaling/" in name))
        print(f"usage: python -m train sweep CONFIG [--workdir DIR] [...]\n\nladders: {names}")
        return 0 if arguments and arguments[0] in ("-h", "--help") else 2
    default = load_config(arguments[0])
    config = sys.modules["flaxformers_edu_config"]
    if not hasattr(config, "ladder"):
        raise InputError(f"{arguments[0]} has no function ladder(base)")
    from train.scaling.ladder import make_points
    from train.scaling.sweep import Sweep
    from train.scaling.sweep import sweep as command

    kind = type(default)

    @dataclasses.dataclass(frozen=True)
    class Arguments:
        options: Annotated[Sweep, tyro.conf.arg(name="")]
        experiment: Annotated[kind, tyro.conf.arg(name="")]  # type: ignore[valid-type]
        workdir: Path = Path("runs") / default.name
        """Folder of the ladder, with a folder for each point: a new one, or one to go on with."""

    given = parse(
        Arguments,
        arguments[1:],
        prog=f"python -m train sweep {arguments[0]}",
        description=config.__doc__,
        default=Arguments(Sweep(), default),
    )
    points = make_points(config.ladder, default, given.experiment)
    return command(points, given.experiment, given.options, given.workdir)


def listing(arguments: list[str]) -> int:
    """List."""
    import flaxformers_edu as ff

    print("configs")
    for name, path in sorted(config_files().items()):
        first_line = (ast_docstring(path) or "").partition("\n")[0]
        print(f"  {name:<34}{first_line}")
    print("\npublished sizes")
    for name, config in ff.models.presets().items():
        print(f"  {name:<34}{ff.count_params(config, 'base'):>15,} parameters")
    print("\ntasks\n  " + "\n  ".join(sorted(ff.models.TASKS)))
    print("\nobjectives")
    for name, objective in ff.objectives.OBJECTIVES.items():
        print(f"  {name:<34}{(objective.__doc__ or '').partition(chr(10))[0]}")
    return 0


def folder_and_options(command: str, arguments: list[str], kind: Any) -> tuple[Path, Any]:
    """DIR, then the fields of the dataclass `kind` as options."""
    import dataclasses
    from typing import Annotated

    import tyro

    @dataclasses.dataclass(frozen=True)
    class Arguments:
        folder: Annotated[Path, tyro.conf.Positional]
        """The folder of a run."""
        options: Annotated[kind, tyro.conf.arg(name="")]

    given = parse(Arguments, arguments, prog=f"python -m train {command}", description=kind.__doc__)
    return given.folder, given.options


def parse(kind: Any, arguments: list[str], **settings: Any) -> Any:
    """The parser of tyro, with our own errors as they are.

    Raises:
        InputError: a dataclass refused a value; tyro would draw a box around its words.
        SystemExit: help was printed (0), or tyro found and explained an error (2).
    """
    import tyro

    from flaxformers_edu.errors import InputError

    complaints = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaints):
            return tyro.cli(kind, args=arguments, config=(tyro.conf.AvoidSubcommands,), **settings)
    except SystemExit as leaving:
        cause: BaseException | None = leaving
        while cause is not None:
            if isinstance(cause, InputError):
                raise cause from None
            cause = cause.__cause__ or cause.__context__
        sys.stderr.write(complaints.getvalue())
        raise


def config_files() -> dict[str, Path]:
    """The configs of this checkout by path, as a user would type it."""
    folder = Path(__file__).resolve().parent.parent / "configs"
    found = sorted(folder.rglob("[!_]*.py"))
    return {str(Path("configs") / path.relative_to(folder)): path for path in found}


def load_config(name: str) -> Any:
    """The experiment of a config file.

    Raises:
        InputError: no such file, or none that has a function `config`.
    """
    from flaxformers_edu.errors import InputError

    known = config_files()
    path = Path(name)
    if not path.is_file():
        path = known.get(name) or known.get(f"configs/{name}.py") or path
    if not path.is_file():
        raise InputError(f"there is no config {name}{nearest(name, list(known))}")
    spec = importlib.util.spec_from_file_location("flaxformers_edu_config", path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    if not hasattr(module, "config"):
        raise InputError(f"{path} has no function config()")
    return module.config()


def ast_docstring(path: Path) -> str | None:
    """A module's docstring, without running it."""
    import ast

    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


if __name__ == "__main__":
    # The checkout's root first: `train` and `configs` are run from it, wherever it is called from.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if "sweep" in sys.argv[1:2] and not {"--help", "--dry-run"} & set(sys.argv):
        from train.allocator import restart_with_large_pages

        restart_with_large_pages()
    if "run" in sys.argv[1:2] and "--help" not in sys.argv:
        from train.allocator import restart_with_large_pages
        from train.supervise import CHILD, is_wanted, supervise

        if is_wanted(sys.argv[1:], os.environ):
            sys.exit(supervise())
        restart_with_large_pages()
        if CHILD in os.environ:
            # No hooks at exit: jax's would wait for processes that may have died.
            status = main(sys.argv[1:])
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    sys.exit(main(sys.argv[1:]))
