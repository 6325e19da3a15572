"""Encoders that each break one rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from right_components import (
    SiteBatch,
    SiteEncoder,
    TextEncoder,
)
from torch import Tensor, nn

from nmrtk.interfaces import Encoded, Example
from nmrtk.molecule import Molecule
from nmrtk.nucleus import Nucleus


class PositionalOption(SiteEncoder):
    def __init__(self, nucleus: Nucleus, hidden: int = 8) -> None:
        super().__init__(nucleus, hidden=hidden)


class BareOption(SiteEncoder):
    def __init__(self, nucleus: Nucleus, *, hidden=8) -> None:
        super().__init__(nucleus, hidden=hidden)


class OtherError(SiteEncoder):
    def prepare(self, molecule: Molecule) -> Any:
        if molecule.GetNumAtoms() == 0:
            raise ValueError("no atoms")
        return super().prepare(molecule)


class StopsAtError(SiteEncoder):
    def prepare_many(self, molecules: Sequence[Molecule]) -> list[Any]:
        return [self.prepare(molecule) for molecule in molecules if molecule.GetNumAtoms()]


class TurnsAround(SiteEncoder):
    def prepare_many(self, molecules: Sequence[Molecule]) -> list[Any]:
        found = [*super().prepare_many(molecules)]
        return [*found[:2], *reversed(found[2:])]


class WrongWidth(SiteEncoder):
    def forward(self, batch: SiteBatch) -> Encoded:
        encoded = super().forward(batch)
        return replace(encoded, features=encoded.features[:, 1:])


class NotFinite(SiteEncoder):
    def forward(self, batch: SiteBatch) -> Encoded:
        encoded = super().forward(batch)
        return replace(encoded, features=encoded.features / 0.0)


class BatchCentred(SiteEncoder):
    def forward(self, batch: SiteBatch) -> Encoded:
        encoded = super().forward(batch)
        return replace(encoded, features=encoded.features - encoded.features.mean(dim=0))


class BatchNormed(SiteEncoder):
    def __init__(self, nucleus: Nucleus, *, hidden: int = 8) -> None:
        super().__init__(nucleus, hidden=hidden)
        self.norm = nn.BatchNorm1d(hidden)

    def forward(self, batch: SiteBatch) -> Encoded:
        encoded = super().forward(batch)
        return replace(encoded, features=self.norm(encoded.features))


class RowsSorted(SiteEncoder):
    def forward(self, batch: SiteBatch) -> Encoded:
        encoded = super().forward(batch)
        return replace(encoded, features=encoded.features.sort(dim=0).values)


class AtomOrder(SiteEncoder):
    def forward(self, batch: SiteBatch) -> Encoded:
        encoded = super().forward(batch)
        first = torch.searchsorted(batch.rows, torch.arange(batch.size))
        return replace(encoded, features=encoded.features + batch.atoms[first, 1:2])


class LinesBackwards(SiteEncoder):
    def prepare(self, molecule: Molecule) -> Any:
        atoms, sites = super().prepare(molecule)
        return atoms, sites[::-1]


class LineMissing(SiteEncoder):
    def prepare(self, molecule: Molecule) -> Any:
        atoms, sites = super().prepare(molecule)
        return atoms, sites[1:]


class ScaleNegative(SiteEncoder):
    def forward(self, batch: SiteBatch) -> Encoded:
        encoded = super().forward(batch)
        assert encoded.lines is not None
        return replace(encoded, lines=replace(encoded.lines, scale=-encoded.lines.scale))


class LinesUndeclared(SiteEncoder):
    predicts_lines = False


class FitLost(SiteEncoder):
    def __init__(self, nucleus: Nucleus) -> None:
        super().__init__(nucleus)
        self.offset = 0.0

    def fit(self, examples: Sequence[Example]) -> None:
        super().fit(examples)
        self.offset = 1.0

    def forward(self, batch: SiteBatch) -> Encoded:
        encoded = super().forward(batch)
        return replace(encoded, features=encoded.features + self.offset)


class EncoderDetached(SiteEncoder):
    def forward(self, batch: SiteBatch) -> Encoded:
        encoded = super().forward(batch)
        return Encoded(encoded.features.detach(), encoded.lines and self.cut(encoded.lines))

    @staticmethod
    def cut(lines: Any) -> Any:
        return replace(lines, shift=lines.shift.detach(), scale=lines.scale.detach())


class NoBondsNoFeatures(SiteEncoder):
    def forward(self, batch: SiteBatch) -> Encoded:
        encoded = super().forward(batch)
        bonds = torch.zeros(batch.size).index_add(0, batch.rows, batch.atoms[:, 1])
        return replace(encoded, features=encoded.features / bonds[:, None])


class DecodesBackwards(TextEncoder):
    def decode(self, features: Tensor) -> list[Molecule | None]:
        return super().decode(features)[::-1]


class DecodeFails(TextEncoder):
    def decode(self, features: Tensor) -> list[Molecule | None]:
        return [molecule for molecule in super().decode(features) if molecule is not None]


class PenaltyNegative(TextEncoder):
    def generation_penalty(self, features: Tensor) -> Tensor:
        return -super().generation_penalty(features)


class PenaltyFlat(TextEncoder):
    def generation_penalty(self, features: Tensor) -> Tensor:
        return super().generation_penalty(features).detach()


WRONG_ENCODERS = {
    PositionalOption: "constructor",
    BareOption: "constructor",
    OtherError: "molecule without atoms",
    StopsAtError: "many prepared together",
    TurnsAround: "prepared together or each alone",
    WrongWidth: "shape and type of features",
    NotFinite: "finite features",
    BatchCentred: "row alone and in a batch",
    BatchNormed: "row in a batch and in half of it, training mode",
    RowsSorted: "row alone and in a batch",
    AtomOrder: "features after shuffling the atoms",
    LinesBackwards: "lines after shuffling the atoms",
    LineMissing: "one line a site",
    ScaleNegative: "finite shifts, positive scales",
    LinesUndeclared: "lines only if predicts_lines",
    FitLost: "state_dict round trip",
    EncoderDetached: "gradients reach every parameter",
    NoBondsNoFeatures: "odd molecule C",
    DecodesBackwards: "decode round trip",
    DecodeFails: "decode noise",
    PenaltyNegative: "shape and sign of the generation penalty",
    PenaltyFlat: "gradient of the generation penalty",
}
