"""How the pictures look: colours, sizes, and a font that has Hangul."""

import importlib.util
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # matplotlib takes a second to import: only once something is drawn
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito's palette: told apart with any colour vision, and in grey.
BLUE, VERMILLION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#6b6b6b"

STYLE: dict[str, Any] = {
    "figure.dpi": 100,
    "savefig.dpi": 150,
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.labelsize": 10,
    "axes.labelcolor": "#333333",
    "axes.edgecolor": "#999999",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "xtick.color": "#333333",
    "ytick.color": "#333333",
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
}

HANGUL_FONTS = (
    "Noto Sans CJK KR",
    "Noto Sans KR",
    "NanumGothic",
    "NanumBarunGothic",
    "Malgun Gothic",
    "Apple SD Gothic Neo",
    "AppleGothic",
    "UnDotum",
)


def _has_hangul(path: str | Path) -> bool:
    from matplotlib.ft2font import FT2Font

    try:
        return 0xAC00 in FT2Font(str(path)).get_charmap()
    except (OSError, RuntimeError):
        return False


@cache
def hangul_font() -> Path | None:
    """A font file with Hangul: the system's, else the one that koreanize-matplotlib ships.

    That package is looked up and not imported: on import it changes matplotlib's settings.
    None, with a warning that names the remedy, where there is neither.
    """
    from matplotlib import font_manager

    installed = {font.name: font.fname for font in font_manager.fontManager.ttflist}
    for name in HANGUL_FONTS:
        if name in installed and _has_hangul(installed[name]):
            return Path(installed[name])
    spec = importlib.util.find_spec("koreanize_matplotlib")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        shipped = Path(folder) / "fonts" / "NanumGothic.ttf"
        if shipped.is_file() and _has_hangul(shipped):
            return shipped
    for name, path in sorted(installed.items()):
        # "Last Resort" has a picture of the script's name for every character there is.
        if "Last Resort" not in name and _has_hangul(path):
            return Path(path)
    warnings.warn(
        "no font with Hangul was found: Korean in plots will be empty boxes;"
        " remedy: pip install koreanize-matplotlib",
        stacklevel=2,
    )
    return None


@contextmanager
def style() -> Iterator[None]:
    """Inside of it, matplotlib draws as here; outside, its settings are as they were."""
    import matplotlib
    from matplotlib import font_manager

    families = ["DejaVu Sans"]
    path = hangul_font()
    if path is not None:
        name = font_manager.FontProperties(fname=str(path)).get_name()
        if name not in font_manager.get_font_names():
            font_manager.fontManager.addfont(str(path))
        families.append(name)  # matplotlib looks for each glyph in the first font that has it
    settings: Any = {**STYLE, "font.family": families}
    with matplotlib.rc_context(settings):
        yield


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure; width and height in inches."""
    from matplotlib.figure import Figure  # no pyplot: no window, no state, Agg for PNG

    return Figure(figsize=(width, height), layout="constrained")


def save(figure: "Figure", path: Path) -> Path:
    """Writes the figure, and its folder if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path


def count_axis(axis: Any) -> None:
    """10k rather than 10000."""
    from matplotlib.ticker import EngFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(EngFormatter(sep=""))


def scientific_axis(axes: "Axes") -> None:
    """From 0, the power of ten above the axis rather than at every number."""
    axes.set_ylim(bottom=0)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3), useMathText=True)
