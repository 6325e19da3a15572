"""A picture of a comparison: for each figure and for the cost a panel, with a dot a training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmrtk.comparison.figures import FIGURES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COST = {"cpu_seconds": ("processor time/s", 1.0), "parameters": ("parameters/million", 1e-6)}
_BETTER = {True: "lower is better", False: "higher is better"}
_FIRST, _OTHER = "#c0392b", "#1f6fb2"
_COLUMNS = 4
_WIDTH, _ROW, _AROUND = 2.4, 0.26, 0.9
"""Width of a panel, height of a recipe and of what stands above and below, in inches."""

_DPI = 150


def draw(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Recipes from top to bottom, the first in a colour of its own, with a line at its mean; a dot
    for each training, and a bar at the mean of each recipe.

    Args:
        rows: of `result_rows`, those of the first recipe first.
    """
    from matplotlib.figure import Figure

    panels = {
        figure.name: (
            f"{figure.label}{', own bins' if figure.own_bins else ''}\n"
            f"{_BETTER[figure.lower_is_better]}",
            1.0,
        )
        for figure in FIGURES
        if figure.lower_is_better is not None
    }
    panels |= _COST
    shown = [name for name in panels if any(row[name] is not None for row in rows)]
    recipes = list(dict.fromkeys(row["recipe"] for row in rows))
    lines = math.ceil(len(shown) / _COLUMNS)
    height = lines * (_ROW * len(recipes) + _AROUND)
    figure = Figure(figsize=(_WIDTH * (_COLUMNS + 0.5), height), layout="constrained")
    places = figure.subplots(lines, _COLUMNS, sharey=True, squeeze=False).flat
    for axes, name in zip(places, shown, strict=False):
        title, scale = panels[name]
        values = {
            recipe: [
                row[name] * scale
                for row in rows
                if row["recipe"] == recipe and row[name] is not None
            ]
            for recipe in recipes
        }
        _draw_panel(axes, values)
        axes.set_title(title, fontsize=9)
    for axes in figure.axes[len(shown) :]:
        axes.remove()
    figure.axes[0].set_yticks(range(len(recipes)), recipes)
    figure.axes[0].set_ylim(len(recipes) - 0.5, -0.5)
    return figure


def save_picture(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write a file in the format of its ending; the same rows give the same file.

    Raises:
        DataError: it cannot be written.
    """
    from matplotlib import rc_context

    from nmrtk.atomic import atomic_path

    kind = path.suffix.removeprefix(".")
    metadata = {"Date": None} if kind == "svg" else None
    with atomic_path(path) as temporary, rc_context({"svg.hashsalt": "nmrtk"}):
        draw(rows).savefig(temporary, format=kind, dpi=_DPI, metadata=metadata)


def _draw_panel(axes: Axes, values: Mapping[str, Sequence[float]]) -> None:
    """Values of each recipe, from top to bottom."""
    for place, some in enumerate(values.values()):
        if not some:
            continue
        mean = sum(some) / len(some)
        colour = _OTHER if place else _FIRST
        axes.plot(some, [place] * len(some), "o", color=colour, markersize=4, alpha=0.6)
        axes.plot([mean, mean], [place - 0.28, place + 0.28], color=colour, linewidth=1.8)
        if place == 0:
            axes.axvline(mean, color=_FIRST, linewidth=0.6, linestyle=":")
    axes.tick_params(labelsize=8)
    axes.locator_params(axis="x", nbins=4)
    axes.grid(axis="x", linewidth=0.3)
    axes.spines[["top", "right"]].set_visible(False)
