"""What a trained model keeps of the promises of a bijection: round trips and the free part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from nmrtk import seed_paper
from nmrtk.cohort import Forward, Report
from nmrtk.model import ReversibleModel
from nmrtk.scoring import FloatArray, Moments
from nmrtk.tables import Table, fixed, plus_minus, scientific

_BATCH_SIZE = 128

_FOLDS = 5
_RIDGE_STRENGTHS = np.logspace(0, 6, 7)

REGRESSION_LIMIT = 4000
"""Most molecules from which the free part is regressed on the code."""


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """Error of a round trip.

    Args:
        largest: absolute error of any element.
        mean: absolute error.
        scale: root mean square of what should come back.
    """

    largest: float
    mean: float
    scale: float

    @property
    def relative(self) -> float:
        """Largest error in units of the scale."""
        return self.largest / self.scale if self.scale else self.largest


@dataclass(frozen=True, slots=True)
class ReversibilitySection:
    """Round trips in both orders.

    Args:
        precision: of the parameters, such as `float32`.
        molecules: B.
        features: inverse(forward(x)) against the features x of the molecules.
        outputs: forward(inverse(y)) against y, made of the embedded observed spectra and of
            random free parts.
    """

    precision: str
    molecules: int
    features: RoundTrip
    outputs: RoundTrip

    def table(self) -> Table:
        """Errors of both orders."""
        columns = ("largest error", "mean error", "scale", "largest / scale")
        rows = []
        for name, trip, paper in (
            ("inverse(forward(x)) - x", self.features, seed_paper.INVERSION_ERROR),
            ("forward(inverse(y)) - y", self.outputs, ""),
        ):
            errors = (trip.largest, trip.mean, trip.scale, trip.relative)
            rows.append([name, *(scientific(error) for error in errors), paper])
        return Table(
            f"Reversibility: {self.molecules} molecules, {self.precision}",
            ["round trip", *columns, "seed paper, largest"],
            rows,
            (
                "x: features of the molecules. y: code of the observed spectrum and a free part "
                "drawn from a standard normal. Scale: root mean square of x or y.",
            ),
        )


@dataclass(frozen=True, slots=True)
class Spread:
    """Least, median and greatest of a sample."""

    least: float
    median: float
    greatest: float

    @classmethod
    def of(cls, values: FloatArray) -> Spread:
        """Of values of any shape."""
        return cls(float(values.min()), float(np.median(values)), float(values.max()))

    def __str__(self) -> str:
        return f"{fixed(self.median)} ({fixed(self.least)} to {fixed(self.greatest)})"


@dataclass(frozen=True, slots=True)
class FreeSection:
    """How near the free part z is to what inversions draw it from.

    Args:
        width: F - K, number of dimensions.
        sample_mean: over the dimensions of one molecule; mean and deviation over molecules.
        sample_std: likewise.
        dimension_mean: over the molecules, of one dimension; spread over dimensions.
        dimension_std: likewise.
        code_r2: cross-validated R² of ridge regression of z on the code, all dimensions together:
            the share of the variance of z that the code explains; None for too few molecules.
        regressed: number of molecules used for it.
    """

    width: int
    sample_mean: Moments
    sample_std: Moments
    dimension_mean: Spread
    dimension_std: Spread
    code_r2: float | None
    regressed: int

    def table(self) -> Table:
        """The statistics beside their ideals."""
        rows = [
            ["mean of a molecule's z", plus_minus(self.sample_mean), "0", seed_paper.FREE_MEAN],
            ["std of a molecule's z", plus_minus(self.sample_std), "1", seed_paper.FREE_STD],
            ["mean of a dimension", str(self.dimension_mean), "0", ""],
            ["std of a dimension", str(self.dimension_std), "1", ""],
            ["R² of z from the code", fixed(self.code_r2), "0", ""],
        ]
        return Table(
            f"Free part: {self.width} dimensions",
            ["statistic", "model", "ideal", "seed paper"],
            rows,
            (
                "Mean ± standard deviation over molecules; median (least to greatest) over "
                f"dimensions. R²: ridge regression, {_FOLDS}-fold cross-validated by skeleton on "
                f"{self.regressed} molecules, all dimensions together.",
            ),
        )


def evaluate_reversibility(
    model: ReversibleModel, forward: Forward, seed: int, report: Report
) -> ReversibilitySection:
    """Measure the round trips.

    Args:
        model: in evaluation mode.
        forward: over the cohort.
        seed: of the random free parts.
        report: told of the progress.
    """
    generator = torch.Generator().manual_seed(seed)
    there, back = _Errors(), _Errors()
    size = len(forward.features)
    with torch.no_grad():
        for start in range(0, size, _BATCH_SIZE):
            part = slice(start, start + _BATCH_SIZE)
            condition = forward.condition[part].to(model.device)
            outputs = forward.outputs[part].to(model.device)
            there.add(_inverse(model, outputs, condition), forward.features[part])
            code = model.codec.embed(forward.target[part])
            free = torch.randn(len(code), model.free_width, generator=generator)
            y = torch.cat([code, free], dim=1).to(model.device)
            again = model.backbone(_inverse(model, y, condition), model.condition(condition))
            back.add(again, y)
            report(min(start + _BATCH_SIZE, size), size)
    precision = str(next(model.parameters()).dtype).removeprefix("torch.")
    return ReversibilitySection(precision, size, there.round_trip(), back.round_trip())


def evaluate_free(
    forward: Forward, code_width: int, groups: Sequence[str], seed: int
) -> FreeSection | None:
    """Statistics of the free part; None where there is none.

    Args:
        forward: over the cohort.
        code_width: K.
        groups: (B,), names that molecules share which must not be told apart, such as skeletons.
        seed: of the choice of molecules for the regression.
    """
    free = forward.outputs[:, code_width:].double().numpy()
    if free.shape[1] == 0:
        return None
    chosen = np.sort(np.random.default_rng(seed).permutation(len(free))[:REGRESSION_LIMIT])
    code = forward.outputs[:, :code_width].double().numpy()
    return FreeSection(
        free.shape[1],
        Moments.of(free.mean(axis=1)),
        Moments.of(free.std(axis=1)),
        Spread.of(free.mean(axis=0)),
        Spread.of(free.std(axis=0)),
        explained_share(code[chosen], free[chosen], [groups[i] for i in chosen]),
        len(chosen),
    )


def explained_share(inputs: FloatArray, outputs: FloatArray, groups: Sequence[str]) -> float | None:
    """Cross-validated R² of ridge regression, all output dimensions together.

    Args:
        inputs: (B, P).
        outputs: (B, Q).
        groups: (B,); rows of one group are never on both sides of a fold.

    Returns:
        At most 1; about 0 or below where the inputs say nothing. None for fewer than two groups
        a fold, or outputs that do not vary.
    """
    if len(set(groups)) < 2 * _FOLDS:
        return None
    missed = total = 0.0
    for train, test in GroupKFold(_FOLDS).split(inputs, groups=groups):
        ridge = make_pipeline(StandardScaler(), RidgeCV(alphas=_RIDGE_STRENGTHS))
        predicted = ridge.fit(inputs[train], outputs[train]).predict(inputs[test])
        missed += float(np.square(outputs[test] - predicted).sum())
        total += float(np.square(outputs[test] - outputs[train].mean(axis=0)).sum())
    return 1 - missed / total if total else None


class _Errors:
    """Sums up the errors of batches."""

    def __init__(self) -> None:
        self._largest = self._error = self._square = 0.0
        self._count = 0

    def add(self, found: Tensor, expected: Tensor) -> None:
        """Count a batch."""
        expected = expected.double()
        error = (found.double().to(expected.device) - expected).abs()
        # A maximum of tensors keeps values that are not numbers; Python's would lose them.
        self._largest = float(torch.maximum(error.max(), error.new_tensor(self._largest)))
        self._error += float(error.sum())
        self._square += float(expected.square().sum())
        self._count += expected.numel()

    def round_trip(self) -> RoundTrip:
        """The result."""
        scale = (self._square / self._count) ** 0.5
        return RoundTrip(self._largest, self._error / self._count, scale)


def _inverse(model: ReversibleModel, outputs: Tensor, condition: Tensor) -> Tensor:
    code, free = outputs.split([model.codec.width, model.free_width], dim=1)
    return model.inverse(code, free, condition)
