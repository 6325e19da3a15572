"""The smallest components that keep the contracts. Wrong ones derive from them."""

from __future__ import annotations

import gzip
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nmrtk.elucidation import Inversion, Query
from nmrtk.errors import ConfigurationError, DataError, MoleculeError, NmrtkError, UsageError
from nmrtk.interfaces import (
    AtomLines,
    BadRecord,
    Baseline,
    CandidateGenerator,
    Encoded,
    Example,
    InvertibleBackbone,
    PretrainedModel,
    Reader,
    Record,
    SpectrumCodec,
    StructureEncoder,
)
from nmrtk.molecule import Molecule, canonical_smiles, parse_smiles
from nmrtk.nucleus import Nucleus
from nmrtk.spectrum import Peak, Spectrum, spectrum_of_shifts


@dataclass
class SiteBatch:
    atoms: Tensor
    rows: Tensor
    sites: Tensor
    size: int


class SiteEncoder(StructureEncoder):
    """Sums transformed atoms; a line for every site."""

    predicts_lines = True

    def __init__(self, nucleus: Nucleus, *, hidden: int = 8) -> None:
        super().__init__(nucleus)
        self.embed = nn.Linear(4, hidden)
        self.head = nn.Linear(hidden, 2)
        self.register_buffer("centre", torch.zeros(()))

    @property
    def width(self) -> int:
        return self.embed.out_features

    def prepare(self, molecule: Molecule) -> tuple[Tensor, list[int]]:
        if molecule.GetNumAtoms() == 0:
            raise MoleculeError("the molecule has no atoms")
        rows = [
            [
                atom.GetAtomicNum() / 10,
                atom.GetDegree() / 4,
                atom.GetTotalNumHs() / 4,
                sum(neighbor.GetAtomicNum() for neighbor in atom.GetNeighbors()) / 20,
            ]
            for atom in molecule.GetAtoms()
        ]
        return torch.tensor(rows), self.nucleus.sites(molecule)

    def collate(self, prepared: Sequence[tuple[Tensor, list[int]]]) -> SiteBatch:
        sizes = [len(atoms) for atoms, _ in prepared]
        starts = np.cumsum([0, *sizes[:-1]]).tolist()
        sites = [start + i for start, (_, own) in zip(starts, prepared, strict=True) for i in own]
        rows = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
        atoms = torch.cat([atoms for atoms, _ in prepared])
        return SiteBatch(atoms, rows, torch.tensor(sites, dtype=torch.int64), len(sizes))

    def fit(self, examples: Sequence[Example]) -> None:
        shifts = [shift for example in examples for shift in example.spectrum.shifts]
        self.centre.fill_(float(np.mean(shifts)))

    def forward(self, batch: SiteBatch) -> Encoded:
        hidden = torch.tanh(self.embed(batch.atoms))
        features = hidden.new_zeros(batch.size, self.width).index_add(0, batch.rows, hidden)
        shift, scale = self.head(hidden[batch.sites]).unbind(dim=1)
        lines = AtomLines(shift * self.centre, scale.exp(), batch.rows[batch.sites])
        return Encoded(features, lines)


class TextEncoder(StructureEncoder):
    """The letters of the canonical SMILES; decodes."""

    decodes = True

    def __init__(self, nucleus: Nucleus, *, letters: int = 24) -> None:
        super().__init__(nucleus)
        self.letters = letters

    @property
    def width(self) -> int:
        return self.letters

    def prepare(self, molecule: Molecule) -> Tensor:
        text = canonical_smiles(molecule).encode()
        if not 0 < len(text) <= self.letters:
            raise MoleculeError(f"the SMILES has {len(text)} letters, allowed: {self.letters}")
        return torch.tensor([*text, *[0] * (self.letters - len(text))]) / 128

    def collate(self, prepared: Sequence[Tensor]) -> Tensor:
        return torch.stack(list(prepared))

    def forward(self, batch: Tensor) -> Encoded:
        return Encoded(batch)

    def decode(self, features: Tensor) -> list[Molecule | None]:
        found: list[Molecule | None] = []
        for row in (features * 128).round().clamp(0, 127).to(torch.uint8):
            try:
                found.append(parse_smiles(bytes(row.tolist()).decode().rstrip("\0")))
            except NmrtkError:
                found.append(None)
        return found

    def generation_penalty(self, features: Tensor) -> Tensor:
        return (features - features.clamp(0, 1)).square().sum(dim=1)


class CouplingBackbone(InvertibleBackbone):
    """Scaling, and one additive coupling in each direction."""

    has_log_det = True

    def __init__(
        self, width: int, code_width: int, condition_width: int, *, hidden: int = 12
    ) -> None:
        super().__init__(width, code_width, condition_width)
        if width % 2:
            raise ConfigurationError(f"the width {width} is odd")
        self.scale = nn.Parameter(torch.zeros(width))
        self.left = self.block(hidden)
        self.right = self.block(hidden)

    def block(self, hidden: int) -> nn.Sequential:
        half = self.width // 2
        first = nn.Linear(half + self.condition_width, hidden)
        return nn.Sequential(first, nn.Tanh(), nn.Linear(hidden, half))

    def move(self, block: nn.Module, half: Tensor, condition: Tensor | None) -> Tensor:
        return block(half if condition is None else torch.cat([half, condition], dim=1))

    def forward(self, features: Tensor, condition: Tensor | None = None) -> Tensor:
        first, second = (features * self.scale.exp()).chunk(2, dim=1)
        second = second + self.move(self.left, first, condition)
        first = first + self.move(self.right, second, condition)
        return torch.cat([first, second], dim=1)

    def inverse(self, outputs: Tensor, condition: Tensor | None = None) -> Tensor:
        first, second = outputs.chunk(2, dim=1)
        first = first - self.move(self.right, second, condition)
        second = second - self.move(self.left, first, condition)
        return torch.cat([first, second], dim=1) * (-self.scale).exp()

    def forward_with_log_det(
        self, features: Tensor, condition: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        return self(features, condition), self.scale.sum().expand(len(features))


class LatticeBackbone(InvertibleBackbone):
    """Additive coupling on multiples of 2^-16, or 2^-36 for float64, that end at 128."""

    has_log_det = True
    conditioned = False
    on_lattice = True

    def __init__(self, width: int, code_width: int, condition_width: int) -> None:
        super().__init__(width, code_width, condition_width)
        self.left = nn.Parameter(torch.zeros(width // 2))
        self.right = nn.Parameter(torch.zeros(width // 2))

    def round(self, values: Tensor, dtype: torch.dtype) -> Tensor:
        fine = 2.0**16 if dtype == torch.float32 else 2.0**36
        return values + ((values * fine).round() / fine - values).detach()

    def wrap(self, values: Tensor) -> Tensor:
        return values - 256 * torch.floor((values + 128) / 256).detach()

    def move(self, gain: Tensor, half: Tensor, dtype: torch.dtype) -> Tensor:
        return self.wrap(self.round(gain * half, dtype))

    def forward(self, features: Tensor, condition: Tensor | None = None) -> Tensor:
        values, dtype = features.double(), features.dtype
        first, second = self.wrap(self.round(values, dtype)).chunk(2, dim=1)
        second = self.wrap(second + self.move(self.left, first, dtype))
        first = self.wrap(first + self.move(self.right, second, dtype))
        return torch.cat([first, second], dim=1).to(dtype)

    def inverse(self, outputs: Tensor, condition: Tensor | None = None) -> Tensor:
        values, dtype = outputs.double(), outputs.dtype
        first, second = self.wrap(self.round(values, dtype)).chunk(2, dim=1)
        first = self.wrap(first - self.move(self.right, second, dtype))
        second = self.wrap(second - self.move(self.left, first, dtype))
        return torch.cat([first, second], dim=1).to(dtype)

    def forward_with_log_det(
        self, features: Tensor, condition: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        return self(features, condition), features.new_zeros(len(features))


class SiteCountBaseline(Baseline):
    """Every bin as often as in training; lines in a row."""

    predicts_lines = True

    def __init__(self, codec: SpectrumCodec, *, step: float = 5.0) -> None:
        super().__init__(codec)
        self.step = step
        self.frequency: NDArray[np.float32] | None = None

    def fit(self, examples: Sequence[Example]) -> None:
        if not examples:
            raise UsageError("nothing to learn from")
        targets = np.stack([self.codec.encode(example.spectrum) for example in examples])
        occupied = self.codec.occupied(torch.from_numpy(targets))
        self.frequency = occupied.float().mean(dim=0).numpy()

    def predict_occupancy(self, molecules: Sequence[Molecule]) -> NDArray[np.float32]:
        if self.frequency is None:
            raise UsageError("call fit first")
        return np.tile(self.frequency, (len(molecules), 1))

    def predict_spectra(self, molecules: Sequence[Molecule]) -> list[Spectrum]:
        nucleus = self.codec.nucleus
        return [
            Spectrum(
                str(nucleus),
                tuple(
                    Peak(self.step * site, atoms=(site,), sigma=self.step)
                    for site in nucleus.sites(molecule)
                ),
            )
            for molecule in molecules
        ]


class LineReader(Reader):
    """`!toy`, then lines of SMILES, nucleus and shifts."""

    def recognizes(self, path: Path, head: bytes) -> bool:
        return head.startswith(b"!toy")

    def text(self, path: Path) -> str:
        try:
            content = path.read_bytes()
            if content.startswith(b"\x1f\x8b"):
                content = gzip.decompress(content)
            return content.decode()
        except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
            raise DataError(f"{path} cannot be read: {error}") from error

    def read(self, path: Path, nucleus: Nucleus) -> Iterator[Record | BadRecord]:
        lines = self.text(path).splitlines()
        if not lines or lines[0] != "!toy":
            raise DataError(f"{path} does not begin with !toy")
        for number, line in enumerate(lines[1:], start=2):
            yield self.entry(f"line {number}", line)

    def entry(self, position: str, line: str) -> Record | BadRecord:
        smiles, name, *shifts = line.split()
        try:
            spectrum = spectrum_of_shifts(name, map(float, shifts))
            return Record(position, smiles, parse_smiles(smiles), (spectrum,))
        except NmrtkError as error:
            return BadRecord(position, smiles, "not a molecule", str(error))


class DrawGenerator(CandidateGenerator):
    """What a few draws decode to."""

    def __init__(self, *, draws: int = 4) -> None:
        self.draws = draws

    def generate(self, query: Query, inversion: Inversion) -> Iterator[Molecule]:
        while time.monotonic() < query.deadline:
            features = inversion.model.structure_features(inversion.sample(self.draws))
            found = inversion.model.encoder.decode(features)
            yield from (molecule for molecule in found if molecule is not None)


class FilePretrained(PretrainedModel):
    """Weights that are there, and a card that says enough."""

    def weights(self) -> Path:
        return Path(__file__)

    def card(self) -> str:
        return "# Toy\nData: 18 spectra, split by skeleton. MAE 3 ppm. Limits: small molecules."


TOY_FILE = "!toy\nCCO 13C 18.2 57.8\nC(C 13C 10\nC 13C -2.3\n"
