"""Linear regression on Morgan counts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from nmrtk.errors import UsageError
from nmrtk.interfaces import Baseline, Example, SpectrumCodec
from nmrtk.molecule import Molecule
from nmrtk_baselines.fingerprints import MorganCounts
from nmrtk_baselines.targets import not_fitted, occupied_bins


class LinearBaseline(Baseline):
    """Ridge regression of the occupied bins on Morgan counts.

    Args:
        codec: defines the bins.
        radius: of the fingerprint, in bonds.
        bits: length of the fingerprint.
        alpha: strength of the ridge penalty.

    Raises:
        UsageError: an option is out of its range.
    """

    def __init__(
        self, codec: SpectrumCodec, *, radius: int = 2, bits: int = 2048, alpha: float = 100.0
    ) -> None:
        super().__init__(codec)
        # Zero is refused because bits that never occur would make the system singular.
        if not 0.0 < alpha < np.inf:
            raise UsageError(f"alpha is {alpha:g}: it must be a positive number")
        self._count = MorganCounts(radius, bits)
        self._alpha = alpha
        self._ridge: Ridge | None = None

    def fit(self, examples: Sequence[Example]) -> None:
        """Solve the ridge regression for all bins at once."""
        occupied = occupied_bins(self.codec, examples).astype(np.float32)
        counts = self._count([example.molecule for example in examples]).toarray()
        # One Cholesky factorisation serves all bins; sparse solvers would take one run a bin.
        self._ridge = Ridge(alpha=self._alpha, solver="cholesky").fit(counts, occupied)

    def predict_occupancy(self, molecules: Sequence[Molecule]) -> NDArray[np.float32]:
        """Predicted values (B, N), cut to 0..1."""
        if self._ridge is None:
            raise not_fitted(self)
        if not molecules:
            return np.zeros((0, self.codec.bin_count), np.float32)
        predicted = self._ridge.predict(self._count(molecules)).reshape(len(molecules), -1)
        scores: NDArray[np.float32] = np.clip(predicted, 0.0, 1.0).astype(np.float32)
        return scores
