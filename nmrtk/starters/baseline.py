"""Spectra of molecules of the same size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from nmrtk.errors import UsageError
from nmrtk.interfaces import Baseline, Example, SpectrumCodec
from nmrtk.molecule import Molecule


class SizeBaseline(Baseline):
    """How often each bin is occupied in the training molecules whose number of sites is nearest.

    What is reached by counting atoms alone.

    Args:
        codec: defines the bins.
        neighbours: number of training molecules.

    Raises:
        UsageError: `neighbours` is not positive.
    """

    def __init__(self, codec: SpectrumCodec, *, neighbours: int = 50) -> None:
        super().__init__(codec)
        if neighbours < 1:
            raise UsageError(f"sizes: neighbours={neighbours} must be at least 1")
        self.neighbours = neighbours
        self._sizes = np.zeros(0, np.int64)
        self._occupied = np.zeros((0, codec.bin_count), np.float32)

    def fit(self, examples: Sequence[Example]) -> None:
        """Keep size and occupied bins of every example.

        Raises:
            UsageError: there are none.
        """
        if not examples:
            raise UsageError("there is nothing to learn from: give it a training split")
        self._sizes = np.array([self._size(example.molecule) for example in examples])
        targets = np.stack([self.codec.encode(example.spectrum) for example in examples])
        self._occupied = self.codec.occupied(torch.from_numpy(targets)).numpy().astype(np.float32)

    def predict_occupancy(self, molecules: Sequence[Molecule]) -> NDArray[np.float32]:
        """Frequencies (B, N).

        Raises:
            UsageError: `fit` has not been called.
        """
        if not len(self._sizes):
            raise UsageError(f"{type(self).__name__} has learned nothing yet: call fit first")
        scores = np.zeros((len(molecules), self.codec.bin_count), np.float32)
        for row, molecule in enumerate(molecules):
            distance = np.abs(self._sizes - self._size(molecule))
            nearest = np.argsort(distance, kind="stable")[: self.neighbours]
            scores[row] = self._occupied[nearest].mean(axis=0)
        return scores

    def _size(self, molecule: Molecule) -> int:
        return len(self.codec.nucleus.sites(molecule))
