"""Components that each break one rule, and the property that must catch them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from right_components import (
    CouplingBackbone,
    LineReader,
    SiteBatch,
    SiteCountBaseline,
    SiteEncoder,
    TextEncoder,
)
from torch import Tensor, nn

from nmrtk.errors import SpectrumError
from nmrtk.interfaces import BadRecord, Encoded, Example, PretrainedModel, Record
from nmrtk.molecule import Molecule, parse_smiles
from nmrtk.nucleus import Nucleus
from nmrtk.spectrum import Peak, Spectrum, spectrum_of_shifts
from nmrtk.testing import PlainCodec

# --- encoders


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


# --- codecs


class AnyNucleus(PlainCodec):
    def encode(self, spectrum: Spectrum) -> NDArray[np.float32]:
        return super().encode(replace(spectrum, nucleus=str(self.nucleus)))


class EmptyAccepted(PlainCodec):
    def encode(self, spectrum: Spectrum) -> NDArray[np.float32]:
        if spectrum.nucleus != str(self.nucleus):
            raise SpectrumError("another nucleus")
        lines = spectrum if spectrum.peaks else spectrum_of_shifts(spectrum.nucleus, [1.0])
        return super().encode(lines)


class FarLinesFail(PlainCodec):
    def encode(self, spectrum: Spectrum) -> NDArray[np.float32]:
        target = super().encode(spectrum)
        if max(spectrum.shifts) > 1000:
            raise IndexError("bin 800 of 44")
        return target


class DoubleTargets(PlainCodec):
    def encode(self, spectrum: Spectrum) -> NDArray[np.float32]:
        return super().encode(spectrum).astype(np.float64)  # type: ignore[return-value]


class OccupiedFloats(PlainCodec):
    def occupied(self, target: Tensor) -> Tensor:
        return target


class OccupiesAll(PlainCodec):
    def occupied(self, target: Tensor) -> Tensor:
        return torch.ones_like(target, dtype=torch.bool)


class OccupancyLogits(PlainCodec):
    def occupancy(self, code: Tensor) -> Tensor:
        return code


class OccupancyInverted(PlainCodec):
    def occupancy(self, code: Tensor) -> Tensor:
        return torch.sigmoid(-code)


class LossMean(PlainCodec):
    def loss(self, code: Tensor, target: Tensor) -> Tensor:
        return super().loss(code, target).mean()


class LossNegative(PlainCodec):
    def loss(self, code: Tensor, target: Tensor) -> Tensor:
        return -super().loss(code, target)


class LossOfBatch(PlainCodec):
    def loss(self, code: Tensor, target: Tensor) -> Tensor:
        loss = super().loss(code, target)
        return loss + 0.01 * len(loss)


class LossDetached(PlainCodec):
    def loss(self, code: Tensor, target: Tensor) -> Tensor:
        return super().loss(code, target).detach()


class LikelihoodNegative(PlainCodec):
    def loss(self, code: Tensor, target: Tensor) -> Tensor:
        return -PlainCodec.log_likelihood(self, code, target)

    def log_likelihood(self, code: Tensor, target: Tensor) -> Tensor:
        return -super().log_likelihood(code, target)


class LikelihoodFlat(PlainCodec):
    def log_likelihood(self, code: Tensor, target: Tensor) -> Tensor:
        return super().log_likelihood(code, target).reshape(-1)


class DecodesOneLess(PlainCodec):
    def decode(self, code: Tensor, line_counts: Sequence[int]) -> list[Spectrum]:
        return super().decode(code, [max(1, count - 1) for count in line_counts])


class DecodesUnsure(PlainCodec):
    def decode(self, code: Tensor, line_counts: Sequence[int]) -> list[Spectrum]:
        found = super().decode(code, line_counts)
        return [spectrum_of_shifts(spectrum.nucleus, spectrum.shifts) for spectrum in found]


class DecodesMirrored(PlainCodec):
    def decode(self, code: Tensor, line_counts: Sequence[int]) -> list[Spectrum]:
        return super().decode(code.flip(1), line_counts)


class LinesPromised(PlainCodec):
    reads_lines = True

    def expected(self, lines: Any, batch_size: int) -> Tensor:
        return self.embed(torch.eye(batch_size, self.width)) + 0.0 * lines.shift.sum()


class CodecStateLost(PlainCodec):
    made = 0

    def __init__(self, nucleus: Nucleus) -> None:
        super().__init__(nucleus)
        type(self).made += 1
        self.slope = 1.0 / type(self).made

    def occupancy(self, code: Tensor) -> Tensor:
        return torch.sigmoid(self.slope * code)


WRONG_CODECS = {
    AnyNucleus: "another nucleus",
    EmptyAccepted: "no lines",
    FarLinesFail: "far lines",
    DoubleTargets: "shape and type of targets",
    OccupiedFloats: "shape and type of occupied",
    OccupiesAll: "a spectrum occupies bins",
    OccupancyLogits: "occupancy of targets",
    OccupancyInverted: "occupied bins above empty ones",
    LossMean: "loss, one value a row",
    LossNegative: "loss lower for the right code",
    LossOfBatch: "loss alone and in a batch",
    LossDetached: "gradient of the loss",
    LikelihoodNegative: "log-likelihood higher for the right code",
    LikelihoodFlat: "log-likelihood of all pairs and of rows",
    DecodesOneLess: "decode the observed number of lines",
    DecodesUnsure: "nucleus and sigma",
    DecodesMirrored: "distance of decoded lines",
    LinesPromised: "code from lines has the lower loss",
    CodecStateLost: "state_dict round trip",
}


# --- backbones


class WidthValueError(CouplingBackbone):
    def __init__(self, width: int, code_width: int, condition_width: int) -> None:
        if width != 64:
            raise ValueError("the width must be 64")
        super().__init__(width, code_width, condition_width)


class InverseIsForward(CouplingBackbone):
    def inverse(self, outputs: Tensor, condition: Tensor | None = None) -> Tensor:
        return self(outputs, condition)


class InverseForgetsScale(CouplingBackbone):
    """Right as long as the scales are at their start."""

    def inverse(self, outputs: Tensor, condition: Tensor | None = None) -> Tensor:
        return super().inverse(outputs, condition) * self.scale.exp()


class SinglePrecision(CouplingBackbone):
    def inverse(self, outputs: Tensor, condition: Tensor | None = None) -> Tensor:
        return super().inverse(outputs.float().to(outputs.dtype), condition)


class NormInside(CouplingBackbone):
    def block(self, hidden: int) -> nn.Sequential:
        norm = nn.BatchNorm1d(self.width // 2, track_running_stats=False)
        return nn.Sequential(*super().block(hidden), norm)


class DropoutInside(CouplingBackbone):
    def block(self, hidden: int) -> nn.Sequential:
        return nn.Sequential(*super().block(hidden), nn.Dropout(0.5))


class OtherInTraining(CouplingBackbone):
    def forward(self, features: Tensor, condition: Tensor | None = None) -> Tensor:
        return super().forward(features, condition) * (0.5 if self.training else 1.0)


class ConditionIgnored(CouplingBackbone):
    def move(self, block: nn.Module, half: Tensor, condition: Tensor | None) -> Tensor:
        return super().move(block, half, None if condition is None else 0.0 * condition)


class ParameterIdle(CouplingBackbone):
    def __init__(self, width: int, code_width: int, condition_width: int) -> None:
        super().__init__(width, code_width, condition_width)
        self.idle = nn.Parameter(torch.ones(3))


class HalfGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return values.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] / 2


class GradientHalved(CouplingBackbone):
    def forward(self, features: Tensor, condition: Tensor | None = None) -> Tensor:
        return HalfGradient.apply(super().forward(features, condition))  # type: ignore[no-any-return]


class LogDetNegative(CouplingBackbone):
    def forward_with_log_det(
        self, features: Tensor, condition: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        outputs, log_det = super().forward_with_log_det(features, condition)
        return outputs, -log_det


class LogDetUndeclared(CouplingBackbone):
    has_log_det = False


class BackboneStateLost(CouplingBackbone):
    made = 0

    def __init__(self, width: int, code_width: int, condition_width: int) -> None:
        super().__init__(width, code_width, condition_width)
        type(self).made += 1
        self.order = torch.randperm(width, generator=torch.Generator().manual_seed(self.made))

    def forward(self, features: Tensor, condition: Tensor | None = None) -> Tensor:
        return super().forward(features, condition)[:, self.order]

    def inverse(self, outputs: Tensor, condition: Tensor | None = None) -> Tensor:
        return super().inverse(outputs[:, self.order.argsort()], condition)

    def forward_with_log_det(
        self, features: Tensor, condition: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        return self(features, condition), self.scale.sum().expand(len(features))


WRONG_BACKBONES = {
    WidthValueError: "raises ConfigurationError",
    InverseIsForward: "inverse(forward(x)) - x, plain, untrained, torch.float32",
    InverseForgetsScale: "inverse(forward(x)) - x, plain, perturbed, torch.float32",
    SinglePrecision: "inverse(forward(x)) - x, plain, untrained, torch.float64",
    NormInside: "forward of rows by 2 and in a batch",
    DropoutInside: "forward of rows by 2 and in a batch, plain, training mode",
    OtherInTraining: "training and evaluation mode",
    ConditionIgnored: "use of the condition",
    ParameterIdle: "gradients of forward reach every parameter",
    GradientHalved: "gradients of forward against central differences",
    LogDetNegative: "log-determinant against that of the Jacobian",
    LogDetUndeclared: "no log-determinant",
    BackboneStateLost: "state_dict round trip",
}


# --- baselines


class UnfittedAnswers(SiteCountBaseline):
    def predict_occupancy(self, molecules: Sequence[Molecule]) -> NDArray[np.float32]:
        if self.frequency is None:
            return np.zeros((len(molecules), self.codec.bin_count), np.float32)
        return super().predict_occupancy(molecules)


class FitsNothing(SiteCountBaseline):
    def fit(self, examples: Sequence[Example]) -> None:
        if examples:
            super().fit(examples)


class ScoresAboveOne(SiteCountBaseline):
    def predict_occupancy(self, molecules: Sequence[Molecule]) -> NDArray[np.float32]:
        return super().predict_occupancy(molecules) + np.float32(0.9)


class ScoresDouble(SiteCountBaseline):
    def predict_occupancy(self, molecules: Sequence[Molecule]) -> NDArray[np.float32]:
        return super().predict_occupancy(molecules).astype(float)  # type: ignore[return-value]


class ScoresOfBatch(SiteCountBaseline):
    def predict_occupancy(self, molecules: Sequence[Molecule]) -> NDArray[np.float32]:
        return super().predict_occupancy(molecules) / np.float32(max(1, len(molecules)))


class LearnsOpposite(SiteCountBaseline):
    def predict_occupancy(self, molecules: Sequence[Molecule]) -> NDArray[np.float32]:
        return 1 - super().predict_occupancy(molecules)


class FitRandom(SiteCountBaseline):
    def fit(self, examples: Sequence[Example]) -> None:
        super().fit(examples)
        assert self.frequency is not None
        self.frequency *= np.float32(torch.rand(()).item())


class LineLeftOut(SiteCountBaseline):
    def predict_spectra(self, molecules: Sequence[Molecule]) -> list[Spectrum]:
        return [replace(s, peaks=s.peaks[1:]) for s in super().predict_spectra(molecules)]


class LinesWithoutSigma(SiteCountBaseline):
    def predict_spectra(self, molecules: Sequence[Molecule]) -> list[Spectrum]:
        return [
            replace(s, peaks=tuple(Peak(p.ppm, atoms=p.atoms) for p in s.peaks))
            for s in super().predict_spectra(molecules)
        ]


class BaselineLinesUndeclared(SiteCountBaseline):
    predicts_lines = False


class OddMoleculeFails(SiteCountBaseline):
    def predict_occupancy(self, molecules: Sequence[Molecule]) -> NDArray[np.float32]:
        scores = super().predict_occupancy(molecules)
        if any(molecule.GetNumBonds() == 0 for molecule in molecules):
            raise ZeroDivisionError("no bonds")
        return scores


WRONG_BASELINES = {
    UnfittedAnswers: "prediction before fit",
    FitsNothing: "fit on nothing",
    ScoresAboveOne: "scores from 0 to 1",
    ScoresDouble: "shape and type of scores",
    ScoresOfBatch: "row alone and in a batch",
    LearnsOpposite: "occupied bins of training above empty ones",
    FitRandom: "fitted twice",
    LineLeftOut: "one line a site",
    LinesWithoutSigma: "nucleus and sigma of lines",
    BaselineLinesUndeclared: "no lines",
    OddMoleculeFails: "odd molecule C",
}


# --- readers


class EmptyIsFine(LineReader):
    def read(self, path: Path, nucleus: Nucleus) -> Iterator[Record | BadRecord]:
        if path.is_file() and path.stat().st_size == 0:
            return iter(())
        return super().read(path, nucleus)


class MissingIsOsError(LineReader):
    def text(self, path: Path) -> str:
        path.stat()
        return super().text(path)


class JunkFails(LineReader):
    def text(self, path: Path) -> str:
        if path.name == "junk.dat":
            return path.read_bytes().decode()
        return super().text(path)


class JunkIsGood(LineReader):
    def read(self, path: Path, nucleus: Nucleus) -> Iterator[Record | BadRecord]:
        if path.name == "junk.dat":
            return iter([self.entry("line 1", "C 13C 1.0")])
        return super().read(path, nucleus)


class KnowsAll(LineReader):
    def recognizes(self, path: Path, head: bytes) -> bool:
        return True


class KnowsNothing(LineReader):
    def recognizes(self, path: Path, head: bytes) -> bool:
        return False


class GoodLinesLost(LineReader):
    def entry(self, position: str, line: str) -> Record | BadRecord:
        return BadRecord(position, "", "not a molecule")


class NowhereReader(LineReader):
    def entry(self, position: str, line: str) -> Record | BadRecord:
        return replace(super().entry(position, line), position="somewhere")


class OneBased(LineReader):
    def entry(self, position: str, line: str) -> Record | BadRecord:
        entry = super().entry(position, line)
        if isinstance(entry, BadRecord):
            return entry
        count = entry.molecule.GetNumAtoms()
        peaks = tuple(
            replace(peak, atoms=(min(i + 1, count),))
            for i, peak in enumerate(entry.spectra[0].peaks)
        )
        return replace(entry, spectra=(replace(entry.spectra[0], peaks=peaks),))


class NoReason(LineReader):
    def entry(self, position: str, line: str) -> Record | BadRecord:
        entry = super().entry(position, line)
        return entry if isinstance(entry, Record) else replace(entry, reason="")


class GzipCutShort(LineReader):
    def read(self, path: Path, nucleus: Nucleus) -> Iterator[Record | BadRecord]:
        entries = super().read(path, nucleus)
        return iter(list(entries)[:-1]) if path.suffix == ".gz" else entries


class AtomlessReader(LineReader):
    def entry(self, position: str, line: str) -> Record | BadRecord:
        entry = super().entry(position, line)
        empty = type(parse_smiles("C"))()
        return replace(entry, molecule=empty) if isinstance(entry, Record) else entry


WRONG_READERS = {
    EmptyIsFine: "empty file",
    MissingIsOsError: "missing file",
    JunkFails: "read junk.dat",
    JunkIsGood: "read junk.dat",
    KnowsAll: "recognizes noise",
    KnowsNothing: "recognizes the sample",
    GoodLinesLost: "reads the sample",
    NowhereReader: "positions",
    OneBased: "atoms of 13C",
    NoReason: "reasons",
    GzipCutShort: "gzip",
    AtomlessReader: "molecule",
}


# --- pretrained models


class WeightsMissing(PretrainedModel):
    def weights(self) -> Path:
        return Path("no", "such", "file")

    def card(self) -> str:
        return "Data, split, figures 1.0 and limits."


class CardSilent(WeightsMissing):
    def weights(self) -> Path:
        return Path(__file__)

    def card(self) -> str:
        return "A model."


WRONG_PRETRAINED = {WeightsMissing: "weights", CardSilent: "model card"}
