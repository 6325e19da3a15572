"""Pictures of predictions."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmrtk.errors import DataError, MoleculeError, UsageError
from nmrtk.plotting import Pictures, _spread, plot_figure, save_plot
from nmrtk.predicted import PredictedSpectrum

pytest.importorskip("matplotlib", reason="pictures need nmrtk[report]")

BAD = {"id": "b", "smiles": "xyz", "error": "line 2: no"}


def row(
    smiles="CC(C)O", row_id="isopropanol", peaks=((25.2, "Q", 0), (25.2, "Q", 2), (64, "D", 1))
):
    return {
        "id": row_id,
        "smiles": smiles,
        "nucleus": "13C",
        "code": [],
        "peaks": [
            {"ppm": ppm, "sigma": 1.1, "multiplicity": letter, "atoms": [atom]}
            for ppm, letter, atom in peaks
        ],
    }


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_figure_shows_lines_sigma_and_structure():
    figure = plot_figure(PredictedSpectrum.of_row(row()))
    structure, lines = figure.axes
    assert len(structure.patches) > 10
    assert texts(figure) == ["25.2 ± 1.1  (2C)", "64.0 ± 1.1"]
    left, right = lines.get_xlim()
    assert left > 64 > 25.2 > right
    assert figure.texts[0].get_text() == "isopropanol"
    legend = [text.get_text() for text in lines.get_legend().get_texts()]
    assert legend == ["CH₃", "CH", "σ of the line"]
    # The stick of two atoms is twice as high.
    heights = sorted(float(max(y for _, y in c.get_segments()[0])) for c in sticks(lines))
    assert heights[1] == pytest.approx(2 * heights[0])


def sticks(axes):
    from matplotlib.collections import LineCollection

    return [c for c in axes.collections if isinstance(c, LineCollection)]


def test_structures_without_a_line_or_without_atoms_of_lines():
    nothing = plot_figure(PredictedSpectrum.of_row(row("N", "7", ())))
    assert texts(nothing) == ["no ¹³C line"]
    assert nothing.texts[0].get_text() == "N"
    peaks = [{"ppm": 20.0, "sigma": None, "multiplicity": "", "atoms": []}]
    plain = plot_figure(PredictedSpectrum.of_row({**row(), "peaks": peaks}))
    assert texts(plain) == ["20.0"]
    with pytest.raises(MoleculeError, match="line 2"):
        plot_figure(PredictedSpectrum.of_row(BAD))


@pytest.mark.parametrize(
    ("ending", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")]
)
def test_the_same_prediction_gives_the_same_file(tmp_path, ending, start):
    files = [tmp_path / f"{name}.{ending}" for name in "ab"]
    for path in files:
        save_plot(PredictedSpectrum.of_row(row()), path)
    first, second = (path.read_bytes() for path in files)
    assert first.startswith(start)
    assert first == second


def draw(path, *rows):
    with Pictures(str(path)) as pictures:
        for one in rows:
            pictures.add(one)
    return sorted(file.name for file in path.parent.iterdir())


def test_one_structure_takes_the_name_and_several_are_numbered(tmp_path):
    for name, rows, expected in [
        ("one", [row()], ["a.svg"]),
        ("two", [row(), row("CCO", "e", ((18, "Q", 0),))], ["a-1.svg", "a-2.svg"]),
        ("error", [BAD, row()], ["a-2.svg"]),
        ("other", [row(), BAD], ["a-1.svg"]),
        ("none", [BAD], []),
    ]:
        (tmp_path / name).mkdir()
        assert draw(tmp_path / name / "a.svg", *rows) == expected


def test_a_pdf_has_a_page_for_each(tmp_path):
    assert draw(tmp_path / "a.pdf", row(), BAD, row("N", "n", ())) == ["a.pdf"]
    pages = re.findall(rb"/Type /Page\b", (tmp_path / "a.pdf").read_bytes())
    assert len(pages) == 2


def test_what_cannot_be_written(tmp_path):
    with pytest.raises(UsageError, match=r"\.png, \.svg, \.pdf"):
        Pictures(str(tmp_path / "a.gif"))
    with pytest.raises(DataError, match="cannot be written"):
        save_plot(PredictedSpectrum.of_row(row()), tmp_path / "none" / "a.svg")
    with pytest.raises(DataError, match="cannot be written"):
        draw(tmp_path / "none" / "a.pdf", row())


@given(
    st.lists(st.floats(0, 200), min_size=1, max_size=40).map(sorted),
    st.floats(0.1, 30),
)
def test_labels_keep_their_distance_and_order(values, gap):
    places = np.array(_spread(values, gap, 0.0, 200.0))
    assert (np.diff(places) >= gap - 1e-6).all()
    assert places[0] >= 0
    if gap * (len(values) - 1) <= 200:
        assert places[-1] <= 200 + 1e-6


def test_labels_that_have_room_stay():
    assert _spread([10, 50, 90], 5, 0, 100) == pytest.approx([10, 50, 90])
    assert _spread([50, 50], 10, 0, 100) == pytest.approx([45, 55])
