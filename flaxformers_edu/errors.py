"""What a user did wrong, said in one line."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Bad input: names the culprit and the remedy. The command line prints it and exits with 2."""


def unknown_name(what: str, name: object, allowed: Iterable[str]) -> InputError:
    """The error for a name that is not one of `allowed`, with the nearest valid one.

    >>> str(unknown_name("activation", "geul", ["gelu", "relu"]))
    "unknown activation 'geul'; did you mean 'gelu'? Allowed: gelu, relu"
    """
    allowed = sorted(allowed)
    nearest = difflib.get_close_matches(str(name), allowed, n=1)
    hint = f"did you mean {nearest[0]!r}? " if nearest else ""
    return InputError(f"unknown {what} {name!r}; {hint}Allowed: {', '.join(allowed)}")
