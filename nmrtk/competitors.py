"""Baselines in an evaluation: fitted, tuned on val, measured on the model's molecules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from nmrtk.calibration import COVERAGE, COVERAGE_SIGMAS
from nmrtk.cohort import Cohort
from nmrtk.errors import PluginError
from nmrtk.interfaces import Baseline, Example, SpectrumCodec
from nmrtk.line_errors import spectra_errors
from nmrtk.scoring import BoolArray, FloatArray, best_threshold
from nmrtk.spectrum import Spectrum


@dataclass(frozen=True, slots=True)
class Competitor:
    """What a fitted baseline predicts for a cohort.

    Args:
        name: the baseline's.
        learned_from: number of examples that it was given.
        occupancy: (B, N).
        threshold: on occupancy, for the best micro-F1 on val.
        spectra: B, with sigmas calibrated on val where it gives any; None where it predicts no
            lines.
        assigned_spectra: the same for the molecules whose lines are assigned.
    """

    name: str
    learned_from: int
    occupancy: FloatArray
    threshold: float
    spectra: list[Spectrum] | None = None
    assigned_spectra: list[Spectrum] | None = None


def measure_baseline(
    name: str,
    baseline: Baseline,
    training: Sequence[Example],
    val: Cohort,
    cohort: Cohort,
    assigned: Sequence[Example] = (),
) -> Competitor:
    """Fit a baseline, tune its threshold and sigmas on val, and predict the cohort.

    Args:
        name: the baseline's.
        baseline: to fit.
        training: what it learns from.
        val: what it is tuned on.
        cohort: what it is measured on.
        assigned: examples with assigned lines, for which it predicts spectra too.

    Raises:
        UsageError: the baseline cannot learn from these examples.
        PluginError: it does not give one line for every site.
    """
    baseline.fit(training)
    codec = baseline.codec
    val_bins = bins_of(codec, val.examples)
    threshold = best_threshold(baseline.predict_occupancy(val.molecules), val_bins)
    occupancy = baseline.predict_occupancy(cohort.molecules)
    competitor = Competitor(name, len(training), occupancy, threshold)
    if not baseline.predicts_lines:
        return competitor
    tuning = spectra_errors(codec.nucleus, val.examples, _predict(name, baseline, val.examples))
    factor = 1.0
    if tuning.sigmas is not None and len(tuning):
        ratio = np.quantile(np.abs(tuning.errors) / tuning.sigmas, COVERAGE)
        factor = float(ratio) / COVERAGE_SIGMAS
    spectra, assigned_spectra = (
        [_with_sigmas(spectrum, factor) for spectrum in _predict(name, baseline, examples)]
        for examples in (cohort.examples, assigned)
    )
    return replace(competitor, spectra=spectra, assigned_spectra=assigned_spectra)


def occupied_bins(codec: SpectrumCodec, target: Tensor) -> BoolArray:
    """Bins (B, N) that hold a line, from targets (B, K)."""
    return np.asarray(codec.occupied(target).numpy(), dtype=np.bool_)


def bins_of(codec: SpectrumCodec, examples: Sequence[Example]) -> BoolArray:
    """Bins (B, N) that hold a line in the spectra of examples."""
    targets = np.stack([codec.encode(example.spectrum) for example in examples])
    return occupied_bins(codec, torch.from_numpy(targets))


def _predict(name: str, baseline: Baseline, examples: Sequence[Example]) -> list[Spectrum]:
    spectra = baseline.predict_spectra([example.molecule for example in examples])
    for example, spectrum in zip(examples, spectra, strict=True):
        sites = len(baseline.codec.nucleus.sites(example.molecule))
        if len(spectrum.peaks) != sites:
            raise PluginError(
                f"the baseline {name!r} predicts {len(spectrum.peaks)} lines for the {sites} "
                f"sites of {example.id}"
            )
    return spectra


def _with_sigmas(spectrum: Spectrum, factor: float) -> Spectrum:
    """The same with its sigmas, where it has any, times a factor."""
    peaks = (
        peak if peak.sigma is None else replace(peak, sigma=factor * peak.sigma)
        for peak in spectrum.peaks
    )
    return replace(spectrum, peaks=tuple(peaks))
