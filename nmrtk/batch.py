"""Examples made ready for training once, and joined into batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nmrtk.errors import MoleculeError, SpectrumError
from nmrtk.formula import Formula
from nmrtk.interfaces import Example
from nmrtk.model import ReversibleModel
from nmrtk.molecule import Molecule
from nmrtk.nucleus import Nucleus
from nmrtk.spectrum import Spectrum


@dataclass(frozen=True, slots=True)
class PreparedExample:
    """One example as arrays.

    Args:
        inputs: what the encoder prepared.
        condition: (C,), the formula vector.
        target: (K,), the codec's.
        site_classes: (sites,), group within which lines are matched.
        line_shifts: (sites,), observed shifts in ppm sorted by group, then shift; empty where the
            spectrum is not complete.
    """

    inputs: Any
    condition: NDArray[np.float32]
    target: NDArray[np.float32]
    site_classes: NDArray[np.int64]
    line_shifts: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Batch:
    """B examples joined.

    Args:
        inputs: what the encoder collated.
        condition: (B, C).
        target: (B, K).
        site_groups: (A,), int64, number of the matching group of each site, distinct between
            molecules, ascending with the molecule; -1 for molecules without observed lines.
        line_shifts: (L,), observed shifts in ppm, sorted by group, then shift.
        line_molecules: (L,), int64, row of the molecule of each observed line.
        free_noise: (B, F - K), free parts for the generation penalty; or None.
        feature_noise: (B, F), what is added to the features; or None.
    """

    inputs: Any
    condition: Tensor
    target: Tensor
    site_groups: Tensor
    line_shifts: Tensor
    line_molecules: Tensor
    free_noise: Tensor | None = None
    feature_noise: Tensor | None = None

    def __len__(self) -> int:
        return len(self.condition)

    def to(self, device: torch.device) -> Batch:
        """The batch on another device."""
        return Batch(
            self.inputs.to(device),
            self.condition.to(device),
            self.target.to(device),
            self.site_groups.to(device),
            self.line_shifts.to(device),
            self.line_molecules.to(device),
            None if self.free_noise is None else self.free_noise.to(device),
            None if self.feature_noise is None else self.feature_noise.to(device),
        )


def matching_groups(
    molecule: Molecule, spectrum: Spectrum, nucleus: Nucleus
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Groups of sites, and the observed shifts sorted to fit them.

    Lines are compared with sites of the same multiplicity where the letters of the spectrum agree
    with the hydrogens of the structure, else all with all. Within a group, sorting both sides is
    the assignment with the least absolute error.

    Returns:
        site_classes (sites,) and line_shifts in ppm (sites,); the latter is empty where the
        spectrum does not have one line for every site.
    """
    expected = nucleus.multiplicities(molecule)
    if not spectrum.is_complete(len(expected)):
        return np.zeros(len(expected), np.int64), np.zeros(0, np.float32)
    observed = [peak.multiplicity for peak in spectrum.peaks]
    letters = sorted(set(expected))
    if sorted(observed) != sorted(expected):
        return np.zeros(len(expected), np.int64), np.array(spectrum.shifts, np.float32)
    rank = {letter: index for index, letter in enumerate(letters)}
    shifts = sorted((rank[peak.multiplicity], peak.ppm) for peak in spectrum.peaks)
    return (
        np.array([rank[letter] for letter in expected], np.int64),
        np.array([ppm for _, ppm in shifts], np.float32),
    )


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
    classes, shifts = matching_groups(example.molecule, example.spectrum, model.nucleus)
    return PreparedExample(
        model.encoder.prepare(example.molecule),
        Formula.of_molecule(example.molecule).vector(),
        model.codec.encode(example.spectrum),
        classes,
        shifts,
    )


def collate(
    model: ReversibleModel,
    examples: Sequence[PreparedExample],
    free_noise: Tensor | None = None,
    feature_noise: Tensor | None = None,
) -> Batch:
    """Join prepared examples into a batch on the CPU."""
    groups, shifts, molecules = [], [], []
    offset = 0
    for row, example in enumerate(examples):
        complete = len(example.line_shifts) > 0
        groups.append(
            example.site_classes + offset if complete else np.full_like(example.site_classes, -1)
        )
        offset += int(example.site_classes.max(initial=0)) + 1
        shifts.append(example.line_shifts)
        molecules.append(np.full(len(example.line_shifts), row, np.int64))
    return Batch(
        model.encoder.collate([example.inputs for example in examples]),
        torch.from_numpy(np.stack([example.condition for example in examples])),
        torch.from_numpy(np.stack([example.target for example in examples])),
        torch.from_numpy(np.concatenate(groups)),
        torch.from_numpy(np.concatenate(shifts)),
        torch.from_numpy(np.concatenate(molecules)),
        free_noise,
        feature_noise,
    )
