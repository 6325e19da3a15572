"""Morgan fingerprints as sparse matrices (Rogers and Hahn, J. Chem. Inf. Model. 2010, 50, 742)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator
from scipy.sparse import csr_array

from nmrtk.errors import UsageError
from nmrtk.molecule import Molecule

_RADIUS_LIMIT = 10
_BITS_LIMIT = 1 << 20


class MorganCounts:
    """Counts how often each environment of up to `radius` bonds occurs, folded to `bits`.

    Args:
        radius: in bonds, 0 to 10.
        bits: number of columns, 1 to 1,048,576.

    Raises:
        UsageError: an argument is out of its range.
    """

    def __init__(self, radius: int, bits: int) -> None:
        if not 0 <= radius <= _RADIUS_LIMIT:
            raise UsageError(f"radius is {radius}: it must be from 0 to {_RADIUS_LIMIT}")
        if not 1 <= bits <= _BITS_LIMIT:
            raise UsageError(f"bits is {bits}: it must be from 1 to {_BITS_LIMIT:,}")
        self._bits = bits
        self._generator = GetMorganGenerator(radius=radius, fpSize=bits)

    def __call__(self, molecules: Sequence[Molecule]) -> csr_array:
        """Counts (B, bits), float32."""
        columns: list[int] = []
        counts: list[int] = []
        starts = [0]
        for molecule in molecules:
            nonzero = self._generator.GetCountFingerprint(molecule).GetNonzeroElements()
            columns.extend(nonzero)
            counts.extend(nonzero.values())
            starts.append(len(columns))
        return csr_array(
            (np.array(counts, np.float32), np.array(columns, np.int32), np.array(starts, np.int32)),
            shape=(len(molecules), self._bits),
        )
