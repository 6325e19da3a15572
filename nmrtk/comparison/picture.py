"""A picture of a comparison: for each figure and for the cost a panel, with a dot a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmrtk.comparison.figures import FIGURES
from nmrtk.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COST = {"cpu_seconds": "processor time/s", "parameters": "parameters"}
_BETTER = {True: "lower is better", False: "higher is better"}
_FIRST, _OTHER = "#c0392b", "#1f6fb2"
_WIDTH, _ROW, _AROUND = 2.6, 0.32, 1.1
"""Width of a panel, height of a recipe and of what stands above and below, in inches."""

_DPI = 150


def require_matplotlib() -> None:
    """Say at once, not after hours, that nothing can be drawn.

    Raises:
        UsageError: matplotlib is missing.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise UsageError("the picture needs matplotlib: pip install nmrtk[report]") from error


def draw(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Recipes from top to bottom, the first in a colour of its own, with a line at its mean; a dot
    for each training, and a bar at the mean of each recipe.

    Args:
        rows: of `result_rows`, those of the first recipe first.
    """
    from matplotlib.figure import Figure

    titles = {
        figure.name: f"{figure.label}{', own bins' if figure.own_bins else ''}\n"
        f"{_BETTER[figure.lower_is_better]}"
        for figure in FIGURES
        if figure.lower_is_better is not None
    }
    titles |= {name: f"{label}\n" for name, label in _COST.items()}
    shown = [name for name in titles if any(row[name] is not None for row in rows)]
    recipes = list(dict.fromkeys(row["recipe"] for row in rows))
    figure = Figure(
        figsize=(_WIDTH * (len(shown) + 0.5), _ROW * len(recipes) + _AROUND), layout="constrained"
    )
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, shown, strict=True):
        _draw_panel(axes, name, recipes, rows)
        axes.set_title(titles[name], fontsize=9)
    panels[0].set_yticks(range(len(recipes)), recipes)
    panels[0].set_ylim(len(recipes) - 0.5, -0.5)
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


def _draw_panel(
    axes: Axes, name: str, recipes: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> None:
    for place, recipe in enumerate(recipes):
        values = [row[name] for row in rows if row["recipe"] == recipe and row[name] is not None]
        if not values:
            continue
        mean = sum(values) / len(values)
        colour = _OTHER if place else _FIRST
        axes.plot(values, [place] * len(values), "o", color=colour, markersize=4, alpha=0.6)
        axes.plot([mean, mean], [place - 0.28, place + 0.28], color=colour, linewidth=1.8)
        if place == 0:
            axes.axvline(mean, color=_FIRST, linewidth=0.6, linestyle=":")
    axes.tick_params(labelsize=8)
    axes.locator_params(axis="x", nbins=4)
    axes.grid(axis="x", linewidth=0.3)
    axes.spines[["top", "right"]].set_visible(False)
