"""The command `list`: what there is to choose from."""

import ast
from pathlib import Path

import flaxformers_edu as ff
from train.commands.arguments import config_files


def listing() -> int:
    """Configs, published sizes, tasks and objectives."""
    print("configs")
    for name, path in sorted(config_files().items()):
        print(f"  {name:<40}{first_line(docstring(path))}")
    print("\npublished sizes")
    for name, config in ff.models.presets().items():
        print(f"  {name:<40}{ff.count_params(config, 'base'):>15,} parameters")
    print("\ntasks\n  " + "\n  ".join(sorted(ff.models.TASKS)))
    print("\nobjectives")
    for name, objective in ff.objectives.OBJECTIVES.items():
        print(f"  {name:<40}{first_line(objective.__doc__)}")
    return 0


def docstring(path: Path) -> str | None:
    """A module's docstring, without running it."""
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def first_line(text: str | None) -> str:
    """Of a docstring."""
    return (text or "").partition("\n")[0]
