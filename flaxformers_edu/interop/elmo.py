"""What ELMo's folders call things: weights in the names of the released models, and options.json.

The released models have the biLM alone, and it may have its output layer (`softmax`). What a task
adds is written under our own names beside it.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np

from flaxformers_edu.errors import InputError
from flaxformers_edu.interop.convention import Convention, Translation
from flaxformers_edu.interop.family import Family, Row, Rows, within
from flaxformers_edu.interop.forms import FLAT, SAME, Form, Kind, Shape
from flaxformers_edu.interop.hdf5 import ALONE
from flaxformers_edu.layers.recurrent import GATES, TENSORFLOW_LSTM_GATES, reorder_gates
from flaxformers_edu.models.elmo import TASKS, ElmoConfig, TaskModel
from flaxformers_edu.text.characters import MAX_CHARACTERS, NUM_CHARACTERS

MOST = 32
"""Convolutions and highway layers that the tables name."""


@dataclasses.dataclass(frozen=True)
class GateForm(Form):
    """TensorFlow's order of an LSTM's gates; kernels of inputs and of states above each other."""

    def their_shape(self, shape: Shape) -> Shape:
        """[rows, 4, H] -> [parts · rows, 4H], [4, H] -> [4H]."""
        *rows, gates, units = shape
        return (*(self.part[1] * n for n in rows), gates * units)

    def to_ours(self, theirs: np.ndarray, shape: Shape) -> np.ndarray:
        """Our gates of our rows."""
        index, parts = self.part
        if len(shape) == 3:
            rows = len(theirs) // parts
            theirs = theirs[index * rows : (index + 1) * rows]
        return np.asarray(_reorder(theirs.reshape(shape), TENSORFLOW_LSTM_GATES, GATES["lstm"]))

    def to_theirs(self, leaves: Sequence[np.ndarray]) -> np.ndarray:
        """Their tensor of the leaves, the inputs' first."""
        theirs = [_reorder(leaf, GATES["lstm"], TENSORFLOW_LSTM_GATES) for leaf in leaves]
        joined = np.concatenate([leaf.reshape(*leaf.shape[:-2], -1) for leaf in theirs])
        return np.ascontiguousarray(joined)


def _reorder(array: np.ndarray, have: Sequence[str], want: Sequence[str]) -> np.ndarray:
    return np.asarray(reorder_gates(array, array.ndim - 2, have, want))


@dataclasses.dataclass(frozen=True)
class CharacterForm(Form):
    """Filters with an axis of height before them; a table without the mask's row of zeros."""

    what: Literal["filters", "table"] = "filters"

    def their_shape(self, shape: Shape) -> Shape:
        """[W, E, F] -> [1, W, E, F], [262, E] -> [261, E]."""
        return (1, *shape) if self.what == "filters" else (shape[0] - 1, *shape[1:])

    def to_ours(self, theirs: np.ndarray, shape: Shape) -> np.ndarray:
        """Without the axis, or with the row."""
        if self.what == "filters":
            return theirs[0]
        return np.concatenate([np.zeros_like(theirs[:1]), theirs])

    def to_theirs(self, leaves: Sequence[np.ndarray]) -> np.ndarray:
        """With the axis, or without the row."""
        return np.ascontiguousarray(leaves[0][None] if self.what == "filters" else leaves[0][1:])


def _highway(index: int) -> Rows:
    ours, theirs = f"token_embedder/highway_{index}", f"CNN_high_{index}"
    return (
        (ours, theirs, (("carry_bias", "b_carry", FLAT),)),
        (f"{ours}/carry", theirs, (("kernel", "W_carry", SAME),)),
        (
            f"{ours}/transform",
            theirs,
            (("kernel", "W_transform", SAME), ("bias", "b_transform", FLAT)),
        ),
    )


def _convolution(index: int) -> Row:
    filters = ("kernel", f"W_cnn_{index}", CharacterForm("same", what="filters"))
    kind: Kind = (filters, ("bias", f"b_cnn_{index}", FLAT))
    return (f"token_embedder/convolution_{index}", "CNN", kind)


_LSTM: Rows = (
    (
        "input",
        "LSTMCell",
        (("kernel", "W_0", GateForm("same", part=(0, 2))), ("bias", "B", GateForm("same"))),
    ),
    ("recurrent", "LSTMCell", (("kernel", "W_0", GateForm("same", part=(1, 2))),)),
    ("projection", "LSTMCell", (("kernel", "W_P_0", SAME),)),
)
_KERNEL: Kind = (("kernel", "kernel", SAME),)
_KERNEL_AND_BIAS: Kind = (*_KERNEL, ("bias", "bias", SAME))


def _ours(name: str, kind: Kind) -> Row:
    """A module under its own name."""
    return (name, name.replace("/", "."), kind)


_TASK: Rows = (
    _ours("mix", (("weights", "weights", SAME), ("gamma", "factor", FLAT))),
    _ours("own_words", (("embedding", "embedding", SAME),)),
    *(_ours(f"own_words/convolution_{i}", _KERNEL_AND_BIAS) for i in range(MOST)),
    _ours("own_words/projection", _KERNEL_AND_BIAS),
    *(
        _ours(f"task_encoder/layers/*/{direction}/{part}", kind)
        for direction in ("forward", "backward")
        for part, kind in (("input", _KERNEL_AND_BIAS), ("recurrent", _KERNEL))
    ),
    _ours("classifier", _KERNEL_AND_BIAS),
)

ELMO = Family(
    name="elmo",
    prefix="",
    body=(
        (
            "token_embedder",
            ALONE[0],
            (("embedding", ALONE[1], CharacterForm("same", what="table")),),
        ),
        *map(_convolution, range(MOST)),
        *(row for index in range(MOST) for row in _highway(index)),
        (
            "token_embedder/projection",
            "CNN_proj",
            (("kernel", "W_proj", SAME), ("bias", "b_proj", FLAT)),
        ),
        *within("forward_lm/layers/*", "RNN_0.RNN.MultiRNNCell.Cell*", _LSTM),
        *within("backward_lm/layers/*", "RNN_1.RNN.MultiRNNCell.Cell*", _LSTM),
    ),
    heads={
        "bidirectional_lm": (
            ("output", "softmax", (("embedding", "W", SAME), ("bias", "b", SAME))),
        ),
        "token_classification": _TASK,
        "sequence_classification": _TASK,
    },
    classes={task: "Elmo" for task in TASKS},
)


def read_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Our fields of an options.json.

    Raises:
        InputError: a field is missing, of another kind, or is not computed here.
    """
    lstm, characters = _part(options, "lstm"), _part(options, "char_cnn")
    for name, known in (
        ("n_characters", (NUM_CHARACTERS, NUM_CHARACTERS - 1)),
        ("max_characters_per_token", (MAX_CHARACTERS,)),
    ):
        if characters.get(name, known[0]) not in known:
            raise InputError(
                f"{name} of options.json is {characters[name]!r}; only {known[0]} is read: bytes "
                "of UTF-8 and the released models' marks"
            )
    whole = partial(_number, kinds=int)
    fields: dict[str, Any] = {
        "vocab_size": whole(options, "n_tokens_vocab", ElmoConfig.vocab_size),
        "character_size": whole(_part(characters, "embedding"), "dim"),
        "filters": _filters(characters.get("filters")),
        "num_highway": whole(characters, "n_highway", 0),
        "activation": characters.get("activation", "relu"),
        "projection_size": whole(lstm, "projection_dim"),
        "hidden_size": whole(lstm, "dim"),
        "num_layers": whole(lstm, "n_layers"),
        "residual": bool(lstm.get("use_skip_connections", False)),
        "cell_clip": _bound(lstm, "cell_clip"),
        "projection_clip": _bound(lstm, "proj_clip"),
        "dropout": float(_number(options, "dropout", ElmoConfig.dropout, kinds=(int, float))),
    }
    if "task_model" in options:
        head = dict(_part(options, "task_model"))
        head["filters"] = _filters(head.get("filters", ()))
        try:
            fields["head"] = TaskModel(**head)
        except TypeError as error:
            raise InputError(f"task_model of options.json cannot be read: {error}") from error
    return fields


def options_of(config: ElmoConfig, task: str) -> dict[str, Any]:
    """options.json of a config: what the released models say, and what they have no word for."""
    options: dict[str, Any] = {
        "lstm": {
            "use_skip_connections": config.residual,
            "projection_dim": config.projection_size,
            "cell_clip": config.cell_clip,
            "proj_clip": config.projection_clip,
            "dim": config.hidden_size,
            "n_layers": config.num_layers,
        },
        "char_cnn": {
            "activation": config.activation,
            "filters": [list(pair) for pair in config.filters],
            "n_highway": config.num_highway,
            "embedding": {"dim": config.character_size},
            "n_characters": NUM_CHARACTERS,
            "max_characters_per_token": MAX_CHARACTERS,
        },
        "dropout": config.dropout,
        "n_tokens_vocab": config.vocab_size,
    }
    if task in ("token_classification", "sequence_classification"):
        options["task_model"] = dataclasses.asdict(config.head)
        options["num_labels"] = config.num_labels
    return options


CONVENTION = Convention(
    ELMO,
    ElmoConfig,
    (("pad_token_id", "pad_token_id", 0), ("eos_token_id", "eos_token_id", 1)),
    translations=(
        Translation(
            ("filters", "hidden_size", "projection_size"),
            ("char_cnn", "lstm"),
            read_options,
            lambda config: options_of(config, "base")["char_cnn"],
        ),
    ),
)


def _part(options: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = options.get(name)
    if not isinstance(part, Mapping):
        raise InputError(f"options.json has no {name!r}, or it is no object: it is not of an ELMo")
    return part


def _number(options: Mapping[str, Any], name: str, default: Any = ..., *, kinds: Any = int) -> Any:
    value = options.get(name, default)
    if value is ... or isinstance(value, bool) or not isinstance(value, kinds):
        found = "is missing from" if value is ... else f"{value!r} is no number of"
        raise InputError(f"{name} {found} options.json")
    return value


def _bound(options: Mapping[str, Any], name: str) -> float | None:
    """A bound of an LSTM; None, or 0 as TensorFlow has it, is none."""
    return float(_number(options, name, 0, kinds=(int, float, type(None))) or 0) or None


def _filters(pairs: Any) -> tuple[tuple[int, int], ...]:
    try:
        return tuple((int(width), int(number)) for width, number in pairs)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"filters of options.json are {pairs!r}; they must be [width, number] of each"
        ) from error
