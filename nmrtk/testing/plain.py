"""Plain components, for checks of parts that need others; the plugins have better ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nmrtk.errors import MoleculeError
from nmrtk.interfaces import Encoded, InvertibleBackbone, StructureEncoder
from nmrtk.molecule import Molecule, canonical_smiles
from nmrtk.nucleus import DEFAULT_NUCLEUS, Nucleus
from nmrtk.starters.codec import BinsCodec
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


class PlainCodec(BinsCodec):
    """Bins of equal width, occupied or not: for 13C 44 of 5 ppm from 0, for other nuclei from `low`
    to `high`, at least one of which must be given.
    """


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
