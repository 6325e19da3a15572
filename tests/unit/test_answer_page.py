import builtins
from xml.etree import ElementTree

import pytest

from nmrtk.answer_page import AnswerPage, line_rows
from nmrtk.candidate_formats import ROW_FORMATS, sd_text
from nmrtk.candidates import Candidate
from nmrtk.elucidation import Elucidation, elucidation_row
from nmrtk.errors import UsageError
from nmrtk.formula import Formula
from nmrtk.line_score import Match
from nmrtk.mirror import MirroredLine, mirror_svg
from nmrtk.query import Query
from nmrtk.similar import Similar
from nmrtk.spectrum import Peak, Spectrum

PREDICTED = Spectrum(
    "13C",
    (
        Peak(21.0, multiplicity="Q", atoms=(0,), sigma=1.0),
        Peak(128.0, multiplicity="D", atoms=(2,), sigma=1.0),
        Peak(128.0, multiplicity="D", atoms=(6,), sigma=1.0),
        Peak(129.0, multiplicity="D", atoms=(3,), sigma=1.0),
        Peak(129.0, multiplicity="D", atoms=(5,), sigma=1.0),
        Peak(125.0, multiplicity="D", atoms=(4,), sigma=1.0),
        Peak(138.0, multiplicity="S", atoms=(1,), sigma=1.0),
    ),
)


def answer():
    peaks = ((21.2, "Q"), (128.2, ""), (129.1, ""), (120.0, ""), (77.0, ""))
    spectrum = Spectrum(
        "13C", tuple(Peak(p, multiplicity=m) for p, m in peaks), solvent="CDCl3", field_mhz=101.0
    )
    query = Query("<toluene>", spectrum, Formula.parse("C7H8"), top=3)
    match = Match((0, -1, 3, 4, 2, 4, 3), -12.0, 1.0, (1,), 0)
    candidates = (
        Candidate("Cc1ccccc1", 0.9, 1.0, "library", PREDICTED, match),
        Candidate("C1=CC=CC=CC1", 0.05, float("inf"), "refine"),
    )
    return query, Elucidation(candidates, 0.05, 1.5, ("a & b",), 2, {Formula.parse("C7H8"): 0.4})


def test_rows_of_lines():
    query, result = answer()
    rows = line_rows(query, result.candidates[0])
    assert [(r.predicted, r.observed, r.atoms, r.group, r.differs) for r in rows] == [
        (138.0, None, (1,), "C", True),
        (129.0, 129.1, (3, 5), "CH", False),
        (128.0, 128.2, (2, 6), "CH", False),
        (125.0, 120.0, (4,), "CH", True),
        (21.0, 21.2, (0,), "CH3", False),
    ]
    assert rows[3].gap == -5.0
    assert rows[0].gap is None
    assert line_rows(query, result.candidates[1]) == []


def test_the_page_holds_everything(tmp_path):
    query, result = answer()
    page = AnswerPage(tmp_path / "a.html")
    page.add(query, result, [Similar("CCc1ccccc1", 0.6, 1.2)])
    page.add_error({"id": "bad", "error": "line 2: <no> peak"})
    page.save()
    text = (tmp_path / "a.html").read_text()
    assert "&lt;toluene&gt;" in text
    assert "<toluene>" not in text
    assert "line 2: &lt;no&gt; peak" in text
    assert "a &amp; b" in text
    assert "90.0 %" in text
    assert "3 lines disagree" in text
    assert "belongs to no atom" in text
    assert "C7H8 (40.0 %)" in text
    assert "similarity 0.60, 1.2 ppm" in text
    for start in range(text.count("<svg")):
        svg = text.split("<svg")[start + 1].split("</svg>")[0]
        ElementTree.fromstring(f"<svg{svg}</svg>")


def test_jinja_is_asked_for(tmp_path, monkeypatch):
    genuine = builtins.__import__

    def without(name, *rest, **more):
        if name == "jinja2":
            raise ImportError
        return genuine(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match="needs jinja2"):
        AnswerPage(tmp_path / "a.html")


def test_structure_files():
    query, result = answer()
    text = sd_text(elucidation_row(query, result), query, result)
    assert text.count("$$$$") == 2
    for item in ("Rank", "Probability", "MAE", "Source", "None of these", "Notes"):
        assert f"<{item}>" in text
    assert "atom.dprop.shift_13C" in text
    nothing = Elucidation((), 1.0, 0.1, ("no candidate was found",))
    assert "no candidate was found" in sd_text(elucidation_row(query, nothing), query, nothing)
    assert "wrong" in sd_text({"id": 1, "error": "wrong"}, None, None)


def test_rows_without_a_difference_are_written():
    query, result = answer()
    row = elucidation_row(query, result)
    assert row["candidates"][1]["mae_ppm"] is None
    assert ROW_FORMATS[".csv"].render(row).count("\n") == 2


@pytest.mark.parametrize("shifts", [[10.0], [10.0, 10.0], [-20.0, 250.0], [1.0, 1.05]])
def test_mirrors_are_drawn(shifts):
    observed = [(ppm, 1) for ppm in shifts]
    lines = [MirroredLine(ppm + 1, 0.5, ppm, 2, True) for ppm in shifts]
    lines.append(MirroredLine(5.0, None, None, 1, False))
    root = ElementTree.fromstring(mirror_svg(observed, lines, [shifts[0]], "a < b"))
    assert root.tag.endswith("svg")
    assert len(root.findall(".//{http://www.w3.org/2000/svg}line")) > 4
