"""Atoms seen on their own and with their neighbours, summed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from nmrtk.errors import MoleculeError, UsageError
from nmrtk.interfaces import AtomLines, Encoded, Example, StructureEncoder
from nmrtk.molecule import Molecule
from nmrtk.nucleus import Nucleus

_DESCRIPTORS = 6
_LEAST_SCALE = 0.1
"""Of a line, in ppm: spectra are written to this accuracy."""


@dataclass(frozen=True, slots=True)
class AtomBatch:
    """Atoms of B molecules, one molecule after the other.

    Args:
        atoms: (atoms, descriptors).
        owner: (atoms,), row of the molecule of each atom.
        sites: (A,), places of the atoms that give a line.
        size: B.
    """

    atoms: Tensor
    owner: Tensor
    sites: Tensor
    size: int

    def to(self, device: torch.device) -> AtomBatch:
        """The same on another device."""
        atoms, owner, sites = (x.to(device) for x in (self.atoms, self.owner, self.sites))
        return AtomBatch(atoms, owner, sites, self.size)


class AtomSumEncoder(StructureEncoder):
    """A small network looks at each atom and its neighbours; the features are its sum over atoms.

    Args:
        nucleus: whose lines are predicted.
        hidden: F, the number of features.

    Raises:
        UsageError: `hidden` is not positive.
    """

    predicts_lines = True

    def __init__(self, nucleus: Nucleus, *, hidden: int = 64) -> None:
        super().__init__(nucleus)
        if hidden < 1:
            raise UsageError(f"atom sums: hidden={hidden} must be at least 1")
        self.network = nn.Sequential(
            nn.Linear(2 * _DESCRIPTORS, hidden), nn.GELU(), nn.Linear(hidden, hidden)
        )
        self.line = nn.Linear(hidden, 2)
        self.mean: Tensor
        self.spread: Tensor
        # What `fit` learns is a buffer, so that it is saved with the model.
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("spread", torch.ones(()))

    @property
    def width(self) -> int:
        """F."""
        return self.line.in_features

    def prepare(self, molecule: Molecule) -> tuple[Tensor, list[int]]:
        """Descriptors of each atom and the mean of its neighbours' (atoms, 12); the sites.

        Raises:
            MoleculeError: the molecule has no atoms.
        """
        if molecule.GetNumAtoms() == 0:
            raise MoleculeError("the molecule has no atoms")
        own = torch.tensor(
            [
                [
                    atom.GetAtomicNum() / 10,
                    atom.GetDegree() / 4,
                    atom.GetTotalNumHs() / 3,
                    atom.GetFormalCharge(),
                    float(atom.GetIsAromatic()),
                    float(atom.IsInRing()),
                ]
                for atom in molecule.GetAtoms()
            ]
        )
        around = torch.zeros_like(own)
        for atom in molecule.GetAtoms():
            neighbours = [neighbour.GetIdx() for neighbour in atom.GetNeighbors()]
            if neighbours:
                around[atom.GetIdx()] = own[neighbours].mean(dim=0)
        return torch.cat([own, around], dim=1), self.nucleus.sites(molecule)

    def collate(self, prepared: Sequence[tuple[Tensor, list[int]]]) -> AtomBatch:
        """Join prepared molecules."""
        sizes = [len(atoms) for atoms, _ in prepared]
        starts = [sum(sizes[:row]) for row in range(len(sizes))]
        sites = [start + s for start, (_, own) in zip(starts, prepared, strict=True) for s in own]
        return AtomBatch(
            torch.cat([atoms for atoms, _ in prepared]),
            torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes)),
            torch.tensor(sites, dtype=torch.int64),
            len(sizes),
        )

    def fit(self, examples: Sequence[Example]) -> None:
        """Take mean and spread of the training shifts, in ppm, so that the network starts near.

        Raises:
            UsageError: there are no examples.
        """
        if not examples:
            raise UsageError("atom sums: there are no examples to take the mean shift of")
        shifts = torch.tensor([ppm for example in examples for ppm in example.spectrum.shifts])
        self.mean.copy_(shifts.mean())
        self.spread.copy_(shifts.std(correction=0).clamp(min=_LEAST_SCALE))

    def forward(self, batch: AtomBatch) -> Encoded:
        """Features (B, F) and one line for every site."""
        atoms = self.network(batch.atoms)
        features = atoms.new_zeros(batch.size, self.width).index_add(0, batch.owner, atoms)
        shift, scale = self.line(atoms[batch.sites]).unbind(dim=1)
        lines = AtomLines(
            self.mean + self.spread * shift,
            _LEAST_SCALE + self.spread * softplus(scale),
            batch.owner[batch.sites],
        )
        return Encoded(features, lines)
