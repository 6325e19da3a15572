"""Baselines that each break one rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from right_components import (
    SiteCountBaseline,
)

from nmrtk.interfaces import Example
from nmrtk.molecule import Molecule
from nmrtk.spectrum import Peak, Spectrum


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


class SomeLinesWithoutSigma(SiteCountBaseline):
    def predict_spectra(self, molecules: Sequence[Molecule]) -> list[Spectrum]:
        return [
            replace(s, peaks=(Peak(s.peaks[0].ppm, atoms=s.peaks[0].atoms), *s.peaks[1:]))
            for s in super().predict_spectra(molecules)
        ]


class SomeLinesWithoutAtom(SiteCountBaseline):
    def predict_spectra(self, molecules: Sequence[Molecule]) -> list[Spectrum]:
        return [
            replace(s, peaks=(replace(s.peaks[0], atoms=()), *s.peaks[1:]))
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
    SomeLinesWithoutAtom: "one line a site",
    SomeLinesWithoutSigma: "nucleus and sigma of lines",
    BaselineLinesUndeclared: "no lines",
    OddMoleculeFails: "odd molecule C",
}
