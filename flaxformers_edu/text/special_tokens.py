"""Which tokens of a Hugging Face tokeniser have which role."""

from collections.abc import Callable, Mapping
from typing import Any

from flaxformers_edu.errors import InputError
from flaxformers_edu.text.tokenizer import CONFIG_FILE

ROLES = {
    "pad": (("pad_token",), ("[PAD]", "<pad>")),
    "bos": (("bos_token", "cls_token"), ("[CLS]", "<s>", "<bos>", "<|endoftext|>")),
    "eos": (("eos_token", "sep_token"), ("[SEP]", "</s>", "<eos>", "<|endoftext|>")),
    "unk": (("unk_token",), ("[UNK]", "<unk>", "<|endoftext|>")),
    "cls": (("cls_token",), ("[CLS]", "<s>")),
    "sep": (("sep_token",), ("[SEP]", "</s>")),
    "mask": (("mask_token",), ("[MASK]", "<mask>")),
}
"""Keys of tokenizer_config.json, and the names that are usual where there is no such file."""


def ids_of_roles(
    config: Mapping[str, Any], id_of: Callable[[str], int | None], origin: str
) -> dict[str, int | None]:
    """The id of each role; None: the tokeniser has no such token.

    config: what tokenizer_config.json says; id_of: the id of a token, None where it is not in the
    vocabulary; origin: the tokeniser's name in errors.

    Raises:
        InputError: the configuration names a token that is not in the vocabulary.
    """
    return {role: _id_of_role(role, config, id_of, origin) for role in ROLES}


def _id_of_role(
    role: str, config: Mapping[str, Any], id_of: Callable[[str], int | None], origin: str
) -> int | None:
    keys, usual = ROLES[role]
    for key in keys:
        token = config.get(key)
        if isinstance(token, Mapping):
            token = token.get("content")
        if token:
            index = id_of(token)
            if index is None:
                raise InputError(f"{key}={token!r} of {CONFIG_FILE} is not in {origin}")
            return index
    if any(key in config for keys, _ in ROLES.values() for key in keys):
        return None  # the configuration names its special tokens, and has none of this role
    return next((index for index in map(id_of, usual) if index is not None), None)
