"""Looking inside: values sown under stable names, and only when somebody asks."""

from typing import Any

import flax.linen as nn

COLLECTION = "intermediates"


def wanted(module: nn.Module) -> bool:
    """Whether the caller made the collection mutable: otherwise nothing is computed for it."""
    return module.is_mutable_collection(COLLECTION) and not module.is_initializing()


def sow(module: nn.Module, name: str, value: Any) -> None:
    """Leaves `value` at `intermediates/<path of the module>/<name>`, replacing an earlier one.

    It may be an array or a tree of them.
    """
    if wanted(module):
        module.sow(COLLECTION, name, value, reduce_fn=lambda _, new: new, init_fn=lambda: None)
