"""The molecules that an evaluation is about, and the forward direction over them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nmrtk.batch import PreparedExample, prepare_examples
from nmrtk.calibration import predict_prepared
from nmrtk.errors import MoleculeError, SpectrumError, UsageError
from nmrtk.interfaces import Example
from nmrtk.model import ReversibleModel
from nmrtk.objective import matched_shifts

Report = Callable[[int, int], None]
"""Told how many of how many molecules are done."""


@dataclass(frozen=True, slots=True)
class Cohort:
    """Molecules that the model can represent; all competitors are measured on the same.

    Args:
        examples: B molecules with their spectra.
        prepared: the same, as arrays.
        left_out: number of those that the model cannot represent.
        first_reason: why the first of them was left out, or an empty string.
    """

    examples: list[Example]
    prepared: list[PreparedExample]
    left_out: int
    first_reason: str

    def __len__(self) -> int:
        return len(self.examples)


@dataclass(frozen=True, slots=True)
class PredictedLines:
    """What an encoder that predicts lines says of a cohort, in ppm.

    Args:
        site_shifts: (A,), predicted shift of every site.
        site_molecules: (A,), row of the molecule of each site, ascending.
        errors: (L,), predicted minus observed shift of the lines of complete spectra.
        scales: (L,), their predicted Laplace scales.
    """

    site_shifts: NDArray[np.float32]
    site_molecules: NDArray[np.int64]
    errors: NDArray[np.float32]
    scales: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Forward:
    """The forward direction over a cohort, on the CPU.

    Args:
        features: (B, F), what entered the backbone.
        outputs: (B, F), code and free part.
        target: (B, K), observed.
        condition: (B, C), formula vectors.
        lines: None where the encoder predicts none.
    """

    features: Tensor
    outputs: Tensor
    target: Tensor
    condition: Tensor
    lines: PredictedLines | None


def make_cohort(
    model: ReversibleModel, examples: Sequence[Example], split: str, report: Report
) -> Cohort:
    """The examples that the model can represent.

    Raises:
        UsageError: there are none; says why.
    """
    prepared, rejected = prepare_examples(model, examples, lambda done: report(done, len(examples)))
    reason = f"{rejected[0][0].id}: {rejected[0][1]}" if rejected else ""
    if not prepared:
        raise UsageError(
            f"the model can represent none of the {len(examples)} molecules of the split "
            f"{split!r}; the first, {reason}"
        )
    out = {id(example) for example, _ in rejected}
    kept = [example for example in examples if id(example) not in out]
    return Cohort(kept, prepared, len(rejected), reason)


def representable(
    model: ReversibleModel, examples: Sequence[Example], report: Report
) -> list[Example]:
    """The examples that the model could learn from, without keeping what it makes of them."""
    kept = []
    for done, example in enumerate(examples, start=1):
        try:
            model.encoder.prepare(example.molecule)
            model.codec.encode(example.spectrum)
        except (MoleculeError, SpectrumError):
            continue
        finally:
            report(done, len(examples))
        kept.append(example)
    return kept


def run_forward(model: ReversibleModel, cohort: Cohort, report: Report) -> Forward:
    """The forward direction, batch by batch."""
    parts: list[tuple[Tensor, ...]] = []
    lines: list[tuple[Tensor, ...]] = []
    done = 0
    for batch, prediction in predict_prepared(model, cohort.prepared):
        outputs = torch.cat([prediction.code, prediction.free], dim=1)
        parts.append((prediction.features, outputs, batch.target, batch.condition))
        if prediction.lines is not None:
            shift, scale = matched_shifts(prediction.lines, batch)
            sites = prediction.lines.shift, prediction.lines.molecule + done
            lines.append((*sites, shift - batch.line_shifts, scale))
        done += len(batch)
        report(done, len(cohort))
    features, outputs, target, condition = _joined(parts)
    predicted = PredictedLines(*(tensor.numpy() for tensor in _joined(lines))) if lines else None
    return Forward(features, outputs, target, condition, predicted)


def _joined(parts: Sequence[tuple[Tensor, ...]]) -> list[Tensor]:
    return [torch.cat(tensors).cpu() for tensors in zip(*parts, strict=True)]
