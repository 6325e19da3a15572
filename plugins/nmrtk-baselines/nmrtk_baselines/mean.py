"""The mean spectrum."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nmrtk.interfaces import Baseline, Example, SpectrumCodec
from nmrtk.molecule import Molecule
from nmrtk_baselines.targets import not_fitted, occupied_bins


class MeanBaseline(Baseline):
    """Gives every molecule the frequency with which each bin is occupied in training: what is
    reached without looking at the molecule.
    """

    def __init__(self, codec: SpectrumCodec) -> None:
        super().__init__(codec)
        self._frequency: NDArray[np.float32] | None = None

    def fit(self, examples: Sequence[Example]) -> None:
        """Count the occupied bins."""
        self._frequency = occupied_bins(self.codec, examples).mean(axis=0, dtype=np.float32)

    def predict_occupancy(self, molecules: Sequence[Molecule]) -> NDArray[np.float32]:
        """The same frequencies (B, N) for all molecules."""
        if self._frequency is None:
            raise not_fitted(self)
        return np.tile(self._frequency, (len(molecules), 1))
