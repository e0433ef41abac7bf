"""python -m train COMMAND ...

Heavy packages are imported by the command that needs them: help must answer at once.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from train.commands.arguments import config_and_options, folder_and_options, nearest

HELP = """usage: python -m train COMMAND ...

  run CONFIG --workdir DIR [--any.field value ...]
                         train a config; goes on where DIR's newest checkpoint stands
                         --init FOLDER begins from a run, or from a Hugging Face folder
  repeat CONFIG --workdir DIR --seeds 3 [--any.field value ...]
                         the same with several seeds: mean and deviation of the scores
  stages CONFIG --workdir DIR [--STAGE.any.field value ...]
                         train the stages of a config, each from the one before, and resume
  evaluate DIR [...]     score a run's predictions on a split
  predict DIR --input FILE [...]
                         label the examples of a file, as jsonl
  generate DIR [...]     translate lines; go on from --prompt "a text"; or, with
                         --fill "a [MASK] text", fill in masks
  prompt DIR --task FILE --shots 0 1 5 [...]
                         score a language model on a task, with demonstrations or without
  export DIR FOLDER [...]
                         write a run's model as a Hugging Face folder with a model card
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
        "repeat": repeat,
        "stages": stages,
        "evaluate": evaluate,
        "predict": predict,
        "generate": generate,
        "prompt": prompt,
        "export": export,
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


def run(arguments: list[str]) -> int:
    """Run CONFIG --workdir DIR [--any.field value ...]."""
    from train.commands import run as command

    given = config_and_options("run", arguments, lambda _: command.Run(), usage="--workdir DIR")
    return command.run(given.experiment, given.options)


def repeat(arguments: list[str]) -> int:
    """Repeat CONFIG --workdir DIR [--seeds N] [--any.field value ...]."""
    from train.commands import run as command

    usage = "--workdir DIR --seeds 3"
    given = config_and_options("repeat", arguments, lambda _: command.Repeat(), usage=usage)
    return command.repeat(given.experiment, given.options)


def stages(arguments: list[str]) -> int:
    """Stages CONFIG --workdir DIR [--STAGE.any.field value ...]."""
    from train.commands import stages as command

    return command.stages(arguments)


def evaluate(arguments: list[str]) -> int:
    """Evaluate DIR [...]."""
    from train.commands import evaluate as command

    return command.evaluate(*folder_and_options("evaluate", arguments, command.Evaluate))


def predict(arguments: list[str]) -> int:
    """Predict DIR --input FILE [...]."""
    from train.commands import predict as command

    return command.predict(*folder_and_options("predict", arguments, command.Predict))


def generate(arguments: list[str]) -> int:
    """Generate DIR [...]."""
    from train.commands import generate as command

    return command.generate(*folder_and_options("generate", arguments, command.Generate))


def prompt(arguments: list[str]) -> int:
    """Prompt DIR --task FILE --shots 0 1 5 [...]."""
    from train.commands import prompt as command

    return command.prompt(*folder_and_options("prompt", arguments, command.Prompt))


def export(arguments: list[str]) -> int:
    """Export DIR FOLDER [...]."""
    from train.commands import export as command

    return command.export(*folder_and_options("export", arguments, command.Export))


def plan(arguments: list[str]) -> int:
    """Plan CONFIG --topology NAME [--search] [--output DIR] [...] [--any.field value ...]."""
    import tyro

    from train.plan import command

    usage = "--topology v5p:8x8x8"
    given = config_and_options(
        "plan", arguments, lambda _: command.Options(topology=tyro.MISSING), usage=usage
    )
    words = ["python", "-m", "train", "plan", *arguments]
    return command.plan(given.experiment, given.options, words)


def sweep(arguments: list[str]) -> int:
    """Sweep CONFIG [--workdir DIR] [--dry-run] [...] [--any.field value ...]."""
    from train.commands import sweep as command

    given = config_and_options("sweep", arguments, command.Options.of, usage="--workdir DIR")
    return command.sweep(given)


def listing(_: list[str]) -> int:
    """List."""
    from train.commands.listing import listing as command

    return command()


if __name__ == "__main__":
    # The checkout's root first: `train` and `configs` are run from it, wherever it is called from.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if {"sweep", "repeat", "stages"} & set(sys.argv[1:2]) and not {"--help", "--dry-run"} & set(
        sys.argv
    ):
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
