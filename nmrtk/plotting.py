"""Pictures of predictions: the structure with its shifts, beside the lines with their sigma."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path as FilePath
from types import TracebackType
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from rdkit.Chem import rdDepictor
from rdkit.Chem.Draw import rdMolDraw2D

from nmrtk.atomic import cause_of
from nmrtk.drawing import require_matplotlib
from nmrtk.errors import DataError, UsageError, shorten
from nmrtk.molecule import Molecule, parse_smiles
from nmrtk.nucleus import HYDROGEN_LETTER_NUCLEI
from nmrtk.predicted import PredictedSpectrum
from nmrtk.prediction import source_indices
from nmrtk.rows import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_pdf import PdfPages
    from matplotlib.figure import Figure

ENDINGS = (".png", ".svg", ".pdf")

_GROUPS = {"Q": "CH3", "T": "CH2", "D": "CH", "S": "C"}
_COLOURS = {"Q": "#1f6fb2", "T": "#2a9d4a", "D": "#c0392b", "S": "#3a3a3a", "": "#3a3a3a"}
_SHIFT_COLOUR = (0.12, 0.31, 0.47)
_TEXT = "#222222"

# Sizes in points.
_BOND, _AROUND_STRUCTURE = 32.0, 80.0
_LEAST_STRUCTURE, _MOST_STRUCTURE = 190.0, 560.0
_LEAST_HEIGHT, _LEAST_LINES = 230.0, 400.0
_LABEL, _LABEL_GAP = 7.5, 10.0
_MARGIN, _TITLE, _BELOW = 18.0, 40.0, 58.0
_LEGEND_BELOW = 36.0
_TITLE_LETTER, _SMILES_LETTER, _KIND_WIDTH = 7.5, 5.5, 150.0

_COORDINATE_BOND = 1.5
"""Length of a bond in the coordinates of RDKit."""

_DPI = 200
_POINTS_PER_INCH = 72.0
_STICKS, _LEADER, _LABELS = 0.57, 0.63, 0.68
"""Heights of the highest stick, of the bend of the lines to the labels, and of the labels."""

_SIGMAS = 4.0
"""Half width of the bell of a line, in sigmas."""


class Pictures:
    """Draws predictions into files as they come.

    A single structure becomes the file of that name. Of several, the n-th becomes FILE-n.png, or
    the file is a PDF with a page for each. Rows with errors have no picture, but count.

    Args:
        output: a file that ends in .png, .svg or .pdf.

    Raises:
        UsageError: the ending is none of these, or matplotlib is missing.
    """

    def __init__(self, output: str) -> None:
        self._path = FilePath(output)
        _check(self._path)
        self._count = 0
        self._first: tuple[int, PredictedSpectrum] | None = None
        self._pages: PdfPages | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Pictures:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with _writing(self._path), self._stack:
            if kind is None and self._first is not None:
                save_plot(self._first[1], self._path)

    def add(self, row: Row) -> None:
        """Draw a row of `nmrtk predict`.

        Raises:
            DataError: the file cannot be written.
        """
        self._count += 1
        prediction = PredictedSpectrum.of_row(row)
        if self._path.suffix.lower() == ".pdf":
            if not prediction.error:
                self._add_page(prediction)
            return
        # The name of the first depends on whether there is a second.
        if self._count == 1:
            self._first = None if prediction.error else (1, prediction)
            return
        if self._first is not None:
            self._save_numbered(*self._first)
            self._first = None
        if not prediction.error:
            self._save_numbered(self._count, prediction)

    def _save_numbered(self, number: int, prediction: PredictedSpectrum) -> None:
        save_plot(prediction, self._path.with_stem(f"{self._path.stem}-{number}"))

    def _add_page(self, prediction: PredictedSpectrum) -> None:
        from matplotlib.backends.backend_pdf import PdfPages

        with _writing(self._path):
            if self._pages is None:
                self._pages = self._stack.enter_context(PdfPages(self._path))
            self._pages.savefig(plot_figure(prediction))


def save_plot(prediction: PredictedSpectrum, path: FilePath) -> None:
    """Draw one prediction into a `.png`, `.svg` or `.pdf` file.

    Raises:
        MoleculeError: the structure could not be predicted.
        UsageError: the ending is none of these, or matplotlib is missing.
        DataError: the file cannot be written.
    """
    _check(path)
    from matplotlib import rc_context

    figure = plot_figure(prediction)
    # Without a date and with fixed names of parts the same prediction gives the same file.
    dates = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    with _writing(path), rc_context({"svg.hashsalt": "nmrtk"}):
        figure.savefig(path, dpi=_DPI, metadata=dates.get(path.suffix.lower()))


def plot_figure(prediction: PredictedSpectrum) -> Figure:
    """Structure with shifts on the left, stick spectrum on the right.

    A stick is as high as the number of its equivalent atoms. The bell around it is a normal
    distribution of its sigma.

    Raises:
        MoleculeError: the structure could not be predicted.
        UsageError: matplotlib is missing.
    """
    spectrum = prediction.spectrum
    molecule = parse_smiles(prediction.smiles)
    place = {given: own for own, given in enumerate(source_indices(prediction.smiles, molecule))}
    for atom, ppm in prediction.by_atom().items():
        molecule.GetAtomWithIdx(place[atom]).SetProp("atomNote", f"{ppm:.1f}")
    sticks = _sticks(prediction)

    left, height = _lay_out(molecule)
    right = max(_LEAST_LINES, len(sticks) * _LABEL_GAP)
    panels = max(height, _LEAST_HEIGHT)
    figure = _new_figure(left + right + 3 * _MARGIN, panels + _TITLE + _BELOW)
    structure = _axes(figure, _MARGIN, _BELOW + (panels - height) / 2, left, height)
    _draw_structure(structure, molecule, left, height)
    # Beside a high structure the lines would be mostly sticks: they keep their shape.
    tall = min(panels, 0.7 * right)
    below = _BELOW + (panels - tall) / 2
    lines = _axes(figure, left + 2 * _MARGIN, below, right, tall)
    _draw_lines(lines, spectrum.nucleus, sticks, right, tall)
    _write_title(figure, prediction)
    return figure


def _write_title(figure: Figure, prediction: PredictedSpectrum) -> None:
    width, height = figure.get_size_inches() * _POINTS_PER_INCH
    room = width - 2 * _MARGIN - _KIND_WIDTH
    # Rows that have no name of their own are numbered.
    name = "" if str(prediction.id).isdigit() else str(prediction.id)
    title = shorten(name or prediction.smiles, int(room / _TITLE_LETTER))
    solvent = f" ({prediction.solvent})" if prediction.solvent else ""
    kind = f"predicted {_superscript(prediction.nucleus)} NMR{solvent}"
    style: dict[str, Any] = {"va": "top", "color": _TEXT}
    first, second = 1 - _MARGIN / height, 1 - (_MARGIN + 16) / height
    figure.text(_MARGIN / width, first, title, fontsize=11, fontweight="bold", **style)
    figure.text(1 - _MARGIN / width, first, kind, fontsize=9, ha="right", **style)
    if name:
        smiles = shorten(prediction.smiles, int(room / _SMILES_LETTER))
        figure.text(_MARGIN / width, second, smiles, fontsize=8, **style)


# --- structure


def _lay_out(molecule: Molecule) -> tuple[float, float]:
    """Set flat coordinates, and say how much room the drawing needs: width and height."""
    rdDepictor.Compute2DCoords(molecule)
    rdDepictor.StraightenDepiction(molecule)
    positions = molecule.GetConformer().GetPositions()[:, :2]
    extent = (positions.max(axis=0) - positions.min(axis=0)) / _COORDINATE_BOND * _BOND
    width, height = (min(size + _AROUND_STRUCTURE, _MOST_STRUCTURE) for size in extent.tolist())
    return max(width, _LEAST_STRUCTURE), height


def _draw_structure(axes: Axes, molecule: Molecule, width: float, height: float) -> None:
    """RDKit's drawing, path by path, so that it stays lines and curves in every format."""
    from matplotlib.patches import PathPatch

    drawer = rdMolDraw2D.MolDraw2DSVG(int(width), int(height))
    options: Any = drawer.drawOptions()
    options.clearBackground = False
    options.fixedBondLength = _BOND
    options.bondLineWidth = 1.3
    options.scaleBondWidth = False
    options.maxFontSize = 14
    options.annotationFontScale = 0.75
    options.setAtomNoteColour(_SHIFT_COLOUR)
    rdMolDraw2D.PrepareAndDrawMolecule(drawer, molecule)
    drawer.FinishDrawing()
    axes.set_xlim(0, int(width))
    axes.set_ylim(int(height), 0)
    axes.axis("off")
    for element in ElementTree.fromstring(drawer.GetDrawingText()).iter():
        if element.tag.endswith("}path"):
            style = _style(element.attrib)
            axes.add_patch(PathPatch(_svg_path(element.attrib["d"]), **style))


def _style(attributes: Mapping[str, str]) -> dict[str, Any]:
    items = (item.split(":", 1) for item in attributes.get("style", "").split(";") if ":" in item)
    style = {name.strip(): value.strip() for name, value in items}
    fill = style.get("fill", attributes.get("fill", "none"))
    stroke = style.get("stroke", "none")
    return {
        "facecolor": fill,
        "edgecolor": stroke,
        "linewidth": float(style.get("stroke-width", "0").removesuffix("px")),
        "capstyle": style.get("stroke-linecap", "butt"),
        "joinstyle": style.get("stroke-linejoin", "miter"),
    }


def _svg_path(text: str) -> Any:
    """A path as RDKit writes it: M, L, Q and Z with absolute coordinates."""
    from matplotlib.path import Path

    codes: list[Any] = []
    points: list[tuple[float, float]] = []
    kinds = dict(zip("MLQC", (Path.MOVETO, Path.LINETO, Path.CURVE3, Path.CURVE4), strict=True))
    for letter, numbers in re.findall(r"([MLQCZ])([^MLQCZ]*)", text):
        values = [float(number) for number in re.split(r"[,\s]+", numbers.strip()) if number]
        if letter == "Z":
            codes.append(Path.CLOSEPOLY)
            points.append(points[-1])
            continue
        pairs = list(zip(values[::2], values[1::2], strict=True))
        codes += [kinds[letter]] * len(pairs)
        points += pairs
    return Path(points, codes)


# --- lines


_Stick = tuple[float, float | None, str, int]
"""Shift, sigma and multiplicity of equivalent atoms, and their number."""


def _sticks(prediction: PredictedSpectrum) -> list[_Stick]:
    counts: dict[tuple[float, float | None, str], int] = {}
    for peak in prediction.peaks:
        key = (peak.ppm, peak.sigma, peak.multiplicity)
        counts[key] = counts.get(key, 0) + 1
    return [(*key, count) for key, count in counts.items()]


def _draw_lines(
    axes: Axes, nucleus: str, sticks: Sequence[_Stick], width: float, height: float
) -> None:
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    axes.spines[["left", "right", "top"]].set_visible(False)
    axes.set_xlabel(f"δ({_superscript(nucleus)}) / ppm", fontsize=9, color=_TEXT)
    axes.tick_params(labelsize=8, colors=_TEXT)
    if not sticks:
        axes.set_xticks([])
        axes.set_xlabel("")
        axes.spines["bottom"].set_visible(False)
        axes.text(
            0.5, 0.5, f"no {_superscript(nucleus)} line", ha="center", fontsize=10, color=_TEXT
        )
        return
    low, high = _range([ppm for ppm, *_ in sticks], reaches_zero=nucleus in HYDROGEN_LETTER_NUCLEI)
    axes.set_xlim(high, low)
    most = max(count for *_, count in sticks)
    gap = _LABEL_GAP / width * (high - low)
    places = _spread([ppm for ppm, *_ in sticks], gap, low + gap / 2, high - gap / 2)
    for (ppm, sigma, letter, count), place in zip(sticks, places, strict=True):
        colour = _COLOURS.get(letter, _COLOURS[""])
        top = _STICKS * count / most
        if sigma:
            _draw_bell(axes, ppm, sigma, top, colour)
        axes.vlines(ppm, 0, top, color=colour, linewidth=1.3)
        axes.plot(
            [ppm, ppm, place, place],
            [top, _LEADER - 0.03, _LEADER + 0.02, _LABELS - 0.01],
            color="#b8b8b8",
            linewidth=0.5,
            zorder=1,
        )
        text = f"{ppm:.1f}" + (f" ± {sigma:.1f}" if sigma is not None else "")
        if count > 1:
            text += f"  ({count}{nucleus.lstrip('0123456789')})"
        axes.text(
            place,
            _LABELS,
            text.replace("-", "\N{MINUS SIGN}"),
            rotation=90,
            ha="center",
            va="bottom",
            fontsize=_LABEL,
            color=colour,
        )
    _draw_legend(axes, nucleus, sticks, height)


def _draw_bell(axes: Axes, ppm: float, sigma: float, top: float, colour: str) -> None:
    steps = [_SIGMAS * (step / 40 - 1) for step in range(81)]
    axes.fill_between(
        [ppm + step * sigma for step in steps],
        [top * math.exp(-step * step / 2) for step in steps],
        color=colour,
        alpha=0.22,
        linewidth=0,
    )


def _draw_legend(axes: Axes, nucleus: str, sticks: Sequence[_Stick], height: float) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    letters = {letter for _, _, letter, _ in sticks}
    handles: list[Any] = []
    if nucleus in HYDROGEN_LETTER_NUCLEI:
        handles = [
            Line2D([], [], color=_COLOURS[letter], linewidth=1.6, label=_subscript(group))
            for letter, group in _GROUPS.items()
            if letter in letters
        ]
    if any(sigma for _, sigma, _, _ in sticks):
        handles.append(Patch(color="#888888", alpha=0.3, linewidth=0, label="σ of the line"))
    if handles:
        axes.legend(
            handles=handles,
            loc="upper center",
            bbox_to_anchor=(0.5, -_LEGEND_BELOW / height),
            borderaxespad=0,
            ncols=len(handles),
            fontsize=8,
            frameon=False,
            handlelength=1.2,
        )


def _subscript(group: str) -> str:
    return group.translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))


def _superscript(nucleus: str) -> str:
    return nucleus.translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _range(shifts: Sequence[float], *, reaches_zero: bool) -> tuple[float, float]:
    """Ends of the axis in ppm; that of 13C begins at 0, as chemists are used to."""
    low, high = min(shifts), max(shifts)
    if reaches_zero:
        return min(0.0, 10 * math.floor((low - 5) / 10)), 20 * math.ceil((high + 8) / 20)
    margin = max(0.08 * (high - low), 1.0)
    return low - margin, high + margin


def _spread(values: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places near ascending values, at least `gap` apart, between low and high where there is room.

    Least squares under that order: after place i is shifted by i gaps the order is plain, and
    neighbours that break it are pooled at their mean.
    """
    blocks: list[tuple[float, int]] = []
    for index, value in enumerate(values):
        mean, size = value - index * gap, 1
        while blocks and blocks[-1][0] > mean:
            other, count = blocks.pop()
            mean, size = (mean * size + other * count) / (size + count), size + count
        blocks.append((mean, size))
    last = max(low, high - (len(values) - 1) * gap)
    flat = [min(max(mean, low), last) for mean, size in blocks for _ in range(size)]
    return [place + index * gap for index, place in enumerate(flat)]


# --- files


def _check(path: FilePath) -> None:
    if path.suffix.lower() not in ENDINGS:
        raise UsageError(f"{path}: end the name of a picture in {', '.join(ENDINGS)}")
    require_matplotlib()


def _new_figure(width: float, height: float) -> Figure:
    require_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width / _POINTS_PER_INCH, height / _POINTS_PER_INCH))


def _axes(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at a place in points."""
    whole_width, whole_height = figure.get_size_inches() * _POINTS_PER_INCH
    return figure.add_axes(
        (
            left / whole_width,
            bottom / whole_height,
            width / whole_width,
            height / whole_height,
        )
    )


@contextmanager
def _writing(path: FilePath) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"{path} cannot be written: {cause_of(error)}") from error
