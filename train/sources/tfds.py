"""Any dataset of TensorFlow Datasets, by its name, read without TensorFlow.

`as_data_source` reads array_record files in pure Python. A dataset prepared in another format
(tfrecord) must be prepared once more, for which the error gives the command.
"""

import contextlib
import difflib
import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flaxformers_edu.errors import InputError
from train.sources.columns import by_name, names_in, picked, value_at

FILE_FORMAT = "array_record"
CATEGORIES = ("text", "translate", "summarization", "question_answering", "text_simplification")


class TfdsSplit(Sequence):
    """A split of a dataset: features renamed, bytes decoded to str, classes by their names."""

    def __init__(
        self,
        data: Sequence[Any],
        columns: Mapping[str, str],
        name: str,
        classes: Mapping[str, Sequence[str]],
    ) -> None:
        """columns: field of the examples -> feature, in the terms of `train.sources.columns`.
        classes: feature -> names of the classes that it numbers.
        """
        self.data = data
        self.columns = dict(columns)
        self.name = name
        self.classes = dict(classes)

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.data)

    def __getitem__(self, index: int) -> dict[str, Any]:  # type: ignore[override]
        """Example `index`. Raises InputError for text that is not UTF-8."""
        index = range(len(self))[index]
        example = self.data[index]

        def value_of(feature: str) -> Any:
            try:
                value = _plain(value_at(example, feature))
            except UnicodeDecodeError as error:
                raise InputError(
                    f"example {index} of {self.name} is not valid UTF-8 in {feature!r}"
                ) from error
            return by_name(value, self.classes.get(feature))

        return {field: picked(column, value_of) for field, column in self.columns.items()}


def _plain(value: Any) -> Any:
    """Bytes as text, arrays as lists, numbers as Python's."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, np.ndarray):
        return [_plain(inner) for inner in value]
    return value.item() if isinstance(value, np.generic) else value


def tfds_split(
    name: str,
    split: str,
    columns: Mapping[str, str],
    *,
    data_dir: str | None = None,
    download: bool = False,
) -> TfdsSplit:
    """A split of the dataset `name` ("wmt14_translate/de-en", "lm1b:1.1.0").

    download: prepare the dataset first where it is not on disk, which needs a network.
    Raises InputError for an unknown dataset, split or feature, a dataset that is not prepared,
    and one that cannot be downloaded.
    """
    # Imported here: it takes a while and most runs do not need it.
    import tensorflow_datasets as tfds

    # TFDS finds older datasets only once the module of their category is imported.
    for category in CATEGORIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(f"tensorflow_datasets.{category}")
    if data_dir is not None:
        data_dir = str(Path(data_dir).expanduser())
    try:
        builder = tfds.builder(name, data_dir=data_dir, file_format=FILE_FORMAT)
    except tfds.core.registered.DatasetNotFoundError as error:
        known = tfds.list_builders(with_community_datasets=False)
        near = difflib.get_close_matches(name.split("/")[0].split(":")[0], known, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"TFDS knows {len(known)} datasets"
        raise InputError(f"unknown TFDS dataset {name!r}; {hint}") from error
    except ModuleNotFoundError as error:
        raise InputError(
            f"TFDS cannot build {name!r} here: it needs the package {error.name!r}; prepare the "
            f"dataset elsewhere as {FILE_FORMAT} and name its folder by data_dir"
        ) from error
    except Exception as error:  # whatever a builder raises for a configuration it lacks
        raise InputError(f"TFDS cannot build {name!r}: {_first_line(error)}") from error

    prepare = f"tfds build {name} --file_format={FILE_FORMAT}"
    if not builder.is_prepared():
        if not download:
            raise InputError(
                f"TFDS dataset {name!r} is not prepared in {builder.data_path}; "
                f"run `{prepare}`, or set download"
            )
        try:
            builder.download_and_prepare(file_format=FILE_FORMAT)
        except Exception as error:  # network, disk, checksums, a missing package: all end here
            raise InputError(
                f"TFDS dataset {name!r} could not be downloaded and prepared: {_first_line(error)}"
            ) from error
    if split.partition("[")[0] not in builder.info.splits:  # train[:99%] is a part of train
        near = difflib.get_close_matches(split, list(builder.info.splits), n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise InputError(
            f"TFDS dataset {name!r} has no split {split!r}; {hint}"
            f"splits: {', '.join(builder.info.splits)}"
        )
    features = {
        feature: _feature(builder.info.features, feature, name)
        for column in columns.values()
        for feature in names_in(column)
    }
    try:
        data = builder.as_data_source(split=split)
    except NotImplementedError as error:
        raise InputError(
            f"TFDS dataset {name!r} in {builder.data_path} is not in a format with random access; "
            f"run `{prepare}`"
        ) from error
    classes = {feature: found.names for feature, found in features.items() if _has_names(found)}
    return TfdsSplit(data, columns, name, classes)


def _has_names(feature: Any) -> bool:
    return getattr(feature, "names", None) is not None  # a ClassLabel, or a sequence of them


def _feature(features: Any, feature: str, name: str) -> Any:
    for part in feature.split("/"):
        known = list(features.keys()) if hasattr(features, "keys") else []
        if part not in known:
            near = difflib.get_close_matches(part, known, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise InputError(
                f"TFDS dataset {name!r} has no feature {feature!r}; {hint}"
                f"features: {', '.join(known) or 'none'}"
            )
        features = features[part]
    return features


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
