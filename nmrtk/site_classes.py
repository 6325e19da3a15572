"""Coarse classes of atoms, and the mean shift of each: where an encoder's shifts start from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmrtk.errors import DataError
from nmrtk.graph import (
    AROMATICITY,
    ELEMENT,
    ELEMENTS,
    HYBRIDISATION,
    HYDROGENS,
    ORDER,
    ORDER_DOUBLE,
    MolecularGraph,
)
from nmrtk.interfaces import Example
from nmrtk.matching import line_groups
from nmrtk.nucleus import Nucleus

# Double-bonded heteroatom, heteroatoms among the neighbours, aromatic, hydrogens, hybridisation
# (other, SP, SP2, SP3 and beyond).
_SHAPE = (2, 4, 2, 5, 4)

SITE_CLASSES = math.prod(_SHAPE)
"""Number of classes."""

_ROUNDS = 5  # of matching and averaging; the means move by less than 0.01 ppm after it
_LEAST_SPREAD_PPM = 0.01
_GROUP_SPAN = 1e6  # ppm; more than any difference of shifts, so that groups never overlap

_IS_HETERO = np.array([symbol not in ("H", "C") for symbol in (*ELEMENTS, "other")])


@dataclass(frozen=True, slots=True)
class ClassShifts:
    """What the coarse class of an atom says about its shift.

    Args:
        means: (SITE_CLASSES,), in ppm.
        spread: twice the root mean square of what the means leave unexplained, in ppm: the unit
            in which a network corrects them.
    """

    means: NDArray[np.float32]
    spread: float


def site_classes(graph: MolecularGraph) -> NDArray[np.int64]:
    """Class of every atom, (A,), below `SITE_CLASSES`."""
    to_hetero = _IS_HETERO[graph.atoms[:, ELEMENT]][graph.sources]
    double = to_hetero & (graph.bonds[:, ORDER] == ORDER_DOUBLE)
    count = len(graph.atoms)
    classes = np.ravel_multi_index(
        (
            np.bincount(graph.targets[double], minlength=count),
            np.bincount(graph.targets[to_hetero], minlength=count),
            graph.atoms[:, AROMATICITY],
            graph.atoms[:, HYDROGENS],
            graph.atoms[:, HYBRIDISATION],
        ),
        _SHAPE,
        mode="clip",
    )
    return np.asarray(classes, dtype=np.int64)


def fit_class_shifts(
    nucleus: Nucleus, examples: Sequence[Example], classes: Sequence[NDArray[np.integer[Any]]]
) -> ClassShifts:
    """Mean shifts of the classes, from spectra whose lines are not assigned to atoms.

    The sum of a complete spectrum does not depend on the assignment: ridge regression of the sums
    on the numbers of sites of each class starts the means. Then lines and sites are matched by
    order, and the means taken anew, a few times.

    Args:
        nucleus: whose lines.
        examples: those without one line for every site are only used where none is complete.
        classes: of the sites of each example, in the order of `Nucleus.sites`.

    Raises:
        DataError: there is no line at all.
    """
    matched = [
        (sites, line_groups(example.molecule, example.spectrum, nucleus))
        for example, sites in zip(examples, classes, strict=True)
    ]
    complete = [(c, lines) for c, lines in matched if lines.complete and len(lines.shifts)]
    if not complete:
        shifts = np.array([ppm for example in examples for ppm in example.spectrum.shifts])
        if not len(shifts):
            raise DataError(f"none of {len(examples)} spectra of {nucleus} has a line")
        spread = max(2 * float(shifts.std()), _LEAST_SPREAD_PPM)
        return ClassShifts(np.full(SITE_CLASSES, shifts.mean(), np.float32), spread)

    sites = np.concatenate([item for item, _ in complete])
    observed = np.concatenate([lines.shifts for _, lines in complete]).astype(np.float64)
    molecules = np.repeat(np.arange(len(complete)), [len(item) for item, _ in complete])
    groups = molecules * (1 + max(int(lines.site_groups.max()) for _, lines in complete))
    groups += np.concatenate([lines.site_groups for _, lines in complete])

    start = _regress_sums(sites, observed, molecules)
    counts = np.bincount(sites, minlength=SITE_CLASSES)
    means, assigned = start, np.empty_like(observed)
    for _ in range(_ROUNDS):
        # Lines stand by group and shift; put the sites into that order.
        assigned[np.argsort(groups * _GROUP_SPAN + means[sites], kind="stable")] = observed
        sums = np.bincount(sites, weights=assigned, minlength=SITE_CLASSES)
        means = (sums + start) / (counts + 1)
    residual = math.sqrt(np.square(assigned - means[sites]).mean())
    return ClassShifts(means.astype(np.float32), max(2 * residual, _LEAST_SPREAD_PPM))


def _regress_sums(
    sites: NDArray[np.integer[Any]],
    observed: NDArray[np.float64],
    molecules: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Ridge regression of the sum of each molecule's shifts on its class counts, (SITE_CLASSES,).

    Coarser classes have a weight of their own, which rare classes fall back to.
    """
    lengths = np.bincount(molecules)
    counts = np.zeros((len(lengths), SITE_CLASSES))
    np.add.at(counts, (molecules, sites), 1.0)
    parts = np.stack(np.unravel_index(np.arange(SITE_CLASSES), _SHAPE))
    coarse = np.ravel_multi_index(tuple(parts[[0, 1, 4]]), [_SHAPE[i] for i in (0, 1, 4)])
    design = np.concatenate([np.eye(SITE_CLASSES), np.eye(coarse.max() + 1)[coarse]], axis=1)

    # The sum of n lines varies as the root of n: divided by it, all molecules weigh alike.
    scale = 1 / np.sqrt(lengths)
    centre = observed.mean()
    left = (counts * scale[:, None]) @ design
    right = (np.bincount(molecules, weights=observed) - centre * lengths) * scale
    weights = np.linalg.solve(left.T @ left + np.eye(left.shape[1]), left.T @ right)
    return np.asarray(centre + design @ weights)
