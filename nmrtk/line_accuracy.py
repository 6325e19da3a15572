"""How well a model and its competitors predict lines: section `lines`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nmrtk.calibration import COVERAGE, COVERAGE_SIGMAS
from nmrtk.interfaces import Example
from nmrtk.line_errors import UNKNOWN, LineErrors, atom_errors, spectra_errors
from nmrtk.molecule_groups import (
    USUAL_ELEMENTS,
    USUAL_HEAVY_ATOMS,
    MoleculeGroup,
    usual_molecules,
)
from nmrtk.nucleus import Nucleus
from nmrtk.scoring import BoolArray, LineScore, score_lines
from nmrtk.spectrum import Spectrum
from nmrtk.tables import Table, fixed, percent

# Predicted lines are Laplace distributed. Sigma is defined by the interval that holds 80 % of the
# lines; the other intervals are those of the Laplace distribution that agrees with it there.
INTERVALS = {
    share: COVERAGE_SIGMAS * math.log(1 - share) / math.log(1 - COVERAGE)
    for share in (0.5, 0.8, 0.95)
}
"""Half-width in sigmas of the interval that should hold each share of the lines."""

LEFT_OUT = (0.0, 0.1, 0.2, 0.5)
"""Shares of the lines, the least certain, that are left out to see how the error falls."""

USUAL, ALL = "usual molecules", "all molecules"
_LETTERS = "SDTQ"


@dataclass(frozen=True, slots=True)
class LinePredictions:
    """What one predictor says of the lines.

    Args:
        name: the predictor's.
        spectra: for the B molecules of the cohort.
        assigned_spectra: for the molecules with assigned lines.
    """

    name: str
    spectra: Sequence[Spectrum]
    assigned_spectra: Sequence[Spectrum] = ()


@dataclass(frozen=True, slots=True)
class LineRow:
    """One predictor's scores for a group of lines.

    Args:
        name: the predictor's.
        group: which lines.
        molecules: that have such lines.
        score: sorted within multiplicities.
        mae_over_molecule: with all lines of a molecule sorted together; None for the lines of one
            multiplicity.
    """

    name: str
    group: str
    molecules: int
    score: LineScore
    mae_over_molecule: float | None


@dataclass(frozen=True, slots=True)
class AtomRow:
    """One predictor's scores for lines that are assigned, each compared at its own atom.

    Args:
        name: the predictor's.
        molecules: with such lines.
        score: at the true atoms.
        complete_mae: the same for complete spectra alone.
        complete_mae_sorted: of the same spectra with lines sorted within multiplicities, as if
            they were not assigned.
    """

    name: str
    molecules: int
    score: LineScore
    complete_mae: float | None
    complete_mae_sorted: float | None


@dataclass(frozen=True, slots=True)
class CertaintyRow:
    """How the error of one predictor falls when its least certain lines are left out.

    Args:
        name: the predictor's.
        mae: of the other lines, by the share that is left out.
    """

    name: str
    mae: dict[str, float]


@dataclass(frozen=True, slots=True)
class LineSection:
    """Errors of predicted lines in ppm.

    Args:
        spectra: number of complete spectra.
        unit: difference in ppm that matters.
        intervals: half-width in sigmas of the interval of each share.
        rows: by predictor and multiplicity, and for usual and all molecules.
        atoms: at the true atoms; empty where no line is assigned.
        by_molecule: by size, elements and novelty of the molecule.
        certainty: for predictors that give a sigma.
    """

    spectra: int
    unit: float
    intervals: dict[str, float]
    rows: list[LineRow]
    atoms: list[AtomRow]
    by_molecule: list[LineRow]
    certainty: list[CertaintyRow]

    def tables(self) -> list[Table]:
        """The parts that there are."""
        tables = [self._overview()]
        if self.atoms:
            tables.append(self._at_atoms())
        tables.append(self._by_molecule())
        if self.certainty:
            tables.append(self._by_certainty())
        return tables

    def _ppm(self, value: float | None) -> str:
        """A figure in ppm, finer where small differences matter."""
        return fixed(value, 2 if self.unit >= 1 else 3)

    @property
    def _within(self) -> list[str]:
        return [f"≤ {self.unit:g} ppm", f"≤ {2 * self.unit:g} ppm"]

    def _overview(self) -> Table:
        columns = ["predictor", "of", "lines", "MAE", "MAE over molecule", "median", "RMSE"]
        rows = []
        for row in self.rows:
            score = row.score
            figures = [score.mae, row.mae_over_molecule, score.median, score.rmse]
            covered = score.coverage or {}
            rows.append(
                [row.name, row.group, str(score.lines), *(self._ppm(value) for value in figures)]
                + [percent(score.within_1), percent(score.within_2)]
                + [percent(covered.get(share)) for share in self.intervals]
            )
        widths = ", ".join(f"{width:.2f}" for width in self.intervals.values())
        shares = [f"in {100 * float(share):g} %" for share in self.intervals]
        return Table(
            f"Lines: {self.spectra} complete spectra, errors in ppm",
            [*columns, *self._within, *shares],
            rows,
            (
                f"Usual molecules have up to {USUAL_HEAVY_ATOMS} heavy atoms, all of them "
                f"{' '.join(USUAL_ELEMENTS)}.",
                "Lines are sorted within groups of one multiplicity where the spectrum's letters "
                "fit the structure, else all together; MAE over molecule: always all together.",
                f"The intervals are ± {widths} sigma: those of a Laplace distribution with 80 % "
                "within 1.28 sigma, which is how sigma was calibrated on val.",
            ),
        )

    def _at_atoms(self) -> Table:
        columns = ["predictor", "molecules", "lines", "MAE", "median", "RMSE", *self._within]
        rows = []
        for row in self.atoms:
            score = row.score
            figures = [self._ppm(value) for value in (score.mae, score.median, score.rmse)]
            shares = [percent(score.within_1), percent(score.within_2)]
            complete = [self._ppm(value) for value in (row.complete_mae, row.complete_mae_sorted)]
            numbers = [str(row.molecules), str(score.lines)]
            rows.append([row.name, *numbers, *figures, *shares, *complete])
        return Table(
            "Lines at their true atoms, errors in ppm",
            [*columns, "MAE, complete", "the same sorted"],
            rows,
            (
                "Assigned lines, each compared with the one that is predicted for its atom. The "
                "last two columns are for complete spectra: at the true atoms, and sorted within "
                "multiplicity as above.",
            ),
        )

    def _by_molecule(self) -> Table:
        names = list(dict.fromkeys(row.name for row in self.by_molecule))
        groups = dict.fromkeys(row.group for row in self.by_molecule)
        found = {(row.name, row.group): row for row in self.by_molecule}
        share = f"{COVERAGE:g}"
        rows = []
        for group in groups:
            some = [found[name, group] for name in names]
            covered = (some[0].score.coverage or {}).get(share)
            rows.append(
                [group, str(some[0].molecules), str(some[0].score.lines)]
                + [self._ppm(row.score.mae) for row in some]
                + [self._ppm(some[0].score.median), percent(covered)]
            )
        first = names[0] if names else ""
        return Table(
            "Lines by kind of molecule, mean absolute error in ppm",
            ["molecules", "number", "lines", *names, f"{first}, median", f"{first}, in 80 %"],
            rows,
            ("Similarity is the Tanimoto similarity to the most similar molecule of train.",),
        )

    def _by_certainty(self) -> Table:
        shares = list(self.certainty[0].mae)
        heads = [f"{100 * float(share):g} % left out" for share in shares]
        return Table(
            "Lines, the least certain left out: mean absolute error in ppm",
            ["predictor", *heads],
            [[row.name, *(self._ppm(row.mae[s]) for s in shares)] for row in self.certainty],
        )


def evaluate_lines(
    nucleus: Nucleus,
    examples: Sequence[Example],
    predictions: Sequence[LinePredictions],
    assigned: Sequence[Example] = (),
    groups: Sequence[MoleculeGroup] = (),
    unit: float = 1.0,
) -> LineSection | None:
    """Score predicted lines; None where nobody predicts any, or no spectrum is complete.

    Args:
        nucleus: whose lines.
        examples: B molecules with observed spectra.
        predictions: of each predictor, the model first.
        assigned: examples with assigned lines.
        groups: of the B molecules.
        unit: difference in ppm that matters.
    """
    found = [(one.name, spectra_errors(nucleus, examples, one.spectra)) for one in predictions]
    if not found or not len(found[0][1]):
        return None
    merged = [
        spectra_errors(nucleus, examples, one.spectra, within_multiplicity=False)
        for one in predictions
    ]

    def by_molecule(group: MoleculeGroup) -> list[LineRow]:
        rows = []
        for (name, errors), together in zip(found, merged, strict=True):
            chosen = together.only(group.members[together.molecules])
            mae = float(np.abs(chosen.errors).mean()) if len(chosen) else None
            rows += _line_row(name, group.name, errors, group.members[errors.molecules], mae, unit)
        return rows

    molecules = [example.molecule for example in examples]
    overall = [
        MoleculeGroup(USUAL, usual_molecules(molecules)),
        MoleculeGroup(ALL, np.ones(len(molecules), np.bool_)),
    ]
    rows = [row for group in overall for row in by_molecule(group)]
    letters = set(found[0][1].letters.tolist())
    if letters == {UNKNOWN}:
        letters = set()  # the row of all molecules says the same
    for letter in sorted(letters, key=lambda one: (_LETTERS + one).index(one)):
        for name, errors in found:
            rows += _line_row(name, letter, errors, errors.letters == letter, None, unit)
    return LineSection(
        len(np.unique(found[0][1].molecules)),
        unit,
        {f"{share:g}": width for share, width in INTERVALS.items()},
        rows,
        _atom_rows(nucleus, assigned, predictions, unit),
        [row for group in groups for row in by_molecule(group)],
        [
            CertaintyRow(name, _certainty(errors.errors, errors.sigmas))
            for name, errors in found
            if errors.sigmas is not None
        ],
    )


def _line_row(
    name: str,
    group: str,
    errors: LineErrors,
    chosen: BoolArray,
    mae: float | None,
    unit: float,
) -> list[LineRow]:
    """The row of the lines that are chosen; none where there are no such lines."""
    some = errors.only(chosen)
    if not len(some):
        return []
    return [LineRow(name, group, len(np.unique(some.molecules)), _score(some, unit), mae)]


def _atom_rows(
    nucleus: Nucleus,
    assigned: Sequence[Example],
    predictions: Sequence[LinePredictions],
    unit: float,
) -> list[AtomRow]:
    complete = np.array(
        [
            example.spectrum.is_complete(len(nucleus.sites(example.molecule)))
            and all(peak.atoms for peak in example.spectrum.peaks)
            for example in assigned
        ],
        np.bool_,
    )
    rows = []
    for one in predictions:
        if not one.assigned_spectra:
            continue
        errors = atom_errors(nucleus, assigned, one.assigned_spectra)
        if not len(errors):
            continue
        ordered = spectra_errors(nucleus, assigned, one.assigned_spectra)
        maes = [
            float(np.abs(some.errors).mean()) if len(some) else None
            for some in (each.only(complete[each.molecules]) for each in (errors, ordered))
        ]
        molecules = len(np.unique(errors.molecules))
        rows.append(AtomRow(one.name, molecules, _score(errors, unit), *maes))
    return rows


def _certainty(errors: np.ndarray, sigmas: np.ndarray) -> dict[str, float]:
    size = np.abs(errors)[np.argsort(sigmas, kind="stable")]
    kept = {share: max(1, round((1 - share) * len(size))) for share in LEFT_OUT}
    return {f"{share:g}": float(size[:count].mean()) for share, count in kept.items()}


def _score(errors: LineErrors, unit: float) -> LineScore:
    return score_lines(errors.errors, errors.sigmas, INTERVALS, unit)
