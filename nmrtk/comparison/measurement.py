"""What one trained model does on the molecules of a split, molecule by molecule."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nmrtk.calibration import COVERAGE_SIGMAS
from nmrtk.checkpoint import LoadedModel, load_tensors, save_tensors
from nmrtk.cohort import Cohort, Forward, make_cohort, run_forward
from nmrtk.competitors import occupied_bins
from nmrtk.dataset import DataSet
from nmrtk.errors import CheckpointError
from nmrtk.interfaces import SpectrumCodec
from nmrtk.line_errors import LineErrors, spectra_errors
from nmrtk.molecule import canonical_smiles
from nmrtk.plugins import build
from nmrtk.prediction import predict_rows, predicted_spectra
from nmrtk.recipe import Part
from nmrtk.reversibility import evaluate_reversibility
from nmrtk.scoring import BoolArray, FloatArray, Moments
from nmrtk.spectrum import Spectrum

TIMED_MOLECULES = 256
TIMED_PASSES = 3

Parts = dict[str, tuple[FloatArray, FloatArray]]
"""What each molecule adds above and below the line of every figure, (M,) each."""

Report = Callable[[float], None]
"""Told which share of the work is done."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """A trained model on a split.

    Args:
        places: (M,), int64, which molecules of the split it can represent, counted from 0.
        bins: (M,), int64, a hash of the bins of its own codec that each observed spectrum fills.
        parts: of the figures that it has.
        in_split: molecules that there are.
        first_left_out: why it cannot represent the first of the others, or an empty string.
        common_codec: name and options of the codec whose bins are common to all.
        round_trip: largest error of inverse(forward(x)).
        free_mean: mean over a molecule's free part, averaged over molecules; None without one.
        free_std: likewise the standard deviation.
        molecules_per_second: SMILES to rows; the best of a few passes.
    """

    places: NDArray[np.int64]
    bins: NDArray[np.int64]
    parts: Parts
    in_split: int
    first_left_out: str
    common_codec: dict[str, Any]
    round_trip: float
    free_mean: float | None
    free_std: float | None
    molecules_per_second: float

    def save(self, path: Path) -> None:
        """Write a file, atomically.

        Raises:
            DataError: it cannot be written.
        """
        arrays: dict[str, NDArray[Any]] = {"places": self.places, "bins": self.bins}
        for name, (above, below) in self.parts.items():
            arrays |= {f"above.{name}": above, f"below.{name}": below}
        header = {name: value for name, value in asdict(self).items() if name not in _ARRAYS}
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        save_tensors(path, tensors, {"measurement": header})

    @classmethod
    def load(cls, path: Path) -> Measurement:
        """Read a file.

        Raises:
            CheckpointError: it is missing, damaged, or something else.
        """
        tensors, header = load_tensors(path)
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        names = [name.removeprefix("above.") for name in arrays if name.startswith("above.")]
        try:
            parts = {name: (arrays[f"above.{name}"], arrays[f"below.{name}"]) for name in names}
            return cls(arrays["places"], arrays["bins"], parts, **header["measurement"])
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"{path} is no measurement: {error}") from error


_ARRAYS = ("places", "bins", "parts")


def measure(
    loaded: LoadedModel, data: Path, split: str, common: Part, report: Report
) -> Measurement:
    """Measure a trained model.

    Args:
        loaded: the model, calibrated on val.
        data: the data set.
        split: of it, under the model's own rule.
        common: codec into whose bins the lines of all recipes go.
        report: told of the progress.

    Raises:
        UsageError: the split is empty, or the model can represent none of its molecules.
        DataError: the data set cannot be read.
    """
    model, recipe = loaded.model, loaded.recipe
    codec = build("spectrum_codecs", common.name, common.options, model.nucleus)
    with DataSet(data) as opened:
        complete_only = recipe.training.incomplete != "all"
        examples = opened.examples(recipe.split, split, complete_only=complete_only)
    report(0.1)
    cohort = make_cohort(
        model, examples, split, lambda done, total: report(0.1 + 0.3 * done / total)
    )
    place_of = {id(example): place for place, example in enumerate(examples)}
    forward = run_forward(model, cohort, lambda done, total: report(0.4 + 0.2 * done / total))
    observed = occupied_bins(model.codec, forward.target)
    parts = _code_parts(loaded, cohort, forward, observed, codec)
    report(0.7)
    if forward.lines is not None:
        parts |= _line_parts(loaded, cohort, forward, codec)
    report(0.8)
    trips = evaluate_reversibility(model, forward, 0, lambda done, total: None)
    free = forward.outputs[:, model.codec.width :].double().numpy()
    return Measurement(
        places=np.array([place_of[id(example)] for example in cohort.examples], np.int64),
        bins=np.array([_hash(row) for row in observed], np.int64),
        parts=parts,
        in_split=len(examples),
        first_left_out=cohort.first_reason,
        common_codec=common.model_dump(),
        round_trip=trips.features.largest,
        free_mean=Moments.of(free.mean(1)).mean if free.size else None,
        free_std=Moments.of(free.std(1)).mean if free.size else None,
        molecules_per_second=_speed(loaded, cohort),
    )


def _code_parts(
    loaded: LoadedModel,
    cohort: Cohort,
    forward: Forward,
    observed: BoolArray,
    common: SpectrumCodec,
) -> Parts:
    """Of the code in its own bins, and of the lines that it is decoded to."""
    model = loaded.model
    code = forward.outputs[:, : model.codec.width]
    predicted = model.codec.occupancy(code).numpy() > loaded.calibration.occupancy_threshold
    counts = [len(model.nucleus.sites(molecule)) for molecule in cohort.molecules]
    decoded = model.codec.decode(code, counts)
    errors = spectra_errors(model.nucleus, cohort.examples, decoded, within_multiplicity=False)
    return {
        "code_f1": _f1_parts(predicted, observed),
        "decoded_mae_ppm": _mae_parts(errors, len(cohort)),
        "decoded_f1": _common_f1_parts(common, cohort, decoded),
    }


def _line_parts(
    loaded: LoadedModel, cohort: Cohort, forward: Forward, common: SpectrumCodec
) -> Parts:
    """Of the lines of the atoms."""
    model = loaded.model
    prediction = forward.prediction(model.codec.width)
    spectra = predicted_spectra(loaded, prediction, cohort.molecules)
    errors = spectra_errors(model.nucleus, cohort.examples, spectra)
    together = spectra_errors(model.nucleus, cohort.examples, spectra, within_multiplicity=False)
    parts = {
        "mae_ppm": _mae_parts(errors, len(cohort)),
        "mae_over_molecule_ppm": _mae_parts(together, len(cohort)),
        "lines_f1": _common_f1_parts(common, cohort, spectra),
    }
    if errors.sigmas is not None:
        inside = np.abs(errors.errors) <= COVERAGE_SIGMAS * errors.sigmas
        parts["coverage_80"] = _per_molecule(errors, inside.astype(np.float64), len(cohort))
    return parts


def _mae_parts(errors: LineErrors, molecules: int) -> tuple[FloatArray, FloatArray]:
    return _per_molecule(errors, np.abs(errors.errors), molecules)


def _per_molecule(
    errors: LineErrors, values: FloatArray, molecules: int
) -> tuple[FloatArray, FloatArray]:
    """Sums of a value of the lines, and the number of lines, for each molecule."""
    owners = errors.molecules
    sums, lines = (
        np.bincount(owners, each, minlength=molecules).astype(np.float64)
        for each in (values, np.ones(len(owners)))
    )
    return sums, lines


def _common_f1_parts(
    common: SpectrumCodec, cohort: Cohort, spectra: Sequence[Spectrum]
) -> tuple[FloatArray, FloatArray]:
    observed = [example.spectrum for example in cohort.examples]
    return _f1_parts(_bins(common, spectra), _bins(common, observed))


def _bins(codec: SpectrumCodec, spectra: Sequence[Spectrum]) -> BoolArray:
    empty = np.zeros(codec.width, np.float32)
    targets = [codec.encode(spectrum) if spectrum.peaks else empty for spectrum in spectra]
    return occupied_bins(codec, torch.from_numpy(np.stack(targets)))


def _f1_parts(predicted: BoolArray, observed: BoolArray) -> tuple[FloatArray, FloatArray]:
    hits = (predicted & observed).sum(1)
    return 2.0 * hits, (predicted.sum(1) + observed.sum(1)).astype(np.float64)


def _hash(bins: BoolArray) -> int:
    digest = hashlib.sha256(f"{len(bins)} bins".encode() + np.packbits(bins).tobytes())
    return int.from_bytes(digest.digest()[:8], "big", signed=True)


def _speed(loaded: LoadedModel, cohort: Cohort) -> float:
    """Molecules a second from SMILES to rows."""
    smiles = [canonical_smiles(one, stereo=True) for one in cohort.molecules[:TIMED_MOLECULES]]
    seconds = []
    for _ in range(TIMED_PASSES):
        started = time.perf_counter()
        for _row in predict_rows(loaded, smiles):
            pass
        seconds.append(time.perf_counter() - started)
    return len(smiles) / min(seconds)
