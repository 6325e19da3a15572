"""The mean spectrum."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nmrtk.interfaces import Baseline, Example, SpectrumCodec
from nmrtk.molecule import Molecule
from nmrtk.spectrum import Spectrum
from nmrtk_baselines.known_lines import KnownLines, spread_lines
from nmrtk_baselines.targets import not_fitted, occupied_bins


class MeanBaseline(Baseline):
    """Gives every molecule the frequency with which each bin is occupied in training, and lines
    that are spread as all lines of their multiplicity: what is reached without looking at more
    than the number of sites.
    """

    predicts_lines = True

    def __init__(self, codec: SpectrumCodec) -> None:
        super().__init__(codec)
        self._frequency: NDArray[np.float32] | None = None
        self._lines: KnownLines | None = None

    def fit(self, examples: Sequence[Example]) -> None:
        """Count the occupied bins, and keep the lines of complete spectra."""
        self._frequency = occupied_bins(self.codec, examples).mean(axis=0, dtype=np.float32)
        self._lines = KnownLines(self.codec.nucleus, examples)

    def predict_occupancy(self, molecules: Sequence[Molecule]) -> NDArray[np.float32]:
        """The same frequencies (B, N) for all molecules."""
        if self._frequency is None:
            raise not_fitted(self)
        return np.tile(self._frequency, (len(molecules), 1))

    def predict_spectra(self, molecules: Sequence[Molecule]) -> list[Spectrum]:
        """One line for every site, without atom and sigma."""
        if self._lines is None:
            raise not_fitted(self)
        nucleus, usual = self.codec.nucleus, self._lines.usual
        return [spread_lines(nucleus, molecule, usual) for molecule in molecules]
