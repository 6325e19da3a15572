"""A fixed description of a molecule: how often which atom environments occur."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from rdkit.Chem import rdFingerprintGenerator
from torch import Tensor, nn
from torch.nn import functional

from nmrtk.molecule import Molecule

ENVIRONMENTS = 1024
"""Number of places that environments are hashed to."""

# Environments that cover the same bonds are kept: a count then depends on nothing but the atoms
# around each atom, at radius 0, 1 and 2.
_GENERATOR = rdFingerprintGenerator.GetMorganGenerator(
    radius=2, fpSize=ENVIRONMENTS, includeRedundantEnvironments=True
)
# Directions in which training molecules differ by less than this must not be blown up: a new
# environment changes a root by 1.
_LEAST_VARIANCE = 0.001
_FIT_ROWS = 2048


def environment_counts(molecule: Molecule) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Places of the environments that occur, ascending, and how often they do."""
    found = sorted(_GENERATOR.GetCountFingerprint(molecule).GetNonzeroElements().items())
    places, counts = np.array(found, dtype=np.int64).reshape(-1, 2).T
    return places.astype(np.int16), np.minimum(counts, np.iinfo(np.int16).max).astype(np.int16)


class EnvironmentDescriptor(nn.Module):
    """Principal components of the square roots of environment counts, at unit variance.

    They have no weights that a loss could drive to a point, and they can be read: the
    pseudo-inverse of the projection gives back approximate counts. Before `fit` the projection is
    random.

    Args:
        width: number of components.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        projection = torch.randn(ENVIRONMENTS, width, generator=generator)
        self.projection: Tensor
        self.offset: Tensor
        self.register_buffer("projection", projection / ENVIRONMENTS**0.5)
        self.register_buffer("offset", torch.zeros(width))

    def forward(self, places: Tensor, starts: Tensor, roots: Tensor) -> Tensor:
        """Descriptors (B, width) of molecules whose environments stand one after the other.

        Args:
            places: (H,), int64.
            starts: (B,), int64, where those of each molecule begin.
            roots: (H,), square roots of the counts.
        """
        sums = functional.embedding_bag(
            places, self.projection, starts, mode="sum", per_sample_weights=roots
        )
        return sums - self.offset

    def fit(self, molecules: Sequence[tuple[NDArray[np.int16], NDArray[np.int16]]]) -> None:
        """Set the projection from the `environment_counts` of training molecules."""
        width = self.projection.shape[1]
        total = np.zeros(ENVIRONMENTS)
        squares = np.zeros((ENVIRONMENTS, ENVIRONMENTS))
        for start in range(0, len(molecules), _FIT_ROWS):
            chunk = molecules[start : start + _FIT_ROWS]
            roots = np.zeros((len(chunk), ENVIRONMENTS), dtype=np.float32)
            for row, (places, counts) in zip(roots, chunk, strict=True):
                row[places] = np.sqrt(counts)
            total += roots.sum(0)
            squares += roots.T @ roots
        mean = total / len(molecules)
        variance, axes = np.linalg.eigh(squares / len(molecules) - np.outer(mean, mean))
        variance, axes = variance[::-1][:width], axes[:, ::-1][:, :width]
        projection = axes / np.sqrt(np.maximum(variance, _LEAST_VARIANCE))
        self.projection.copy_(torch.from_numpy(projection))
        self.offset.copy_(torch.from_numpy(mean @ projection))
