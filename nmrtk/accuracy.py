"""How well a model and its competitors predict which bins hold lines: section `code`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch

from nmrtk import seed_paper
from nmrtk.cohort import Forward
from nmrtk.competitors import Competitor, occupied_bins
from nmrtk.interfaces import SpectrumCodec
from nmrtk.scoring import BoolArray, CodeScore, FloatArray, score_code
from nmrtk.spectrum import Spectrum
from nmrtk.tables import Table, fixed, percent

MODEL_NAME = "model"
HALF = 0.5

RANDOM_DRAWS = 10
"""Draws over which the scores of random predictions are averaged."""


@dataclass(frozen=True, slots=True)
class CodeRow:
    """One predictor's scores; without a threshold where none was tuned."""

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
                "Its lines in bins: those into which the predicted lines fall. Code of its lines: "
                "the probabilities that the lines imply with their scales; they enter the network, "
                "and what leaves it is the first row.",
                f"Chance and bin-frequency are random draws (mean of {RANDOM_DRAWS}): all bins "
                "with one probability, and each bin with its frequency in training.",
            ),
        )


def evaluate_code(
    codec: SpectrumCodec,
    threshold: float,
    forward: Forward,
    train_bins: BoolArray,
    competitors: Sequence[Competitor],
    seed: int,
    spectra: Sequence[Spectrum] | None = None,
    implied_threshold: float | None = None,
) -> CodeSection:
    """Score the code of the model and of its competitors.

    Args:
        codec: the model's.
        threshold: on occupancy, tuned on val.
        forward: over the cohort.
        train_bins: (T, N), observed in training.
        competitors: measured on the same cohort.
        seed: of the random predictions.
        spectra: B, that the model predicts by its lines; None where it predicts none.
        implied_threshold: tuned on val for the code that the lines imply.
    """
    observed = occupied_bins(codec, forward.target)
    code = forward.outputs[:, : codec.width]
    occupancy = codec.occupancy(code).numpy()
    rows = [_code_row(MODEL_NAME, occupancy, threshold, observed, seed_paper.MACRO_F1)]
    if spectra is not None:
        binned = score_code(_bins_of_lines(codec, spectra), observed)
        rows.append(CodeRow(f"{MODEL_NAME}, its lines in bins", binned))
    if forward.implied is not None:
        implied = codec.occupancy(forward.implied).numpy()
        rows.append(
            _code_row(f"{MODEL_NAME}, code of its lines", implied, implied_threshold, observed)
        )
    frequency = train_bins.mean(axis=0)
    even = np.full_like(frequency, frequency.mean())
    chance = _random_score(even, observed, seed)
    rows.append(CodeRow("chance", chance, paper_macro_f1=seed_paper.CHANCE_MACRO_F1))
    rows.append(CodeRow("bin-frequency", _random_score(frequency, observed, seed)))
    rows += [_code_row(c.name, c.occupancy, c.threshold, observed) for c in competitors]
    return CodeSection(codec.bin_count, float(observed.mean()), rows)


def _bins_of_lines(codec: SpectrumCodec, spectra: Sequence[Spectrum]) -> BoolArray:
    """Bins (B, N) into which predicted lines fall."""
    empty = np.zeros(codec.width, np.float32)
    targets = [codec.encode(spectrum) if spectrum.peaks else empty for spectrum in spectra]
    return occupied_bins(codec, torch.from_numpy(np.stack(targets)))


def _code_row(
    name: str,
    occupancy: FloatArray,
    threshold: float | None,
    observed: BoolArray,
    paper_macro_f1: str | None = None,
) -> CodeRow:
    half = score_code(occupancy > HALF, observed)
    tuned = None if threshold is None else score_code(occupancy > threshold, observed)
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


def _figures(score: CodeScore) -> list[str]:
    return [fixed(value) for value in (score.micro_f1, score.macro_f1, score.macro_f1_seen)]
