"""One self-contained page with the candidates of peak lists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import nmrtk
from nmrtk.atomic import write_bytes
from nmrtk.candidates import Candidate
from nmrtk.drawing import structure_svg
from nmrtk.elucidation import Elucidation
from nmrtk.errors import UsageError
from nmrtk.mirror import MirroredLine, mirror_svg
from nmrtk.molecule import Molecule, parse_smiles
from nmrtk.nucleus import Nucleus
from nmrtk.query import Query
from nmrtk.rows import Row
from nmrtk.similar import Similar
from nmrtk.spectrum import Peak, Spectrum

TEMPLATE = "answer.html"

FAR_SIGMAS = 2.5
"""Lines that are further apart than so many sigmas are marked."""

_SAME_PPM = 2e-3


@dataclass(frozen=True, slots=True)
class LineRow:
    """One line of a candidate's table.

    Args:
        predicted: in ppm.
        sigma: in ppm, or None.
        observed: in ppm, or None where the line lacks.
        atoms: of the structure as it is drawn, counted from 0; empty where unknown.
        group: such as `CH2`, or an empty text.
        differs: whether observed and predicted line are too far apart.
    """

    predicted: float
    sigma: float | None
    observed: float | None
    atoms: tuple[int, ...]
    group: str
    differs: bool

    @property
    def gap(self) -> float | None:
        """Observed minus predicted shift in ppm."""
        return None if self.observed is None else self.observed - self.predicted


class AnswerPage:
    """Collects answers and writes the page.

    Args:
        path: the file.

    Raises:
        UsageError: jinja2 is missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._template = _template()
        self._sections: list[dict[str, Any]] = []

    def add(self, query: Query, answer: Elucidation, similar: Sequence[Similar] = ()) -> None:
        """Add the answer to a query.

        Args:
            query: the lines.
            answer: its candidates.
            similar: known structures that resemble the first candidate and the lines.
        """
        self._sections.append(_section(query, answer, similar))

    def add_error(self, row: Row) -> None:
        """Add a row that says why there is no answer."""
        self._sections.append({"id": row["id"], "error": row["error"]})

    def save(self) -> None:
        """Write the page.

        Raises:
            DataError: the file cannot be written.
        """
        text = self._template.render(sections=self._sections, version=nmrtk.__version__)
        write_bytes(self._path, text.encode())


def line_rows(query: Query, candidate: Candidate) -> list[LineRow]:
    """Predicted lines of a candidate, descending, beside the observed ones that they belong to.

    Equivalent atoms are one row. Empty where the candidate has no predicted lines.
    """
    spectrum, match = candidate.spectrum, candidate.match
    if spectrum is None:
        return []
    distinct = sorted({(p.ppm, _letter(p)) for p in query.spectrum.peaks})
    molecule = parse_smiles(candidate.smiles)
    sites = Nucleus.parse(query.spectrum.nucleus).sites(molecule)
    line_of_atom: dict[int, float] = {}
    if match is not None:
        for site, line in zip(sites, match.line_of_site, strict=True):
            if line >= 0:
                line_of_atom[site] = distinct[line][0]
    rows: list[LineRow] = []
    for peak in sorted(spectrum.peaks, key=lambda p: (-p.ppm, p.multiplicity, p.atoms)):
        observed = line_of_atom.get(peak.atoms[0]) if peak.atoms else None
        last = rows[-1] if rows else None
        group = _GROUPS.get(peak.multiplicity, "")
        if (
            last is not None
            and abs(last.predicted - peak.ppm) <= _SAME_PPM
            and (last.observed, last.group) == (observed, group)
        ):
            rows[-1] = LineRow(
                *(last.predicted, last.sigma, observed, (*last.atoms, *peak.atoms), group),
                last.differs,
            )
            continue
        far = observed is None and match is not None
        if observed is not None and peak.sigma is not None:
            far = abs(observed - peak.ppm) > FAR_SIGMAS * peak.sigma
        rows.append(LineRow(peak.ppm, peak.sigma, observed, peak.atoms, group, far))
    return rows


_GROUPS = {"S": "C", "D": "CH", "T": "CH2", "Q": "CH3"}
_HYDROGENS = {"S": 0, "D": 1, "T": 2, "Q": 3}


def _letter(peak: Peak) -> int:
    """As `LineScore` sorts lines of one shift."""
    return _HYDROGENS.get(peak.multiplicity, -1)


def _section(query: Query, answer: Elucidation, similar: Sequence[Similar]) -> dict[str, Any]:
    spectrum = query.spectrum
    counts = Counter(peak.ppm for peak in spectrum.peaks)
    observed = sorted(counts.items(), reverse=True)
    shown = answer.candidates[: query.top]
    return {
        "id": query.id,
        "nucleus": spectrum.nucleus,
        "formula": "" if query.formula is None else str(query.formula),
        "mass": query.mass,
        "conditions": ", ".join(_conditions(spectrum)),
        "lines": ", ".join(_shown_line(spectrum, ppm, count) for ppm, count in observed),
        "seconds": answer.seconds,
        "none_of_these": answer.none_of_these,
        "notes": answer.notes,
        "found": len(answer.candidates),
        "formulas": [(str(f), share) for f, share in list(answer.formulas.items())[:8]],
        "candidates": [
            _card(query, candidate, rank, observed) for rank, candidate in enumerate(shown, start=1)
        ],
        "similar": [
            {
                "structure": structure_svg(parse_smiles(one.smiles), width=180, height=130),
                "smiles": one.smiles,
                "similarity": one.similarity,
                "mae_ppm": one.mae_ppm,
                "name": one.name,
            }
            for one in similar
        ],
    }


def _card(
    query: Query, candidate: Candidate, rank: int, observed: Sequence[tuple[float, int]]
) -> dict[str, Any]:
    molecule = parse_smiles(candidate.smiles)
    rows = line_rows(query, candidate)
    marked = {atom for row in rows if row.differs for atom in row.atoms}
    match = candidate.match
    distinct = sorted({(p.ppm, _letter(p)) for p in query.spectrum.peaks})
    extra = [distinct[index][0] for index in match.extra] if match is not None else []
    mirrored = [
        MirroredLine(row.predicted, row.sigma, row.observed, max(len(row.atoms), 1), row.differs)
        for row in rows
    ]
    return {
        "rank": rank,
        "smiles": candidate.smiles,
        "probability": candidate.probability,
        "mae_ppm": candidate.mae_ppm,
        "source": candidate.source,
        "rows": rows,
        "extra": extra,
        "far": sum(row.differs for row in rows) + len(extra),
        "structure": _structure(molecule, candidate, marked),
        "spectrum": mirror_svg(observed, mirrored, extra, f"lines of candidate {rank}"),
    }


def _structure(molecule: Molecule, candidate: Candidate, marked: set[int]) -> str:
    peaks = candidate.spectrum.peaks if candidate.spectrum is not None else ()
    shifts = {atom: peak.ppm for peak in peaks for atom in peak.atoms}
    return structure_svg(molecule, shifts, 360, 270, marked)


def _conditions(spectrum: Spectrum) -> list[str]:
    field = [] if spectrum.field_mhz is None else [f"{spectrum.field_mhz:g} MHz"]
    return [*field, *([spectrum.solvent] if spectrum.solvent else [])]


def _shown_line(spectrum: Spectrum, ppm: float, count: int) -> str:
    letters = {p.multiplicity for p in spectrum.peaks if p.ppm == ppm and p.multiplicity}
    groups = [_GROUPS.get(letter, letter) for letter in sorted(letters)]
    inside = [*groups, *([f"{count}{spectrum.nucleus.lstrip('0123456789')}"] if count > 1 else [])]
    return f"{ppm:g}" + (f" ({', '.join(inside)})" if inside else "")


def _template() -> Any:
    try:
        import jinja2
    except ImportError as error:
        raise UsageError("an HTML page needs jinja2: pip install nmrtk[report]") from error
    text = (resources.files("nmrtk") / "templates" / TEMPLATE).read_text(encoding="utf-8")
    return jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        text
    )
