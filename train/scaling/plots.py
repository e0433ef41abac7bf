"""The pictures of a ladder: loss against size, data and compute; IsoFLOP profiles; residuals."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from train.report.style import BLUE, GREEN, GREY, VERMILLION, new_figure, save, style
from train.scaling.analysis import Analysis, Points, exponents_of
from train.scaling.measured import column
from train.scaling.optima import optima_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_all(folder: Path, analysis: Analysis) -> list[Path]:
    """Every picture that the ladder has points for."""
    files = [
        laws(folder / "scaling_laws.png", analysis),
        residuals(folder / "scaling_residuals.png", analysis),
    ]
    if analysis.profiles:
        files.append(isoflop(folder / "scaling_isoflop.png", analysis))
    return files


def shades(number: int) -> list[Any]:
    """Colours from light to dark, for what has an order."""
    from matplotlib import colormaps

    return [colormaps["viridis_r"](x) for x in np.linspace(0.12, 0.95, number)]


def laws(path: Path, analysis: Analysis) -> Path:
    """Final losses by parameters and by tokens; whole curves and their frontier by compute."""
    points = analysis.points
    with style():
        figure = new_figure(13.5, 4.2)
        by_size, by_tokens, by_flops = figure.subplots(1, 3, sharey=True)
        budgets = sorted({point.budget for point in points if point.budget})
        _lines(by_size, points, "budget", "total_params", [f"{c:.2g} FLOPs" for c in budgets])
        by_size.set(title="Loss by size", xlabel="parameters", ylabel="validation loss, nats")
        sizes = sorted({point.total_params for point in points})
        _lines(by_tokens, points, "total_params", "tokens", [f"{n:,}" for n in sizes])
        by_tokens.set(title="Loss by data", xlabel="training tokens")
        by_tokens.legend(title="parameters", ncols=2, fontsize=8, title_fontsize=8)
        for point in points:
            color = shades(len(sizes))[sizes.index(point.total_params)]
            curve = point.as_curve()
            by_flops.plot(curve.flops_K, curve.loss_K, color=color, linewidth=0.9, alpha=0.8)
        if analysis.frontier is not None:
            law, flops_C = analysis.frontier.loss_law, analysis.frontier.flops_C
            label = f"frontier: C^{law.exponent:.3f}"
            by_flops.plot(flops_C, law(flops_C), "--", color=VERMILLION, label=label)
            by_flops.legend()
        by_flops.set(title="Loss by compute", xlabel="training FLOPs")
        for axes in (by_size, by_tokens, by_flops):
            _log_log(axes)
        return save(figure, path)


def isoflop(path: Path, analysis: Analysis) -> Path:
    """Profiles with their parabolas, and the best size by compute in all three approaches."""
    with style():
        figure = new_figure(10.5, 4.2)
        profile_axes, optima_axes = figure.subplots(1, 2)
        colors = shades(len(analysis.profiles))
        for profile, color in zip(analysis.profiles, colors, strict=True):
            profile_axes.plot(profile.params_P, profile.loss_P, "o", color=color, markersize=4)
            x = np.geomspace(profile.params_P.min(), profile.params_P.max(), 100)
            label = f"{profile.flops:.2g} FLOPs"
            parabola = np.polyval(profile.coefficients, np.log(x))
            profile_axes.plot(x, parabola, color=color, linewidth=1.2, label=label)
            profile_axes.plot(profile.params, profile.loss, "*", color=VERMILLION, markersize=10)
        profile_axes.set_xscale("log")
        profile_axes.set(
            title="IsoFLOP profiles", xlabel="parameters", ylabel="validation loss, nats"
        )
        profile_axes.legend()
        _optima(optima_axes, analysis)
        return save(figure, path)


def _optima(axes: "Axes", analysis: Analysis) -> None:
    flops = column(analysis.points, "flops")
    x = np.geomspace(flops.min(), flops.max(), 50)
    if analysis.frontier is not None:
        law = analysis.frontier.params_law
        label = f"1, envelope: C^{law.exponent:.2f}"
        axes.plot(x, law(x), color=BLUE, label=label)
        axes.plot(
            analysis.frontier.flops_C, analysis.frontier.params_C, ".", color=BLUE, markersize=3
        )
    if len(analysis.profiles) > 1:
        optima = optima_of(analysis.profiles)
        label = f"2, IsoFLOP: C^{exponents_of(optima)['a']:.2f}"
        axes.plot(x, optima.params_law(x), color=VERMILLION, label=label)
        axes.plot(optima.flops_C, optima.params_C, "*", color=VERMILLION, markersize=10)
    label = f"3, L(N, D): C^{analysis.chinchilla.exponents[0]:.2f}"
    axes.plot(x, analysis.chinchilla.optimum(x)[0], color=GREEN, label=label)
    axes.set(title="Best size by compute", xlabel="training FLOPs", ylabel="parameters")
    axes.legend()
    _log_log(axes)


def residuals(path: Path, analysis: Analysis) -> Path:
    """How far both laws of (N, D) are from each point; those held out are in colour."""
    points = analysis.points
    flops, loss = column(points, "flops"), column(points, "loss")
    tokens = column(points, "tokens")
    fitted = {
        "Kaplan 1.5": analysis.kaplan(column(points, "params"), tokens),
        "Chinchilla 3": analysis.chinchilla(column(points, "total_params"), tokens),
    }
    by_name = {point.name: point.flops for point in points}
    with style():
        figure = new_figure(9.5, 3.6)
        panels: Any = figure.subplots(1, 2, sharey=True)
        for axes, (law, predicted) in zip(panels, fitted.items(), strict=True):
            axes.axhline(0, color=GREY, linewidth=0.8)
            errors = 100 * (predicted / loss - 1)
            axes.plot(flops, errors, "o", color=BLUE, markersize=4, label="fitted to all points")
            if (held := analysis.held_out.get(law)) is not None:
                where = [by_name[name] for name in held.names]
                label = "predicted, held out"
                axes.plot(where, 100 * held.errors_P, "x", color=VERMILLION, label=label)
            axes.set_xscale("log")
            axes.set(title=law, xlabel="training FLOPs")
        panels[0].set_ylabel("predicted over measured, %")
        panels[0].legend()
        return save(figure, path)


def learning_rates(path: Path, losses: Mapping[str, Mapping[int, Mapping[float, float]]]) -> Path:
    """Loss by learning rate, a line a width; one panel a parametrisation. The best are marked.

    losses: panel -> width -> learning rate -> final loss.
    """
    with style():
        figure = new_figure(5 * len(losses), 4)
        panels: Any = np.ravel(figure.subplots(1, len(losses), sharey=True, squeeze=False))
        for axes, (name, rows) in zip(panels, losses.items(), strict=True):
            for (width, row), color in zip(sorted(rows.items()), shades(len(rows)), strict=True):
                rates, values = zip(*sorted(row.items()), strict=True)
                axes.plot(rates, values, "o-", color=color, markersize=3, label=f"{width}")
                best = int(np.argmin(values))
                axes.plot(rates[best], values[best], "*", color=VERMILLION, markersize=11)
            axes.set_xscale("log", base=2)
            axes.set(title=name, xlabel="learning rate")
        panels[0].set_ylabel("validation loss, nats")
        panels[0].legend(title="width")
        return save(figure, path)


def _lines(axes: "Axes", points: Points, group: str, x: str, labels: Sequence[str]) -> None:
    """Points of each value of `group` as a line over `x`; of group 0 as dots."""
    values = sorted({getattr(p, group) for p in points if getattr(p, group)})
    for value, color, label in zip(values, shades(len(values)), labels, strict=True):
        chosen = [p for p in points if getattr(p, group) == value]
        order = np.argsort(column(chosen, x))
        x_P, loss_P = column(chosen, x)[order], column(chosen, "loss")[order]
        axes.plot(x_P, loss_P, "o-", color=color, markersize=3.5, linewidth=1.2, label=label)
    rest = [p for p in points if not getattr(p, group)]
    axes.plot(column(rest, x), column(rest, "loss"), "o", color=GREY, markersize=3.5)
    axes.legend()


def _log_log(axes: "Axes") -> None:
    """Both axes by factors; losses span too little for powers of ten to be of use as ticks."""
    from matplotlib.ticker import MaxNLocator, NullLocator, StrMethodFormatter

    axes.set_xscale("log")
    axes.set_yscale("log")
    if axes.get_ylim()[1] < 100:
        axes.yaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 2.5, 5, 10]))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
