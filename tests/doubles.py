"""Small components in plain torch, so that the core is tested without any plugin."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from nmrtk.errors import MoleculeError, SpectrumError
from nmrtk.interfaces import AtomLines, Encoded, InvertibleBackbone, SpectrumCodec, StructureEncoder
from nmrtk.model import ReversibleModel, feature_width
from nmrtk.nucleus import Nucleus
from nmrtk.spectrum import Spectrum, spectrum_of_shifts


class Counts:
    """A collated batch of atom numbers."""

    def __init__(self, numbers, owners, size, sites):
        self.numbers, self.owners, self.size, self.sites = numbers, owners, size, sites

    def to(self, device):
        return self


class CountingEncoder(StructureEncoder):
    """Sums of an embedding of atomic numbers; a line for every site."""

    predicts_lines = True

    def __init__(self, nucleus: Nucleus, *, dim: int = 8) -> None:
        super().__init__(nucleus)
        self.embedding = nn.Embedding(60, dim)
        self.shift = nn.Linear(dim, 1)

    @property
    def width(self):
        return self.embedding.embedding_dim

    def prepare(self, molecule):
        numbers = [atom.GetAtomicNum() for atom in molecule.GetAtoms()]
        if max(numbers) >= 60:
            raise MoleculeError(f"element {max(numbers)} is too heavy for this encoder")
        return numbers, self.nucleus.sites(molecule)

    def collate(self, prepared):
        owners = [row for row, (numbers, _) in enumerate(prepared) for _ in numbers]
        starts = np.cumsum([0] + [len(numbers) for numbers, _ in prepared])
        sites = [int(starts[row]) + i for row, (_, some) in enumerate(prepared) for i in some]
        numbers = [n for some, _ in prepared for n in some]
        return Counts(*(torch.tensor(x) for x in (numbers, owners)), len(prepared), sites)

    def forward(self, batch):
        atoms = self.embedding(batch.numbers)
        features = atoms.new_zeros(batch.size, self.width).index_add(0, batch.owners, atoms)
        shift = 100 + 10 * self.shift(atoms[batch.sites]).squeeze(1)
        return Encoded(
            features, AtomLines(shift, torch.ones_like(shift), batch.owners[batch.sites])
        )


class FewBins(SpectrumCodec):
    """Four bins of 50 ppm; codes are logits."""

    reads_lines = False
    width = 4
    bin_count = 4

    def encode(self, spectrum: Spectrum):
        if not spectrum.peaks:
            raise SpectrumError("no lines")
        bins = np.clip(np.array(spectrum.shifts) // 50, 0, 3).astype(int)
        return np.isin(np.arange(4), bins).astype(np.float32)

    def loss(self, code, target):
        return -self.log_likelihood(code, target)

    def occupancy(self, code):
        return code.sigmoid()

    def occupied(self, target):
        return target > 0.5

    def embed(self, target):
        return 4 * target - 2

    def log_likelihood(self, code, target):
        return -nn.functional.binary_cross_entropy_with_logits(code, target, reduction="none").sum(
            -1
        )

    def decode(self, code, line_counts):
        order = code.argsort(dim=1, descending=True)
        return [
            spectrum_of_shifts(str(self.nucleus), [25 + 50 * int(b) for b in row[:count]])
            for row, count in zip(order, line_counts, strict=True)
        ]


class Shear(InvertibleBackbone):
    """Adds a function of the code to the free part, then scales the latter."""

    has_log_det = True

    def __init__(self, width: int, code_width: int, condition_width: int) -> None:
        super().__init__(width, code_width, condition_width)
        self.add = nn.Linear(code_width + condition_width, width - code_width)
        self.back = nn.Linear(width - code_width, code_width)
        self.log_scale = nn.Parameter(torch.zeros(width - code_width))

    def _inner(self, code, condition):
        return self.add(code if condition is None else torch.cat([code, condition], dim=1))

    def forward(self, features, condition=None):
        code, free = features[:, : self.code_width], features[:, self.code_width :]
        code = code + self.back(free)
        return torch.cat(
            [code, (free + self._inner(code, condition)) * self.log_scale.exp()], dim=1
        )

    def inverse(self, outputs, condition=None):
        code, free = outputs[:, : self.code_width], outputs[:, self.code_width :]
        free = free * (-self.log_scale).exp() - self._inner(code, condition)
        return torch.cat([code - self.back(free), free], dim=1)

    def forward_with_log_det(self, features, condition=None):
        return self.forward(features, condition), self.log_scale.sum().expand(len(features))


def small_model(condition_width: int, seed: int = 0, nucleus: str = "13C") -> ReversibleModel:
    """A model of the doubles."""
    torch.manual_seed(seed)
    encoder, codec = (part(Nucleus.parse(nucleus)) for part in (CountingEncoder, FewBins))
    width = feature_width(encoder, codec)
    return ReversibleModel(encoder, codec, Shear(width, codec.width, condition_width))
