"""The molecules that an evaluation is about, and the forward direction over them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nmrtk.batch import PreparedExample, prepare_examples
from nmrtk.calibration import predict_prepared
from nmrtk.errors import MoleculeError, SpectrumError, UsageError
from nmrtk.interfaces import AtomLines, Example
from nmrtk.model import Prediction, ReversibleModel
from nmrtk.molecule import Molecule

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

    @property
    def molecules(self) -> list[Molecule]:
        """B of them."""
        return [example.molecule for example in self.examples]


@dataclass(frozen=True, slots=True)
class Forward:
    """The forward direction over a cohort, on the CPU.

    Args:
        features: (B, F), what entered the backbone.
        outputs: (B, F), code and free part.
        target: (B, K), observed.
        condition: (B, C), formula vectors.
        lines: of every site; None where the encoder predicts none.
        implied: (B, K), the code that these lines imply; None where the codec makes none of lines.
    """

    features: Tensor
    outputs: Tensor
    target: Tensor
    condition: Tensor
    lines: AtomLines | None = None
    implied: Tensor | None = None

    def prediction(self, code_width: int) -> Prediction:
        """The same as the model gives it, B molecules together."""
        code, free = self.outputs[:, :code_width], self.outputs[:, code_width:]
        return Prediction(self.features, code, free, self.lines)


def cohort_of(model: ReversibleModel, examples: Sequence[Example], report: Report) -> Cohort:
    """The examples that the model can represent; there may be none."""
    prepared, rejected = prepare_examples(model, examples, lambda done: report(done, len(examples)))
    reason = f"{rejected[0][0].id}: {rejected[0][1]}" if rejected else ""
    out = {id(example) for example, _ in rejected}
    kept = [example for example in examples if id(example) not in out]
    return Cohort(kept, prepared, len(rejected), reason)


def make_cohort(
    model: ReversibleModel, examples: Sequence[Example], split: str, report: Report
) -> Cohort:
    """The examples of a split that the model can represent.

    Raises:
        UsageError: there are none; says why.
    """
    cohort = cohort_of(model, examples, report)
    if not cohort.examples:
        raise UsageError(
            f"the model can represent none of the {len(examples)} molecules of the split "
            f"{split!r}; the first, {cohort.first_reason}"
        )
    return cohort


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
    implied: list[tuple[Tensor]] = []
    done = 0
    for batch, prediction in predict_prepared(model, cohort.prepared):
        outputs = torch.cat([prediction.code, prediction.free], dim=1)
        parts.append((prediction.features, outputs, batch.target, batch.condition))
        if (found := prediction.lines) is not None:
            lines.append((found.shift, found.scale, found.molecule + done))
            if model.codec.reads_lines:
                with torch.no_grad():
                    implied.append((model.codec.expected(found, len(batch)),))
        done += len(batch)
        report(done, len(cohort))
    features, outputs, target, condition = _joined(parts)
    return Forward(
        *(features, outputs, target, condition),
        AtomLines(*_joined(lines)) if lines else None,
        _joined(implied)[0] if implied else None,
    )


def _joined(parts: Sequence[tuple[Tensor, ...]]) -> list[Tensor]:
    return [torch.cat(tensors).cpu() for tensors in zip(*parts, strict=True)]
