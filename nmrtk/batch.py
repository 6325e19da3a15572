"""Examples made ready for training once, and joined into batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nmrtk.errors import MoleculeError, SpectrumError
from nmrtk.formula import Formula
from nmrtk.interfaces import AtomLines, Example
from nmrtk.matching import LineGroups, line_groups, matched_shifts
from nmrtk.model import ReversibleModel
from nmrtk.spectrum import Spectrum


@dataclass(frozen=True, slots=True)
class PreparedSpectrum:
    """One spectrum as arrays.

    Args:
        target: (K,), the codec's.
        lines: what is compared with the sites of the molecule.
    """

    target: NDArray[np.float32]
    lines: LineGroups


@dataclass(frozen=True, slots=True)
class PreparedExample:
    """One example as arrays.

    Args:
        inputs: what the encoder prepared.
        condition: (C,), the formula vector.
        spectra: that of the example, then the molecule's others.
        features: (F,), where the encoder is not trained; else None.
    """

    inputs: Any
    condition: NDArray[np.float32]
    spectra: tuple[PreparedSpectrum, ...]
    features: NDArray[np.float32] | None = None

    @property
    def target(self) -> NDArray[np.float32]:
        """That of the example's spectrum, (K,)."""
        return self.spectra[0].target

    @property
    def lines(self) -> LineGroups:
        """Those of the example's spectrum."""
        return self.spectra[0].lines


@dataclass(frozen=True, slots=True)
class Batch:
    """B examples joined.

    Args:
        inputs: what the encoder collated; None where there are features.
        features: (B, F), where the encoder is not trained; else None.
        condition: (B, C).
        target: (B, K).
        complete: (B,), float, 1 where the spectrum has a line for every site, else 0.
        site_groups: (A,), int64, number of the matching group of each site, distinct between
            molecules, ascending with the molecule.
        line_groups: (L,), int64, the same of each observed line, ascending.
        line_shifts: (L,), observed, in ppm, ascending within a group.
        line_molecules: (L,), int64, row of the molecule of each observed line.
        free_noise: (B, F - K), free parts for the generation penalty; or None.
        feature_noise: (B, F), what is added to the features; or None.
    """

    inputs: Any
    features: Tensor | None
    condition: Tensor
    target: Tensor
    complete: Tensor
    site_groups: Tensor
    line_groups: Tensor
    line_shifts: Tensor
    line_molecules: Tensor
    free_noise: Tensor | None = None
    feature_noise: Tensor | None = None

    def __len__(self) -> int:
        return len(self.condition)

    def to(self, device: torch.device) -> Batch:
        """The batch on another device."""
        moved: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            moved[field.name] = None if value is None else value.to(device)
        return Batch(**moved)

    def matched(self, lines: AtomLines) -> tuple[Tensor, Tensor]:
        """Predicted shifts and scales (L,), in the order of the observed lines."""
        return matched_shifts(lines, self.site_groups, self.line_groups, self.line_shifts)


def prepare_examples(
    model: ReversibleModel,
    examples: Sequence[Example],
    on_progress: Callable[[int], None] = lambda done: None,
) -> tuple[list[PreparedExample], list[tuple[Example, str]]]:
    """Prepare examples, leaving out those that encoder or codec cannot represent.

    Returns:
        The prepared ones in order, and the others with the reason.
    """
    prepared: list[PreparedExample] = []
    rejected: list[tuple[Example, str]] = []
    for done, example in enumerate(examples, start=1):
        try:
            prepared.append(_prepare(model, example))
        except (MoleculeError, SpectrumError) as error:
            rejected.append((example, str(error)))
        on_progress(done)
    return prepared, rejected


def _prepare(model: ReversibleModel, example: Example) -> PreparedExample:
    def prepare(spectrum: Spectrum) -> PreparedSpectrum:
        return PreparedSpectrum(
            model.codec.encode(spectrum), line_groups(example.molecule, spectrum, model.nucleus)
        )

    others = []
    for spectrum in example.other_spectra:
        with suppress(SpectrumError):  # one that the codec cannot represent is no loss
            others.append(prepare(spectrum))
    return PreparedExample(
        model.encoder.prepare(example.molecule),
        Formula.of_molecule(example.molecule).vector(),
        (prepare(example.spectrum), *others),
    )


def collate(
    model: ReversibleModel,
    examples: Sequence[PreparedExample],
    *,
    picks: Sequence[int] | None = None,
    free_noise: Tensor | None = None,
    feature_noise: Tensor | None = None,
) -> Batch:
    """Join prepared examples into a batch on the CPU.

    Args:
        model: whose encoder takes the batch.
        examples: B of them.
        picks: (B,), any numbers that choose among the spectra of each molecule; None for the
            first.
        free_noise: see `Batch`.
        feature_noise: see `Batch`.
    """
    spectra = [
        example.spectra[pick % len(example.spectra)]
        for example, pick in zip(examples, picks or [0] * len(examples), strict=True)
    ]
    lines = [spectrum.lines for spectrum in spectra]
    sizes = np.array([1 + int(one.site_groups.max(initial=0)) for one in lines], np.int64)
    offsets = np.cumsum(sizes) - sizes
    line_counts = [len(one.shifts) for one in lines]
    features = [example.features for example in examples if example.features is not None]
    return Batch(
        None if features else model.encoder.collate([example.inputs for example in examples]),
        torch.from_numpy(np.stack(features)) if features else None,
        torch.from_numpy(np.stack([example.condition for example in examples])),
        torch.from_numpy(np.stack([spectrum.target for spectrum in spectra])),
        torch.tensor([float(one.complete) for one in lines]),
        _join([one.site_groups for one in lines], offsets),
        _join([one.line_groups for one in lines], offsets),
        torch.from_numpy(np.concatenate([one.shifts for one in lines])),
        torch.from_numpy(np.repeat(np.arange(len(examples)), line_counts)),
        free_noise,
        feature_noise,
    )


def _join(groups: Sequence[NDArray[np.int64]], offsets: NDArray[np.int64]) -> Tensor:
    return torch.from_numpy(
        np.concatenate([one + offset for one, offset in zip(groups, offsets, strict=True)])
    )
