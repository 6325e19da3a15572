"""Lines of a further nucleus, which speak for or against candidates too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from nmrtk.checkpoint import LoadedModel
from nmrtk.errors import SpectrumError, UsageError
from nmrtk.line_score import LineScore, arrays, hydrogen_counts
from nmrtk.molecule import Molecule
from nmrtk.prediction import predict_prepared, prepare_molecules
from nmrtk.spectrum import Spectrum


@dataclass(frozen=True, slots=True)
class OtherLines:
    """Observed lines of a nucleus, and the model that predicts such lines.

    Args:
        loaded: a model whose encoder predicts lines.
        spectrum: of the nucleus that the model is for.

    Raises:
        UsageError: the model predicts no lines.
        SpectrumError: the lines are of another nucleus, or there are none.
    """

    loaded: LoadedModel
    spectrum: Spectrum
    _score: LineScore = field(init=False)

    def __post_init__(self) -> None:
        model, spectrum = self.loaded.model, self.spectrum
        if not model.encoder.predicts_lines:
            raise UsageError(f"the model {self.loaded.path} predicts no lines of atoms")
        if spectrum.nucleus != str(model.nucleus):
            raise SpectrumError(
                f"the lines are of {spectrum.nucleus}, the model {self.loaded.path} is for "
                f"{model.nucleus}"
            )
        if not spectrum.peaks:
            raise SpectrumError(f"the list of {spectrum.nucleus} lines is empty")
        if model.nucleus.is_implicit:
            # Counts are those of hydrogens, sites those of heavy atoms.
            shifts = {peak.ppm: peak for peak in spectrum.peaks}
            spectrum = replace(spectrum, peaks=tuple(shifts.values()), atom_count=None)
        score = LineScore(spectrum, self.loaded.calibration.score)
        object.__setattr__(self, "_score", score)

    @property
    def temperature(self) -> float:
        """Divides log-likelihoods before candidates are compared."""
        return self.loaded.calibration.score.temperature

    def log_likelihoods(self, molecules: Sequence[Molecule]) -> NDArray[np.float64]:
        """Of the lines if each molecule is the compound, (B,), in nats. A molecule without an atom
        of the nucleus, or one that the model cannot represent, explains none of them.
        """
        model, settings = self.loaded.model, self.loaded.calibration.score
        unexplained = -settings.extra_cost * len(self._score.lines)
        scores = np.full(len(molecules), unexplained)
        prepared, refusals = prepare_molecules(model, molecules)
        rows = [
            row
            for row, (molecule, refusal) in enumerate(zip(molecules, refusals, strict=True))
            if not refusal and model.nucleus.sites(molecule)
        ]
        if not rows:
            return scores
        some = [molecules[row] for row in rows]
        prediction = predict_prepared(model, [prepared[row] for row in rows], some)
        lines = prediction.lines
        if lines is None:
            raise UsageError(f"the model {self.loaded.path} predicts no lines of atoms")
        found = self._score.score_arrays(*arrays(lines), hydrogen_counts(model.nucleus, some))
        scores[rows] = found
        return scores
