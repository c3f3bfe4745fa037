"""Loss curves: in the terminal, and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunefleet.base import files
from tunefleet.tracking.series import SMOOTHED_OVER, moving_average

if TYPE_CHECKING:
    from tunefleet.tracking.curve_figure import CurveFigure

Records = Sequence[dict[str, Any]]


def series(records: Records, key: str) -> tuple[list[int], list[float]]:
    """(steps, values) of the records that have `key`."""
    pairs = [(record["step"], record[key]) for record in records if record.get(key) is not None]
    return [step for step, _ in pairs], [value for _, value in pairs]


def losses(records: Records) -> dict[str, tuple[list[int], list[float]]]:
    """The training loss, and the validation loss of every split."""
    keys = sorted({key for record in records for key in record if key.endswith("/loss")}, reverse=True)
    return {key.removesuffix("/loss").removeprefix("evaluation/"): series(records, key) for key in keys}


WIDTH = 78
"""Characters of a curve in a terminal that has room for it."""


def terminal(records: Records, width: int = WIDTH, height: int = 16) -> str:
    """The training loss against the step, drawn in characters."""
    import plotext

    steps, values = series(records, "train/loss")
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plot_size(width, height)
    plotext.plot(steps, values, marker="braille")
    plotext.title("training loss against optimizer steps")
    return str(plotext.uncolorize(plotext.build()))


def picture(records: Records, path: Path, title: str) -> None:
    """Writes the curves of all losses as a PNG."""
    files.write_bytes(path, figure(records, title).png())


def figure(records: Records, title: str) -> CurveFigure:
    """The curves of all losses: training smoothed over its faint raw values, evaluations as points."""
    from matplotlib.ticker import FuncFormatter

    from tunefleet.tracking.curve_figure import CurveFigure  # without pyplot, which keeps figures for windows

    figure = CurveFigure(figsize=(7, 4), dpi=200)
    axes = figure.subplots()
    for i, (name, (steps, values)) in enumerate(losses(records).items()):
        if name == "train":
            axes.plot(steps, values, color="C0", alpha=0.25, linewidth=0.8)
            axes.plot(steps, moving_average(values, len(values) / SMOOTHED_OVER), color="C0", label="training")
        else:
            label, colour = name.replace("_", " "), f"C{1 + i % 9}"
            axes.plot(steps, values, ":", color=colour, label=label, marker="o", markersize=4, linewidth=0.8)
    axes.set(xlabel="optimizer step", ylabel="loss (nats per loss token)", yscale="log", title=title)
    axes.yaxis.set_major_formatter(FuncFormatter(_plain))
    if _within_a_decade(axes.get_ylim()):
        axes.yaxis.set_minor_formatter(FuncFormatter(_plain))
    axes.grid(alpha=0.3, which="both")
    axes.legend(frameon=False)
    figure.tight_layout()
    return figure


def _plain(value: float, place: int) -> str:
    return f"{value:g}"


def _within_a_decade(limits: tuple[float, float]) -> bool:
    low, high = limits
    return high < 10 * low
