"""Codecs that each break one rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nmrtk.errors import SpectrumError
from nmrtk.nucleus import Nucleus
from nmrtk.spectrum import Spectrum, spectrum_of_shifts
from nmrtk.testing import PlainCodec


class AnyNucleus(PlainCodec):
    def encode(self, spectrum: Spectrum) -> NDArray[np.float32]:
        return super().encode(replace(spectrum, nucleus=str(self.nucleus)))


class UnitLess(PlainCodec):
    @property
    def unit(self) -> float:
        return 0.0


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
    UnitLess: "unit of shifts",
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
