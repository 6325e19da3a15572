"""How well a model and its competitors predict spectra: sections `code` and `lines`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch

from nmrtk import seed_paper
from nmrtk.calibration import COVERAGE, COVERAGE_SIGMAS
from nmrtk.cohort import Cohort, Forward, PredictedLines
from nmrtk.competitors import Competitor, LineErrors, matched_letters, occupied_bins
from nmrtk.interfaces import SpectrumCodec
from nmrtk.nucleus import Nucleus
from nmrtk.scoring import (
    BoolArray,
    CodeScore,
    FloatArray,
    LineScore,
    score_code,
    score_lines,
)
from nmrtk.spectrum import spectrum_of_shifts
from nmrtk.tables import Table, fixed, percent

MODEL_NAME = "model"
HALF = 0.5

RANDOM_DRAWS = 10
"""Draws over which the scores of random predictions are averaged."""

# Predicted lines are Laplace distributed. Sigma is defined by the interval that holds 80 % of the
# lines; the other intervals are those of the Laplace distribution that agrees with it there.
INTERVALS = {
    share: COVERAGE_SIGMAS * math.log(1 - share) / math.log(1 - COVERAGE)
    for share in (0.5, 0.8, 0.95)
}
"""Half-width in sigmas of the interval that should hold each share of the lines."""

ALL_LINES = "all"


@dataclass(frozen=True, slots=True)
class CodeRow:
    """One predictor's scores; without a threshold for random predictions and for lines in bins."""

    name: str
    at_half: CodeScore
    threshold: float | None = None
    tuned: CodeScore | None = None
    paper_macro_f1: str | None = None


@dataclass(frozen=True, slots=True)
class CodeSection:
    """Which bins of the spectrum hold a line.

    Args:
        bins: N.
        occupied_share: share of the bins that hold a line, over the cohort.
        rows: one a predictor.
    """

    bins: int
    occupied_share: float
    rows: list[CodeRow]

    def table(self) -> Table:
        """Micro- and macro-F1, at occupancy 0.5 and at the tuned threshold."""
        kinds = ("micro-F1", "macro-F1", "macro, seen")
        columns = ["predictor", *kinds, "threshold", *(f"tuned {kind}" for kind in kinds)]
        rows = []
        for row in self.rows:
            tuned = _figures(row.tuned) if row.tuned else ["–"] * len(kinds)
            figures = [*_figures(row.at_half), fixed(row.threshold, 3), *tuned]
            rows.append([row.name, *figures, row.paper_macro_f1 or ""])
        return Table(
            f"Code: {self.bins} bins, {percent(self.occupied_share)} of them occupied",
            [*columns, "seed paper, macro-F1"],
            rows,
            (
                "At an occupancy of 0.5, and at the threshold that gives the best micro-F1 on "
                "val. Macro-F1 is the mean over all bins, bins that nobody fills counting 0 as in "
                "scikit-learn; 'seen' leaves out bins without an observed line.",
                f"Chance and bin-frequency are random draws (mean of {RANDOM_DRAWS}): all bins "
                "with one probability, and each bin with its frequency in training.",
            ),
        )


@dataclass(frozen=True, slots=True)
class LineRow:
    """One predictor's scores for the lines of one multiplicity, or for `all`."""

    name: str
    multiplicity: str
    score: LineScore


@dataclass(frozen=True, slots=True)
class LineSection:
    """Errors of predicted lines in ppm.

    Args:
        spectra: number of complete spectra.
        intervals: half-width in sigmas of the interval of each share.
        rows: one a predictor and multiplicity.
    """

    spectra: int
    intervals: dict[str, float]
    rows: list[LineRow]

    def table(self) -> Table:
        """Errors, and coverage of the intervals."""
        shares = list(self.intervals)
        columns = ["predictor", "of", "lines", "MAE", "median", "RMSE", "≤ 1 ppm", "≤ 2 ppm"]
        rows = []
        for row in self.rows:
            score = row.score
            sizes = [fixed(value, 2) for value in (score.mae, score.median, score.rmse)]
            covered = score.coverage or {}
            rows.append(
                [row.name, row.multiplicity, str(score.lines), *sizes]
                + [percent(score.within_1), percent(score.within_2)]
                + [percent(covered.get(share)) for share in shares]
            )
        widths = ", ".join(f"{self.intervals[share]:.2f}" for share in shares)
        return Table(
            f"Lines: {self.spectra} complete spectra, errors in ppm",
            [*columns, *(f"in {100 * float(share):g} % interval" for share in shares)],
            rows,
            (
                "Lines are sorted within groups of one multiplicity where the spectrum's letters "
                "fit the structure, else all together.",
                f"Intervals are ± {widths} sigma: those of a Laplace distribution with 80 % "
                "within 1.28 sigma, which is how sigma was calibrated on val.",
            ),
        )


def evaluate_code(
    codec: SpectrumCodec,
    threshold: float,
    forward: Forward,
    train_bins: BoolArray,
    competitors: Sequence[Competitor],
    seed: int,
) -> CodeSection:
    """Score the code of the model and of its competitors.

    Args:
        codec: the model's.
        threshold: on occupancy, tuned on val.
        forward: over the cohort.
        train_bins: (T, N), observed in training.
        competitors: measured on the same cohort.
        seed: of the random predictions.
    """
    observed = occupied_bins(codec, forward.target)
    code = forward.outputs[:, : codec.width]
    occupancy = codec.occupancy(code).numpy()
    rows = [_code_row(MODEL_NAME, occupancy, threshold, observed, seed_paper.MACRO_F1)]
    if forward.lines is not None:
        binned = score_code(_binned_lines(codec, forward.lines, len(observed)), observed)
        rows.append(CodeRow(f"{MODEL_NAME}, its lines in bins", binned))
    frequency = train_bins.mean(axis=0)
    even = np.full_like(frequency, frequency.mean())
    chance = _random_score(even, observed, seed)
    rows.append(CodeRow("chance", chance, paper_macro_f1=seed_paper.CHANCE_MACRO_F1))
    rows.append(CodeRow("bin-frequency", _random_score(frequency, observed, seed)))
    rows += [_code_row(c.name, c.occupancy, c.threshold, observed) for c in competitors]
    return CodeSection(codec.bin_count, float(observed.mean()), rows)


def evaluate_lines(
    sigma_factor: float,
    cohort: Cohort,
    forward: Forward,
    nucleus: Nucleus,
    competitors: Sequence[Competitor],
) -> LineSection | None:
    """Score predicted lines; None where nobody predicts any, or no spectrum is complete.

    Args:
        sigma_factor: sigma of a line of the model per unit of its scale.
        cohort: the molecules.
        forward: over the cohort.
        nucleus: whose lines.
        competitors: measured on the same cohort.
    """
    found: list[tuple[str, LineErrors]] = []
    complete = [p for p in cohort.prepared if len(p.line_shifts)]
    if forward.lines is not None:
        sigmas = sigma_factor * forward.lines.scales
        matched = matched_letters(nucleus, cohort.examples)
        found.append((MODEL_NAME, LineErrors(forward.lines.errors, sigmas, matched)))
    found += [(c.name, c.lines) for c in competitors if c.lines is not None]
    if not found or not complete:
        return None
    rows = [LineRow(name, ALL_LINES, _line_score(lines)) for name, lines in found]
    letters = sorted(set(found[0][1].letters.tolist()))
    for letter in letters if len(letters) > 1 else []:
        for name, lines in found:
            rows.append(LineRow(name, letter, _line_score(lines, lines.letters == letter)))
    return LineSection(len(complete), {f"{s:g}": w for s, w in INTERVALS.items()}, rows)


def _binned_lines(codec: SpectrumCodec, lines: PredictedLines, size: int) -> BoolArray:
    """Bins (B, N) into which the predicted lines fall."""
    bins = np.zeros((size, codec.bin_count), dtype=np.bool_)
    starts = np.searchsorted(lines.site_molecules, np.arange(1, size))
    for row, shifts in enumerate(np.split(lines.site_shifts, starts)):
        if len(shifts):
            spectrum = spectrum_of_shifts(str(codec.nucleus), shifts)
            bins[row] = occupied_bins(codec, torch.from_numpy(codec.encode(spectrum))[None])[0]
    return bins


def _code_row(
    name: str,
    occupancy: FloatArray,
    threshold: float,
    observed: BoolArray,
    paper_macro_f1: str | None = None,
) -> CodeRow:
    half = score_code(occupancy > HALF, observed)
    tuned = score_code(occupancy > threshold, observed)
    return CodeRow(name, half, threshold, tuned, paper_macro_f1)


def _random_score(frequency: FloatArray, observed: BoolArray, seed: int) -> CodeScore:
    """Mean scores of bins drawn with given frequencies (N,)."""
    rng = np.random.default_rng(seed)
    scores = [
        score_code(rng.random(observed.shape) < frequency, observed) for _ in range(RANDOM_DRAWS)
    ]
    return CodeScore(
        **{f.name: float(np.mean([getattr(s, f.name) for s in scores])) for f in fields(CodeScore)}
    )


def _line_score(lines: LineErrors, chosen: BoolArray | slice = slice(None)) -> LineScore:
    sigmas = None if lines.sigmas is None else lines.sigmas[chosen]
    return score_lines(lines.errors[chosen], sigmas, INTERVALS)


def _figures(score: CodeScore) -> list[str]:
    return [fixed(value) for value in (score.micro_f1, score.macro_f1, score.macro_f1_seen)]
