"""From the words of a command line to dataclasses; heavy packages are imported when needed."""

import contextlib
import dataclasses
import difflib
import importlib.util
import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

CONFIG_MODULE = "flaxformers_edu_config"


@dataclasses.dataclass(frozen=True)
class Given:
    """What a command that takes a config was given."""

    options: Any
    """The command's own."""
    experiment: Any
    """The config's, with the fields that the command line overrides."""
    default: Any
    """The config's as it is."""
    config: ModuleType
    """The config file."""


def config_and_options(
    command: str, arguments: Sequence[str], make_options: Callable[[Any], Any], *, usage: str
) -> Given:
    """CONFIG, then options of the command and any field of the config's experiment.

    With --init or --teacher, sizes and tokeniser are those of the folder, before anything is
    overridden.

    Args:
        command: its name.
        arguments: the words behind it.
        make_options: experiment -> the command's options with their defaults, a dataclass.
        usage: of its own options.

    Raises:
        InputError: whatever does not fit.
        SystemExit: help was printed (0), or there is no config (2).
    """
    import tyro

    if not arguments or arguments[0].startswith("-"):
        names = ", ".join(sorted(config_files()))
        print(f"usage: python -m train {command} CONFIG {usage} [...]\n\nconfigs: {names}")
        raise SystemExit(0 if arguments and arguments[0] in ("-h", "--help") else 2)
    name, *words = arguments
    config = load_config_file(name)
    default = config.config()
    begun = begun_from_folders(default, words)
    options = make_options(default)
    experiment_kind, options_kind = type(default), type(options)

    @dataclasses.dataclass(frozen=True)
    class Arguments:
        options: Annotated[options_kind, tyro.conf.arg(name="")]  # type: ignore[valid-type]
        experiment: Annotated[experiment_kind, tyro.conf.arg(name="")]  # type: ignore[valid-type]

    given = parse(
        Arguments,
        words,
        prog=f"python -m train {command} {name}",
        description=f"{options_kind.__doc__ or ''}\n\n{config.__doc__ or ''}".strip(),
        default=Arguments(options, begun),
    )
    return Given(given.options, given.experiment, default, config)


def begun_from_folders(experiment: Any, words: Sequence[str]) -> Any:
    """The experiment as the folders of --init and --teacher want it, looked at ahead of parsing."""
    said = {name: value_of(f"--{name}", words) for name in ("init", "teacher")}
    given = {name: value for name, value in said.items() if value is not None}
    experiment = dataclasses.replace(experiment, **given)
    if not (experiment.init or experiment.teacher):
        return experiment
    from train.initial import based_on

    workdir = value_of("--workdir", words)
    return based_on(experiment, None if workdir is None else Path(workdir))


def value_of(option: str, words: Sequence[str]) -> str | None:
    """The last value given to an option, as `--option value` or `--option=value`."""
    found = None
    for place, word in enumerate(words):
        if word == option and place + 1 < len(words):
            found = words[place + 1]
        elif word.startswith(f"{option}="):
            found = word.partition("=")[2]
    return found


def folder_and_options(command: str, arguments: Sequence[str], kind: Any) -> tuple[Path, Any]:
    """DIR, then the fields of the dataclass `kind` as options."""
    import tyro

    @dataclasses.dataclass(frozen=True)
    class Arguments:
        dir: Annotated[Path, tyro.conf.Positional]
        """The folder of a run."""
        options: Annotated[kind, tyro.conf.arg(name="")]

    given = parse(Arguments, arguments, prog=f"python -m train {command}", description=kind.__doc__)
    return given.dir, given.options


def parse(kind: Any, arguments: Sequence[str], **settings: Any) -> Any:
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
    folder = Path(__file__).resolve().parents[2] / "configs"
    found = sorted(folder.rglob("[!_]*.py"))
    return {str(Path("configs") / path.relative_to(folder)): path for path in found}


def load_config(name: str) -> Any:
    """The experiment of a config file.

    Raises:
        InputError: no such file, or none that has a function `config`.
    """
    return load_config_file(name).config()


def load_config_file(name: str) -> ModuleType:
    """A config file, run: a module with a function `config`.

    Raises:
        InputError: no such file, or none that has the function.
    """
    from flaxformers_edu.errors import InputError

    known = config_files()
    path = Path(name)
    if not path.is_file():
        path = known.get(name) or known.get(f"configs/{name}.py") or path
    if not path.is_file():
        raise InputError(f"there is no config {name}{nearest(name, list(known))}")
    spec = importlib.util.spec_from_file_location(CONFIG_MODULE, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    if not hasattr(module, "config"):
        raise InputError(f"{path} has no function config()")
    return module


def nearest(name: str, known: Sequence[str]) -> str:
    """A hint at the nearest valid name."""
    found = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {found[0]!r}?" if found else f"; there are {', '.join(known)}"
