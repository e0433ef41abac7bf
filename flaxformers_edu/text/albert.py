"""Text as ALBERT's script prepares it: plain quotes and spaces, no accents, lower case."""

import unicodedata
from collections.abc import Mapping
from typing import Any

ALBERT_SPECIAL = ("[CLS]", "[SEP]", "[MASK]")
QUOTES = ("``", "''")


def prepare_albert(text: str, config: Mapping[str, Any]) -> tuple[str, list[int]]:
    """The prepared text, and of each of its characters the one of `text` that it came from.

    config: `do_lower_case` (true unless it says otherwise) and `keep_accents` (false), as in
    tokenizer_config.json.
    """
    lower_case = config.get("do_lower_case", True)
    keep_accents = config.get("keep_accents", False)
    prepared: list[str] = []
    origins: list[int] = []
    start = 0
    while start < len(text):
        end = start + (2 if text.startswith(QUOTES, start) else 1)
        new = '"' if end > start + 1 else " " if text[start].isspace() else text[start]
        if not keep_accents:
            apart = unicodedata.normalize("NFKD", new)
            new = "".join(c for c in apart if not unicodedata.category(c).startswith("M"))
        if lower_case:
            new = new.lower()
        prepared.append(new)
        origins.extend([start] * len(new))
        start = end
    return "".join(prepared), origins
