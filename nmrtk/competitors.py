"""Baselines in an evaluation: fitted, tuned on val, measured on the model's molecules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nmrtk.calibration import COVERAGE, COVERAGE_SIGMAS
from nmrtk.cohort import Cohort
from nmrtk.errors import PluginError
from nmrtk.interfaces import Baseline, Example, SpectrumCodec
from nmrtk.molecule import Molecule
from nmrtk.nucleus import Nucleus
from nmrtk.scoring import BoolArray, FloatArray, best_threshold
from nmrtk.spectrum import Peak, Spectrum

UNKNOWN = "unknown"
"""Stands for the multiplicity of lines whose letters are missing or do not fit the structure."""


@dataclass(frozen=True, slots=True)
class LineErrors:
    """Errors of the L lines of complete spectra.

    Args:
        errors: (L,), predicted minus observed shift in ppm.
        sigmas: (L,), in ppm; None where the predictor gives none.
        letters: (L,), multiplicity of each line, or `unknown`.
    """

    errors: FloatArray
    sigmas: FloatArray | None
    letters: NDArray[np.str_]


@dataclass(frozen=True, slots=True)
class Competitor:
    """What a fitted baseline predicts for a cohort.

    Args:
        name: the baseline's.
        learned_from: number of examples that it was given.
        occupancy: (B, N).
        threshold: on occupancy, for the best micro-F1 on val.
        lines: None where it predicts none.
    """

    name: str
    learned_from: int
    occupancy: FloatArray
    threshold: float
    lines: LineErrors | None


def measure_baseline(
    name: str,
    baseline: Baseline,
    training: Sequence[Example],
    val: Cohort,
    cohort: Cohort,
) -> Competitor:
    """Fit a baseline, tune its threshold and sigmas on val, and predict the cohort.

    Raises:
        UsageError: the baseline cannot learn from these examples.
        PluginError: it does not give one line for every site.
    """
    baseline.fit(training)
    codec = baseline.codec
    val_bins = bins_of(codec, val.examples)
    threshold = best_threshold(baseline.predict_occupancy(_molecules(val)), val_bins)
    occupancy = baseline.predict_occupancy(_molecules(cohort))
    lines = None
    if baseline.predicts_lines:
        val_lines = _baseline_lines(name, baseline, val)
        lines = _baseline_lines(name, baseline, cohort)
        if lines.sigmas is not None and val_lines.sigmas is not None and len(val_lines.errors):
            ratio = np.quantile(np.abs(val_lines.errors) / val_lines.sigmas, COVERAGE)
            sigmas = lines.sigmas * ratio / COVERAGE_SIGMAS
            lines = LineErrors(lines.errors, sigmas, lines.letters)
    return Competitor(name, len(training), occupancy, threshold, lines)


def occupied_bins(codec: SpectrumCodec, target: Tensor) -> BoolArray:
    """Bins (B, N) that hold a line, from targets (B, K)."""
    return np.asarray(codec.occupied(target).numpy(), dtype=np.bool_)


def bins_of(codec: SpectrumCodec, examples: Sequence[Example]) -> BoolArray:
    """Bins (B, N) that hold a line in the spectra of examples."""
    targets = np.stack([codec.encode(example.spectrum) for example in examples])
    return occupied_bins(codec, torch.from_numpy(targets))


def spectra_errors(
    nucleus: Nucleus, examples: Sequence[Example], predicted: Sequence[Spectrum]
) -> LineErrors:
    """Errors of predicted spectra, for the examples whose spectra are complete.

    Lines are matched as those of the model are: sorted within multiplicities where the letters of
    both sides agree with the structure, else all together.

    Args:
        nucleus: whose lines.
        examples: B molecules with observed spectra.
        predicted: B spectra with one line a site; multiplicities may be left to their atoms.
    """
    errors: list[float] = []
    sigmas: list[float | None] = []
    letters: list[str] = []
    for example, spectrum in zip(examples, predicted, strict=True):
        expected = nucleus.multiplicities(example.molecule)
        if not example.spectrum.is_complete(len(expected)):
            continue
        of_site = dict(zip(nucleus.sites(example.molecule), expected, strict=True))
        ours = [(p.ppm, _letter(p, of_site), p.sigma) for p in spectrum.peaks]
        theirs = [(p.ppm, p.multiplicity) for p in example.spectrum.peaks]
        fits = sorted(letter for _, letter in theirs) == sorted(expected)
        if fits and sorted(letter for _, letter, _ in ours) == sorted(expected):
            ours.sort(key=lambda line: (line[1], line[0]))
            theirs.sort(key=lambda line: (line[1], line[0]))
        errors += [one[0] - other[0] for one, other in zip(ours, theirs, strict=True)]
        sigmas += [line[2] for line in ours]
        letters += [letter if fits and letter else UNKNOWN for _, letter in theirs]
    known = [sigma for sigma in sigmas if sigma is not None]
    return LineErrors(
        np.array(errors),
        np.array(known) if len(known) == len(sigmas) else None,
        np.array(letters, dtype=np.str_),
    )


def _letter(peak: Peak, of_site: dict[int, str]) -> str:
    if peak.multiplicity or len(peak.atoms) != 1:
        return peak.multiplicity
    return of_site.get(peak.atoms[0], "")


def matched_letters(nucleus: Nucleus, examples: Sequence[Example]) -> NDArray[np.str_]:
    """Multiplicity of each line of the complete spectra, in the order of
    `nmrtk.batch.matching_groups`, example by example, (L,).
    """
    letters: list[str] = []
    for example in examples:
        expected = sorted(nucleus.multiplicities(example.molecule))
        if example.spectrum.is_complete(len(expected)):
            fits = sorted(peak.multiplicity for peak in example.spectrum.peaks) == expected
            letters += [letter if fits and letter else UNKNOWN for letter in expected]
    return np.array(letters, dtype=np.str_)


def _baseline_lines(name: str, baseline: Baseline, cohort: Cohort) -> LineErrors:
    spectra = baseline.predict_spectra(_molecules(cohort))
    nucleus = baseline.codec.nucleus
    for example, spectrum in zip(cohort.examples, spectra, strict=True):
        sites = len(nucleus.sites(example.molecule))
        if len(spectrum.peaks) != sites:
            raise PluginError(
                f"the baseline {name!r} predicts {len(spectrum.peaks)} lines for the {sites} "
                f"sites of {example.id}"
            )
    return spectra_errors(nucleus, cohort.examples, spectra)


def _molecules(cohort: Cohort) -> list[Molecule]:
    return [example.molecule for example in cohort.examples]
