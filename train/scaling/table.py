"""A ladder in words: its points before they run, and what was found in them."""

from collections.abc import Mapping, Sequence

from train.scaling.analysis import Analysis
from train.scaling.bootstrap import HeldOut
from train.scaling.ladder import Point, cost_of


def plan_table(points: Sequence[Point]) -> str:
    """One line a point, with what it will cost."""
    header = ("point", "N", "N total", "steps", "tokens D", "FLOPs", "6ND", "budget")
    rows = []
    total = 0.0
    for point in points:
        cost = cost_of(point.experiment)
        total += cost.flops
        sizes = (f"{cost.params:,}", f"{cost.total_params:,}", f"{point.experiment.steps:,}")
        flops = (f"{cost.flops:.3g}", f"{cost.six_nd:.3g}")
        budget = f"{point.budget:.3g}" if point.budget else ""
        rows.append((point.name, *sizes, f"{cost.tokens:,}", *flops, budget))
    summary = f"{len(points)} points, {total:.3g} FLOPs in all; N leaves embeddings out"
    return f"{table(header, rows)}\n\n{summary}"


def findings_table(analysis: Analysis) -> str:
    """The laws with their bands, and the errors of extrapolation."""
    rows = []
    for finding in analysis.findings:
        shown = ", ".join(f"{name} {value}" for name, value in finding.values.items())
        rows.append((finding.title, str(finding.num_points), shown or finding.missing))
    parts = [table(("law", "points", "value [95 % of resamples]"), rows)]
    parts += [held_out_line(law, held) for law, held in analysis.held_out.items()]
    return "\n\n".join(parts)


def held_out_line(law: str, held: HeldOut) -> str:
    """How far a law was from points that it had not seen."""
    return (
        f"held out, {law}: {len(held.names)} points of up to {held.factor:.1f} times the compute "
        f"that it has seen; mean error {held.mean_error:.2%}, "
        f"from {held.errors_P.min():+.2%} to {held.errors_P.max():+.2%}"
    )


def loss_table(rows: Mapping[int, Mapping[float, float]], name: str) -> str:
    """Final losses by width and learning rate; the best of each width in bold."""
    rates = sorted({rate for losses in rows.values() for rate in losses})
    lines = []
    for width, losses in sorted(rows.items()):
        best = min(losses.values())
        cells = (f"{losses[r]:.3f}" if r in losses else "" for r in rates)
        bold = (f"**{cell}**" if cell == f"{best:.3f}" else cell for cell in cells)
        lines.append((f"{name}, width {width}", *bold))
    return table(("loss at learning rate", *(f"{rate:.2g}" for rate in rates)), lines)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown, its columns aligned: the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        first, *others = cells
        padded = [first.ljust(widths[0])]
        padded += [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        return "| " + " | ".join(padded) + " |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(line(cells) for cells in (header, rule, *rows))
