"""Data sets of the Hugging Face hub, through the optional package `datasets`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flaxformers_edu.errors import InputError
from train.sources.benchmarks import known_columns
from train.sources.columns import Picked, by_name, names_in, parse_columns
from train.sources.splits import given

PREFIX = "hf:"


@dataclass(frozen=True)
class HuggingFaceDataset:
    """A data set by the name it has on the hub, or a folder of its files."""

    name: str = ""
    """hf:nyu-mll/glue, say; the prefix may be left out."""
    configuration: str = ""
    """Which of its configurations: sst2, say."""
    columns: tuple[str, ...] = ()
    """Fields as NAME=COLUMN; empty: those known for GLUE, SuperGLUE and SQuAD, else all columns."""
    train: str = "train"
    """Name of its training split; slices such as train[:90%] too."""
    validation: str = "validation"
    """Name of its validation split; empty where there is none."""
    test: str = "test"
    """Name of its test split; empty where there is none, or where its labels are hidden."""

    def load(self, split: str) -> Sequence[dict[str, Any]]:
        """The examples, with the fields of `columns`; classes by their names."""
        wanted = given(getattr(self, split, ""), split, split)
        name = given(self.name, "name", split).removeprefix(PREFIX)
        data = load_hub_split(name, self.configuration, wanted)
        benchmark = "/".join(filter(None, (name.rpartition("/")[2], self.configuration)))
        columns = parse_columns(self.columns or known_columns(benchmark))
        if not columns:
            return data
        classes = {column: class_names(feature) for column, feature in data.features.items()}
        for column in columns.values():
            for used in names_in(column):
                if used.partition("/")[0] not in data.column_names:
                    raise InputError(
                        f"{PREFIX}{name} has no column {used!r}; columns: "
                        f"{', '.join(data.column_names)}"
                    )
        return Picked(Named(data, classes), columns)


class Named(Sequence):
    """Examples whose classes are called by their names."""

    def __init__(
        self, examples: Sequence[dict[str, Any]], classes: dict[str, list[str] | None]
    ) -> None:
        """classes: column -> names of the classes it numbers, None where it numbers none."""
        self.examples = examples
        self.classes = classes

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.examples)

    def __getitem__(self, index: int) -> dict[str, Any]:  # type: ignore[override]
        """Example `index`."""
        example = self.examples[index]
        return {name: by_name(value, self.classes[name]) for name, value in example.items()}


def class_names(feature: Any) -> list[str] | None:
    """The names of a feature of classes, or of lists of classes; None for others."""
    return getattr(getattr(feature, "feature", feature), "names", None)


def load_hub_split(name: str, configuration: str, split: str) -> Any:
    """A split as `datasets` loads it.

    Raises:
        InputError: the package is not installed, or it cannot load the split.
    """
    try:
        import datasets
    except ImportError as error:
        raise InputError(
            f"{PREFIX}{name} needs the package datasets: pip install datasets"
        ) from error
    try:
        return datasets.load_dataset(name, configuration or None, split=split)
    except Exception as error:  # network, names, formats: the package raises what it likes
        lines = str(error).strip().splitlines() or [""]
        raise InputError(
            f"{PREFIX}{name} cannot be loaded ({type(error).__name__}): {lines[0]}"
        ) from error
