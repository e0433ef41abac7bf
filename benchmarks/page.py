"""A page of the docs whose tables are written by benchmarks, each between two comments."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- {} -->\n", "<!-- end of {} -->\n"


def fill(page: Path, name: str, inside: str) -> None:
    """Puts `inside` between `<!-- name -->` and `<!-- end of name -->`.

    Raises:
        ValueError: the page lacks one of the two.
    """
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN.format(name))
    _, end, after = rest.partition(END.format(name))
    if not (begin and end):
        raise ValueError(f"{page} has no place for {name!r}")
    page.write_text(f"{before}{begin}\n{inside.strip()}\n\n{end}{after}", encoding="utf-8")
