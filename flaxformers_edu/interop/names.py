"""One name a weight, whatever a file calls it: with a prefix or without, old or new, tied."""

import re
from collections.abc import Mapping

import numpy as np

from flaxformers_edu.errors import InputError
from flaxformers_edu.interop.family import Family

BUFFERS = re.compile(
    r"(^|\.)(position_ids|embeddings\.token_type_ids|attn(\.attention)?\.(masked_)?bias"
    r"|rotary_emb\.inv_freq)$"
)
"""What old versions saved along with the weights, and what anybody can compute again."""

OLD_NAMES = ((re.compile(r"\.gamma$"), ".weight"), (re.compile(r"\.beta$"), ".bias"))
"""TensorFlow's names of the scale and bias of layer norms."""


def plain_names(
    tensors: Mapping[str, np.ndarray], family: Family, task: str, *, tied: bool = True
) -> dict[str, np.ndarray]:
    """The weights without the body's prefix, buffers and copies of tied weights.

    Where they are not `tied`, the output layer is a weight of its own.

    Raises:
        InputError: two names for one weight that disagree, where the task needs them to agree.
    """
    found: dict[str, np.ndarray] = {}
    for name, tensor in tensors.items():
        if BUFFERS.search(name):
            continue
        plain = next((name.removeprefix(p) for p in family.prefixes if name.startswith(p)), name)
        plain = plain if is_of_body(plain, family) else name
        for old, new in OLD_NAMES:
            plain = old.sub(new, plain)
        if plain in found:
            raise InputError(f"{plain} is in the weights twice, as {name} and under another name")
        found[plain] = tensor
    for kept, other in family.ties if tied else ():
        if other not in found:
            continue
        copy = found.pop(other)
        own = found.setdefault(kept, copy)
        if task in family.tied_tasks and not np.array_equal(own, copy):
            way_out = (
                "give tie_embeddings=False"
                if "causal_lm" in family.classes
                else "only tasks without this output can be loaded"
            )
            raise InputError(
                f"{kept} and {other} differ: this model was trained with them apart, and here they "
                f"are one parameter; {way_out}"
            )
    return found


def saved_name(name: str, family: Family, task: str, *, tied: bool = True) -> str:
    """The name that Hugging Face's own class saves a weight under."""
    if tied and task in family.saves_other:
        name = dict(family.ties).get(name, name)
    with_prefix = task != "base" and is_of_body(name, family)
    prefix = family.other_prefixes.get(task, family.prefix)
    return f"{prefix}.{name}" if with_prefix else name


def is_of_body(name: str, family: Family) -> bool:
    """Whether a weight, by its name without the prefix, is one of the body."""
    return name.split(".")[0] in {theirs.split(".")[0] for _, theirs, _ in family.body}
