"""The encoder `adjacency`."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from rdkit import Chem
from torch import Tensor

from nmrtk.errors import UsageError
from nmrtk.interfaces import Encoded, Example, StructureEncoder
from nmrtk.molecule import Molecule, smiles_and_order
from nmrtk.nucleus import Nucleus
from nmrtk_adjacency.tensor import AROMATIC_PLANE, BOND_ENTRIES, WIDTH, AdjacencyTensor


class AdjacencyEncoder(StructureEncoder):
    """The bonds of up to 17 heavy atoms as 4 x 16 x 16 zeros and ones, flat, F = 1024.

    Planes of single, double, triple and aromatic bonds hold the strict upper triangle of the
    17 x 17 adjacency matrix: row i, column k - 1 is the bond of atoms i < k. Source: Kuhn et al.,
    arXiv 2602.03875. With more than one element, entries that are 0 in the seed hold elements,
    charges of 1 and -1, and hydrogens of aromatic atoms. Stereo and isotopes are left out; all
    else is kept, or the molecule refused. A molecule without bonds, such as methane, is refused:
    its tensor would be that of no molecule.

    Args:
        nucleus: of no influence.
        order: `file` keeps the atoms' order, `canonical` is that of the canonical SMILES, `random`
            a fixed shuffle of the canonical one, another for each molecule.
        order_seed: of the shuffles.
        elements: allowed ones, joined by commas. The first needs no entry.
        threshold: value above which an entry counts as 1 in `decode`. The seed cuts at 0, where
            rounding noise of 1e-7 turns half of the zeros into ones.
        range_weight: weight of the range term of `generation_penalty`.
        sparsity_weight: weight of its sparsity term.
        density_weight: weight of its density term.

    Raises:
        UsageError: an option is out of range.

    Example:
        >>> from nmrtk.molecule import canonical_smiles, parse_smiles
        >>> encoder = AdjacencyEncoder(Nucleus.parse("13C"), elements="C,O")
        >>> batch = encoder.collate([encoder.prepare(parse_smiles("OCC"))])
        >>> canonical_smiles(encoder.decode(encoder(batch).features)[0])
        'CCO'
    """

    decodes = True

    mean_bonds: Tensor

    def __init__(
        self,
        nucleus: Nucleus,
        *,
        order: Literal["file", "canonical", "random"] = "file",
        order_seed: int = 0,
        elements: str = "C",
        threshold: float = 0.5,
        range_weight: float = 1.0,
        sparsity_weight: float = 1.0,
        density_weight: float = 1.0,
    ) -> None:
        super().__init__(nucleus)
        if order not in ("file", "canonical", "random"):
            raise UsageError(
                f"adjacency: order is {order!r}, allowed are 'file', 'canonical' and 'random'"
            )
        if order_seed < 0:
            raise UsageError(f"adjacency: order_seed is {order_seed}, it cannot be negative")
        if not 0 < threshold < 1:
            raise UsageError(f"adjacency: threshold is {threshold:g}, it must be between 0 and 1")
        for name, weight in (
            ("range_weight", range_weight),
            ("sparsity_weight", sparsity_weight),
            ("density_weight", density_weight),
        ):
            if not (math.isfinite(weight) and weight >= 0):
                raise UsageError(f"adjacency: {name} is {weight:g}, it must be at least 0")
        self.order = order
        self.order_seed = order_seed
        self.tensor = AdjacencyTensor([symbol.strip() for symbol in elements.split(",")])
        self.threshold = threshold
        self.range_weight = range_weight
        self.sparsity_weight = sparsity_weight
        self.density_weight = density_weight
        self.register_buffer("mean_bonds", torch.tensor(math.nan))

    @property
    def width(self) -> int:
        """F, 1024."""
        return WIDTH

    @property
    def order_invariant(self) -> bool:
        """Whether features do not depend on the order of the atoms."""
        return self.order != "file"

    def prepare(self, molecule: Molecule) -> NDArray[np.int16]:
        """Positions of the ones.

        Raises:
            MoleculeError: more than 17 heavy atoms, another element, charge or type of bond, a
                radical, several parts, or no bond.
        """
        self.tensor.require_size(molecule)
        return self.tensor.entries(molecule, self._rank(molecule))

    def collate(self, prepared: Sequence[NDArray[np.int16]]) -> Tensor:
        """Zeros and ones (B, F)."""
        batch = torch.zeros(len(prepared), WIDTH)
        rows = np.repeat(np.arange(len(prepared)), [len(entries) for entries in prepared])
        if len(prepared):
            batch[rows, np.concatenate(prepared).astype(np.int64)] = 1.0
        return batch

    def forward(self, batch: Tensor) -> Encoded:
        """The batch itself, (B, F)."""
        return Encoded(batch)

    def fit(self, examples: Sequence[Example]) -> None:
        """Take the mean number of bonds, for the density term of `generation_penalty`.

        Raises:
            UsageError: there are no examples.
        """
        if not examples:
            raise UsageError("adjacency: the number of bonds cannot be fitted without molecules")
        mean = sum(example.molecule.GetNumBonds() for example in examples) / len(examples)
        self.mean_bonds.fill_(mean)

    def decode(self, features: Tensor) -> list[Molecule | None]:
        """Molecules of features (B, F), None where they stand for no valid one.

        Where several entries of a pair of atoms are above the threshold, the greatest counts.
        Atoms without a bond do not exist. None is returned where nothing is bonded, a valence is
        broken, aromatic bonds make no aromatic ring, or the bonds do not hang together.
        """
        rows = features.detach().float().cpu().numpy()
        return [self.tensor.molecule(row, self.threshold) for row in rows]

    def bond_counts(self, features: Tensor) -> Tensor:
        """Numbers of bonds and of aromatic bonds (B, 2) in features (B, F), counted as `decode`
        does, but also where no valid molecule results.
        """
        greatest, kind = features[:, BOND_ENTRIES].max(dim=1)
        bonded = greatest > self.threshold
        aromatic = bonded & (kind == AROMATIC_PLANE)
        return torch.stack([bonded.sum(dim=1), aromatic.sum(dim=1)], dim=1)

    def generation_penalty(self, features: Tensor) -> Tensor:
        """How far features (B, F) are from those of structures, (B,), as in the seed.

        The sum of three terms, each with its weight: range, the mean squared distance of entries
        from [0, 1]; sparsity, their mean magnitude; density, the squared difference between the
        share of bond entries in use, and that of the training molecules.

        Raises:
            UsageError: `fit` has not been called.
        """
        if torch.isnan(self.mean_bonds):
            raise UsageError("adjacency: the density penalty needs `fit` on training molecules")
        clipped = features.clamp(0.0, 1.0)
        outside = (features - clipped).square().mean(1)
        magnitude = features.abs().mean(1)
        share = clipped[:, BOND_ENTRIES.ravel()].mean(1)
        density = (share - self.mean_bonds / BOND_ENTRIES.size).square()
        return (
            self.range_weight * outside
            + self.sparsity_weight * magnitude
            + self.density_weight * density
        )

    def _rank(self, molecule: Molecule) -> list[int]:
        """The place of each atom in the tensor."""
        if self.order == "file":
            return list(range(molecule.GetNumAtoms()))
        plain = Chem.Mol(molecule)
        Chem.RemoveStereochemistry(plain)
        smiles, order = smiles_and_order(plain)
        if self.order == "random":
            shuffle = np.random.default_rng([self.order_seed, zlib.crc32(smiles.encode())])
            order = shuffle.permutation(order).tolist()
        rank: list[int] = np.argsort(order).tolist()
        return rank
