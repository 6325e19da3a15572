"""Nearest neighbours by Morgan fingerprint."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from nmrtk.errors import UsageError
from nmrtk.interfaces import Baseline, Example, SpectrumCodec
from nmrtk.molecule import Molecule
from nmrtk.spectrum import Spectrum
from nmrtk_baselines.fingerprints import MorganCounts
from nmrtk_baselines.known_lines import KnownLines, spread, spread_lines
from nmrtk_baselines.targets import not_fitted, occupied_bins

# The training mean counts as one more neighbour of this similarity: it answers for molecules
# that resemble nothing and orders the bins that no neighbour occupies.
_MEAN_WEIGHT = 0.01
# Similarities are made for so many molecules at a time: 256 x 20,000 float32 take 20 MB.
_CHUNK = 256


class NearestBaseline(Baseline):
    """Averages the spectra of the nearest training molecules, weighted by Tanimoto similarity.

    Its lines of one multiplicity are the mean of the quantiles of the neighbours' lines of it.

    Args:
        codec: defines the bins.
        radius: of the fingerprint, in bonds.
        bits: length of the fingerprint.
        neighbors: how many training molecules answer for one.
        line_neighbors: how many answer for its lines, of those that have lines of a multiplicity.

    Raises:
        UsageError: an option is out of its range.
    """

    predicts_lines = True

    def __init__(
        self,
        codec: SpectrumCodec,
        *,
        radius: int = 2,
        bits: int = 2048,
        neighbors: int = 10,
        line_neighbors: int = 3,
    ) -> None:
        super().__init__(codec)
        for name, value in (("neighbors", neighbors), ("line_neighbors", line_neighbors)):
            if value < 1:
                raise UsageError(f"{name} is {value}: it must be at least 1")
        self._count = MorganCounts(radius, bits)
        self._neighbors = neighbors
        self._line_neighbors = line_neighbors
        self._lines: KnownLines | None = None
        self._known: tuple[csr_array, NDArray[np.float32]] | None = None

    def fit(self, examples: Sequence[Example]) -> None:
        """Keep fingerprints and spectra of the examples."""
        occupied = occupied_bins(self.codec, examples).astype(np.float32)
        self._known = self._bits([example.molecule for example in examples]), occupied
        self._lines = KnownLines(self.codec.nucleus, examples)

    def predict_occupancy(self, molecules: Sequence[Molecule]) -> NDArray[np.float32]:
        """Share of the neighbours that occupy each bin, (B, N)."""
        if self._known is None:
            raise not_fitted(self)
        fingerprints, occupied = self._known
        neighbors = min(self._neighbors, len(occupied))
        mean = occupied.mean(axis=0)
        scores = np.empty((len(molecules), occupied.shape[1]), np.float32)
        for start in range(0, len(molecules), _CHUNK):
            similarity = _tanimoto(self._bits(molecules[start : start + _CHUNK]), fingerprints)
            nearest = np.argpartition(-similarity, neighbors - 1, axis=1)[:, :neighbors]
            weight = np.take_along_axis(similarity, nearest, axis=1)
            total = np.einsum("bk,bkn->bn", weight, occupied[nearest]) + _MEAN_WEIGHT * mean
            scores[start : start + _CHUNK] = total / (
                weight.sum(axis=1, keepdims=True) + _MEAN_WEIGHT
            )
        # Rounding may leave 1.0000001.
        return np.clip(scores, 0.0, 1.0)

    def predict_spectra(self, molecules: Sequence[Molecule]) -> list[Spectrum]:
        """One line for every site, without atom and sigma."""
        if self._known is None or self._lines is None:
            raise not_fitted(self)
        fingerprints, _ = self._known
        spectra = []
        for start in range(0, len(molecules), _CHUNK):
            chunk = molecules[start : start + _CHUNK]
            for molecule, row in zip(
                chunk, _tanimoto(self._bits(chunk), fingerprints), strict=True
            ):
                shifts = partial(self._shifts, self._lines, row)
                spectra.append(spread_lines(self.codec.nucleus, molecule, shifts))
        return spectra

    def _shifts(
        self, lines: KnownLines, similarity: NDArray[np.float32], letter: str, count: int
    ) -> NDArray[np.float64]:
        """So many shifts of a letter, given the similarities (T,) to all training molecules."""
        has = lines.having(letter)
        order = np.argsort(np.where(has, -similarity, 1.0), kind="stable")
        nearest = [i for i in order[: self._line_neighbors].tolist() if has[i] and similarity[i]]
        if not nearest:
            return lines.usual(letter, count)
        spreads = [spread(lines.spectra[index][letter], count) for index in nearest]
        return np.asarray(np.average(spreads, axis=0, weights=similarity[nearest]))

    def _bits(self, molecules: Sequence[Molecule]) -> csr_array:
        counts = self._count(molecules)
        counts.data = np.ones_like(counts.data)
        return counts


def _tanimoto(queries: csr_array, known: csr_array) -> NDArray[np.float32]:
    """Similarity (Q, T) of binary fingerprints (Q, bits) and (T, bits)."""
    # Sparse by dense touches only the bits that are set, about 40 of 2048 a molecule.
    common = (known @ queries.T.toarray()).T
    either = queries.sum(axis=1)[:, None] + known.sum(axis=1)[None, :] - common
    similarity: NDArray[np.float32] = common / np.maximum(either, 1.0)
    return similarity
