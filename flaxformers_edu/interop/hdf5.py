"""The folders of ELMo: options.json and weights.hdf5, read and written by h5py.

Names of weights are paths in the file, with dots: RNN_0.RNN.MultiRNNCell.Cell0.LSTMCell.W_0.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from flaxformers_edu.errors import InputError

OPTIONS, WEIGHTS = "options.json", "weights.hdf5"
ALONE = ("char_embed", "table")
"""The one weight that lies in no group, and what it is called here as if it were in one."""


def options_in(folder: Path) -> Path | None:
    """options.json or, as published, a single NAME_options.json; None where there is neither."""
    return _found(folder, OPTIONS)


def is_elmo(folder: Path) -> bool:
    """Whether a folder is one of ELMo's."""
    return options_in(folder) is not None


def read_hdf5(folder: Path) -> dict[str, np.ndarray]:
    """Every weight in weights.hdf5 or, as published, in a single NAME_weights.hdf5.

    Raises:
        InputError: there is no such file, it is damaged, or h5py is not installed.
    """
    path = _found(folder, WEIGHTS)
    if path is None:
        raise InputError(f"no weights in {folder}: expected {WEIGHTS}, or one NAME_{WEIGHTS}")
    h5py = _h5py()
    tensors: dict[str, np.ndarray] = {}

    def keep(name: str, found: Any) -> None:
        if isinstance(found, h5py.Dataset):
            tensors[".".join(ALONE) if name == ALONE[0] else name.replace("/", ".")] = found[()]

    try:
        with h5py.File(path, "r") as file:
            file.visititems(keep)
    except OSError as error:
        raise InputError(f"{path} is truncated or no hdf5 file: {error}") from error
    return tensors


def write_hdf5(folder: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Writes weights.hdf5: the same weights give the same bytes.

    Raises:
        InputError: h5py is not installed.
    """
    with _h5py().File(folder / WEIGHTS, "w") as file:
        for name in sorted(tensors):
            plain = name.removeprefix(".")
            path = ALONE[0] if plain == ".".join(ALONE) else plain.replace(".", "/")
            file.create_dataset(path, data=tensors[name])


def _found(folder: Path, name: str) -> Path | None:
    """The file of this name, or the only one whose name ends with it."""
    if (folder / name).is_file():
        return folder / name
    others = sorted(folder.glob(f"*_{name}"))
    if len(others) > 1:
        raise InputError(
            f"{folder} has {len(others)} files *_{name}: keep one, or rename it to {name}"
        )
    return others[0] if others else None


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise InputError(
            "ELMo's folders need h5py, which is not installed: pip install 'flaxformers-edu[elmo]'"
        ) from error
    return h5py
