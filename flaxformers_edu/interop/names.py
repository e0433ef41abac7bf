"""One name a weight, whatever a file calls it: with a prefix or without, old or new, tied."""

import re
from collections.abc import Mapping

import numpy as np

from flaxformers_edu.errors import InputError
from flaxformers_edu.interop.tables import Family

BUFFERS = re.compile(
    r"(^|\.)(position_ids|embeddings\.token_type_ids|attn\.bias|attn\.masked_bias)$"
)
"""What old versions saved along with the weights, and what anybody can compute again."""

OLD_NAMES = ((re.compile(r"\.gamma$"), ".weight"), (re.compile(r"\.beta$"), ".bias"))
"""TensorFlow's names of the scale and bias of layer norms."""


def plain_names(
    tensors: Mapping[str, np.ndarray], family: Family, task: str
) -> dict[str, np.ndarray]:
    """The weights without the body's prefix, buffers and copies of tied weights.

    Raises:
        InputError: two names for one weight that disagree, where the task needs them to agree.
    """
    found: dict[str, np.ndarray] = {}
    for name, tensor in tensors.items():
        if BUFFERS.search(name):
            continue
        plain = name.removeprefix(f"{family.prefix}.")
        plain = plain if is_of_body(plain, family) else name
        for old, new in OLD_NAMES:
            plain = old.sub(new, plain)
        if plain in found:
            raise InputError(f"{plain} is in the weights twice, as {name} and under another name")
        found[plain] = tensor
    for kept, other in family.ties:
        if other not in found:
            continue
        copy = found.pop(other)
        own = found.setdefault(kept, copy)
        if task in family.tied_tasks and not np.array_equal(own, copy):
            raise InputError(
                f"{kept} and {other} differ: this model was trained with them apart, and here they "
                "are one parameter; only tasks without this output can be loaded"
            )
    return found


def saved_name(name: str, family: Family, task: str) -> str:
    """The name that Hugging Face's own class saves a weight under."""
    with_prefix = task != "base" and is_of_body(name, family)
    return f"{family.prefix}.{name}" if with_prefix else name


def is_of_body(name: str, family: Family) -> bool:
    """Whether a weight, by its name without the prefix, is one of the body."""
    return name.split(".")[0] in {theirs.split(".")[0] for _, theirs, _ in family.body}
