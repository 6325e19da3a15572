"""Plain components, for checks of parts that need others; the plugins have better ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from nmrtk.errors import MoleculeError, SpectrumError
from nmrtk.interfaces import Encoded, InvertibleBackbone, SpectrumCodec, StructureEncoder
from nmrtk.molecule import Molecule, canonical_smiles
from nmrtk.nucleus import DEFAULT_NUCLEUS, Nucleus
from nmrtk.spectrum import Peak, Spectrum
from nmrtk.testing.material import examples, molecules

if TYPE_CHECKING:
    from nmrtk.elucidation import Inversion, Query

_QUERY_SMILES = "CCO"


class PlainEncoder(StructureEncoder):
    """A dictionary: gives each of a few molecules a random vector, and decodes to the nearest.

    Args:
        nucleus: not used, since it predicts no lines.
        features: length of the vectors.
    """

    decodes = True

    def __init__(self, nucleus: Nucleus, *, features: int = 64) -> None:
        super().__init__(nucleus)
        self._molecules = molecules()
        self._rows = {canonical_smiles(m): row for row, m in enumerate(self._molecules)}
        generator = torch.Generator().manual_seed(0)
        self.vectors: Tensor
        self.register_buffer(
            "vectors", torch.randn(len(self._molecules), features, generator=generator)
        )

    @property
    def width(self) -> int:
        """Length of the vectors."""
        return self.vectors.shape[1]

    def prepare(self, molecule: Molecule) -> int:
        """Place in the dictionary."""
        row = self._rows.get(canonical_smiles(molecule))
        if row is None:
            raise MoleculeError(f"the dictionary lacks {canonical_smiles(molecule)!r}")
        return row

    def collate(self, prepared: Sequence[int]) -> Tensor:
        """Places (B,), int64."""
        return torch.tensor(prepared, dtype=torch.int64)

    def forward(self, batch: Tensor) -> Encoded:
        """Vectors at the places."""
        return Encoded(self.vectors[batch])

    def decode(self, features: Tensor) -> list[Molecule | None]:
        """Molecules with the nearest vectors."""
        nearest = torch.cdist(features, self.vectors).argmin(dim=1)
        return [self._molecules[row] for row in nearest.tolist()]


class PlainBackbone(InvertibleBackbone):
    """Leaves the features as they are."""

    conditioned = False

    def forward(self, features: Tensor, condition: Tensor | None = None) -> Tensor:
        """The features."""
        return features.clone()

    def inverse(self, outputs: Tensor, condition: Tensor | None = None) -> Tensor:
        """The outputs."""
        return outputs.clone()


class PlainCodec(SpectrumCodec):
    """Bins of equal width, occupied or not; codes are logits. For checks of parts that need a
    codec; the plugins have better ones.

    Args:
        nucleus: whose spectra it takes.
        low: lower end of the first bin in ppm.
        high: upper end of the last bin in ppm; lines beyond the ends fall into the end bins.
        bins: number of bins.
    """

    def __init__(
        self, nucleus: Nucleus, *, low: float = 0.0, high: float = 220.0, bins: int = 44
    ) -> None:
        super().__init__(nucleus)
        self._bins = bins
        self._edges = np.linspace(low, high, bins + 1)

    @property
    def width(self) -> int:
        """Number of bins."""
        return self._bins

    @property
    def bin_count(self) -> int:
        """Number of bins."""
        return self._bins

    def encode(self, spectrum: Spectrum) -> NDArray[np.float32]:
        """Ones where there is a line."""
        if spectrum.nucleus != str(self.nucleus):
            raise SpectrumError(f"the spectrum is of {spectrum.nucleus}, not {self.nucleus}")
        if not spectrum.peaks:
            raise SpectrumError("the spectrum has no lines")
        target = np.zeros(self._bins, np.float32)
        target[np.searchsorted(self._edges[1:-1], spectrum.shifts, side="right")] = 1.0
        return target

    def loss(self, code: Tensor, target: Tensor) -> Tensor:
        """Binary cross-entropy, (B,)."""
        return -self.log_likelihood(code, target) / self._bins

    def occupancy(self, code: Tensor) -> Tensor:
        """Sigmoid of the code."""
        return torch.sigmoid(code)

    def occupied(self, target: Tensor) -> Tensor:
        """Where the target is set."""
        return target > 0.5

    def embed(self, target: Tensor) -> Tensor:
        """Logits of 0.98 and 0.02."""
        return (2.0 * target - 1.0) * 4.0

    def log_likelihood(self, code: Tensor, target: Tensor) -> Tensor:
        """Sum over independent bins."""
        code, target = torch.broadcast_tensors(code, target)
        return -binary_cross_entropy_with_logits(code, target, reduction="none").sum(dim=-1)

    def decode(self, code: Tensor, line_counts: Sequence[int]) -> list[Spectrum]:
        """Lines in the middle of the bins above even odds, in turn, likeliest first."""
        centres = (self._edges[1:] + self._edges[:-1]) / 2
        sigma = float(self._edges[1] - self._edges[0])
        spectra = []
        for row, count in zip(code, line_counts, strict=True):
            occupied = max(1, int((row > 0).sum()))
            best = torch.argsort(row, descending=True)[:occupied].tolist()
            places = [best[i % occupied] for i in range(count)]
            peaks = tuple(Peak(float(centres[place]), sigma=sigma) for place in places)
            spectra.append(Spectrum(str(self.nucleus), peaks))
        return spectra


def plain_query() -> Query:
    """The lines and the formula of ethanol."""
    from nmrtk.elucidation import Query
    from nmrtk.formula import Formula

    found = next(e for e in examples(Nucleus.parse(DEFAULT_NUCLEUS)) if e.id == _QUERY_SMILES)
    return Query(found.id, found.spectrum, Formula.of_molecule(found.molecule))


def plain_inversion() -> Inversion:
    """A model of the plain parts, run backwards for `plain_query`."""
    from nmrtk.elucidation import Inversion
    from nmrtk.model import ReversibleModel

    nucleus = Nucleus.parse(DEFAULT_NUCLEUS)
    encoder, codec = PlainEncoder(nucleus), PlainCodec(nucleus)
    model = ReversibleModel(encoder, codec, PlainBackbone(encoder.width, codec.width, 0)).eval()
    query = plain_query()
    target = torch.from_numpy(codec.encode(query.spectrum))
    return Inversion(model, target, {query.formula: 1.0} if query.formula else {}, seed=0)
