"""Figures of merit for codes and lines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class CodeScore:
    """Agreement of predicted with observed occupied bins.

    Args:
        micro_f1: over all bins of all molecules together.
        macro_f1: mean over the bins of the F1 of each; a bin that is neither predicted nor
            observed anywhere counts 0, as in scikit-learn and the seed paper.
        macro_f1_seen: mean over the bins that are observed somewhere.
    """

    micro_f1: float
    macro_f1: float
    macro_f1_seen: float


def score_code(predicted: BoolArray, observed: BoolArray) -> CodeScore:
    """Score bins (B, N) against bins (B, N)."""
    hits = (predicted & observed).sum(0)
    total = predicted.sum(0) + observed.sum(0)
    f1 = np.divide(2.0 * hits, total, out=np.zeros(len(hits)), where=total > 0)
    seen = observed.any(0)
    return CodeScore(
        float(2 * hits.sum() / max(total.sum(), 1)),
        float(f1.mean()),
        float(f1[seen].mean()) if seen.any() else 0.0,
    )


def best_threshold(occupancy: FloatArray, observed: BoolArray) -> float:
    """The threshold on occupancy (B, N) with the highest micro-F1."""
    scores = occupancy.ravel()
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(observed.ravel()[order])
    count = np.arange(1, len(order) + 1)
    f1 = 2 * hits / (count + observed.sum())
    best = int(np.argmax(f1))
    following = scores[order[min(best + 1, len(order) - 1)]]
    return float((scores[order[best]] + following) / 2)
