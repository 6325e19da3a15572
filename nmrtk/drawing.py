"""Pictures as SVG text: structures with shifts, mirrored stick spectra, training curves."""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rdkit import Chem
from rdkit.Chem import rdDepictor
from rdkit.Chem.Draw import rdMolDraw2D

from nmrtk.errors import UsageError
from nmrtk.molecule import Molecule
from nmrtk.spectrum import Spectrum

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OBSERVED_COLOUR = "#1b4f72"
PREDICTED_COLOUR = "#c0392b"

_MARK = (1.0, 0.72, 0.68)


def require_matplotlib() -> None:
    """Say at once, before any work is done, that nothing can be drawn.

    Raises:
        UsageError: matplotlib is missing.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise UsageError("drawing needs matplotlib: pip install nmrtk[report]") from error


def structure_svg(
    molecule: Molecule,
    shifts: Mapping[int, float] | None = None,
    width: int = 320,
    height: int = 240,
    marked: Collection[int] = (),
) -> str:
    """A structure, with shifts in ppm beside its atoms.

    Args:
        molecule: to draw.
        shifts: ppm by index of the atom.
        width: in pixels.
        height: in pixels.
        marked: atoms that are laid on a red ground.
    """
    drawn = Chem.Mol(molecule)
    rdDepictor.Compute2DCoords(drawn)
    for index, ppm in (shifts or {}).items():
        drawn.GetAtomWithIdx(index).SetProp("atomNote", f"{ppm:.1f}")
    drawer = rdMolDraw2D.MolDraw2DSVG(width, height)
    options: Any = drawer.drawOptions()
    options.clearBackground = False
    options.annotationFontScale = 0.7
    options.setHighlightColour(_MARK)
    rdMolDraw2D.PrepareAndDrawMolecule(
        drawer, drawn, highlightAtoms=sorted(marked), highlightBonds=[]
    )
    drawer.FinishDrawing()
    return _inline(drawer.GetDrawingText())


def mirror_svg(observed: Spectrum, predicted: Spectrum | None = None) -> str:
    """Observed lines upwards, predicted lines downwards, ppm falling to the right."""
    figure = _figure(6.4, 1.9)
    axes = figure.add_subplot()
    _sticks(axes, observed, 1, OBSERVED_COLOUR, "observed")
    if predicted is not None:
        _sticks(axes, predicted, -1, PREDICTED_COLOUR, "predicted")
    shifts = observed.shifts + (predicted.shifts if predicted else [])
    margin = 0.05 * (max(shifts) - min(shifts)) + 5
    axes.set_xlim(max(shifts) + margin, min(shifts) - margin)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_yticks([])
    axes.set_xlabel(f"{observed.nucleus} shift / ppm")
    axes.spines[["left", "right", "top"]].set_visible(False)
    axes.legend(loc="upper left", frameon=False, fontsize=8, ncols=2, bbox_to_anchor=(0, 1.2))
    return _svg(figure)


def curve_svg(history: Sequence[Mapping[str, Any]], columns: Mapping[str, str], ylabel: str) -> str:
    """Figures of a training against its epochs.

    Args:
        history: rows of the metrics file.
        columns: their names, and the labels to show.
        ylabel: of the axis.
    """
    figure = _figure(4.6, 2.6)
    axes = figure.add_subplot()
    for name, label in columns.items():
        if name in history[0]:
            axes.plot(
                [row["epoch"] for row in history], [row[name] for row in history], label=label
            )
    axes.set_xlabel("epoch")
    axes.set_ylabel(ylabel)
    axes.spines[["right", "top"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return _svg(figure)


def _sticks(axes: Axes, spectrum: Spectrum, direction: int, colour: str, label: str) -> None:
    heights: dict[float, int] = {}
    for ppm in spectrum.shifts:
        heights[round(ppm, 1)] = heights.get(round(ppm, 1), 0) + 1
    axes.vlines(
        list(heights), 0, [direction * h for h in heights.values()], color=colour, label=label
    )


def _figure(width: float, height: float) -> Figure:
    require_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None}, transparent=True)
    return _inline(text.getvalue())


def _inline(svg: str) -> str:
    """The element alone, as HTML takes it: no XML declaration, no document type."""
    return re.sub(r"^.*?(?=<svg)", "", svg, flags=re.DOTALL)
