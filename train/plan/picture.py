"""A plan as a picture: memory against capacity, and the times that bound a step."""

from pathlib import Path
from typing import Any

from train.plan.analysis import Plan
from train.plan.text import GIB, verdict
from train.report.style import BLUE, GREEN, GREY, VERMILLION, new_figure, save, style

PARTS = {
    "parameters": BLUE,
    "optimizer": "#56B4E9",
    "average": "#CC79A7",
    "gradients": GREEN,
    "activations": "#E69F00",
    "program": GREY,
}
"""Parts of memory and their colours (Okabe & Ito)."""
NAMES = {"optimizer": "optimiser", "average": "moving average"}


def draw(plan: Plan, path: Path) -> Path:
    """Writes the PNG."""
    with style():
        figure = new_figure(8.0, 4.6 if plan.times else 2.8)
        panels: Any = figure.subplots(2 if plan.times else 1, 1, squeeze=False)[:, 0]
        figure.suptitle(f"{plan.name} on {plan.topology}", x=0.01, ha="left", fontsize=12)
        _memory(panels[0], plan)
        if plan.times:
            _times(panels[1], plan)
        return save(figure, path)


def _memory(axes: Any, plan: Plan) -> None:
    left, memory = 0.0, plan.memory
    for part, colour in PARTS.items():
        width = getattr(memory, part) / GIB
        if width > 0:
            axes.barh(0, width, left=left, color=colour, height=0.5, label=NAMES.get(part, part))
            left += width
    capacity = memory.capacity / GIB
    axes.axvline(capacity, color=VERMILLION if not memory.fits else "#333333", linewidth=1.5)
    axes.text(capacity, 0.62, "capacity ", ha="right", va="top", fontsize=9)
    axes.set_xlim(0, 1.02 * max(capacity, left))
    axes.set_ylim(-0.35, 0.65)
    axes.set_yticks([])
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("GiB of a device")
    axes.set_title(f"Memory {verdict(plan)}")
    axes.figure.legend(loc="outside lower center", ncols=len(PARTS), handlelength=1)


def _times(axes: Any, plan: Plan) -> None:
    assert plan.times is not None
    names = ("network", "memory", "compute")
    values = [getattr(plan.times, name) for name in names]
    colours = [VERMILLION if name == plan.times.binding else GREY for name in names]
    axes.barh(names, values, color=colours, height=0.55)
    for i, value in enumerate(values):
        axes.text(value, i, f" {value:.3g} s", va="center", fontsize=9)
    axes.set_xlim(0, 1.15 * max(values))
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("seconds of a step, at the least")
    mfu = plan.mfu(plan.times.bound)
    bound = f"; MFU at most {mfu:.1%}" if mfu is not None else ""
    axes.set_title(f"Time: bound by {plan.times.binding}{bound}")
