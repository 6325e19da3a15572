"""Fit how far measured lines lie from predicted ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from nmrtk.score_settings import ScoreSettings

_LEAST_SCALE = 1e-3

Floats = NDArray[np.float64]


def fit_errors(errors: Floats, scales: Floats, settings: ScoreSettings) -> ScoreSettings:
    """Fit how far lines lie from their predictions: the scale of most, share and scale of the
    others, by maximum likelihood.

    Args:
        errors: (L,), predicted minus observed shift in ppm.
        scales: (L,), predicted Laplace scales in ppm.
        settings: all other numbers.
    """
    if not len(errors):
        return settings
    size, scales = np.abs(errors), np.maximum(scales, _LEAST_SCALE)

    def surprise(parameters: Floats) -> float:
        factor, share, wide = _unpack(parameters)
        width = scales * factor
        near = np.log1p(-share) - size / width - np.log(2 * width)
        far = np.log(share) - size / wide - np.log(2 * wide)
        return float(-np.logaddexp(near, far).mean())

    best = minimize(surprise, np.array([0.0, -3.0, 1.5]), method="Nelder-Mead").x
    factor, share, wide = _unpack(best)
    return replace(settings, scale_factor=factor, outlier_share=share, outlier_scale_ppm=wide)


def _unpack(parameters: Floats) -> tuple[float, float, float]:
    """Factor, share and scale from numbers without bounds."""
    factor, share, wide = np.clip(parameters, -8, 8).tolist()
    return float(np.exp(factor)), float(1 / (1 + np.exp(-share))), float(np.exp(wide))
