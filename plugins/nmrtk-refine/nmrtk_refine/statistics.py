"""From predicted shifts of atoms to what is known of their environments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nmrtk_refine.codes import RADIUS

UNSEEN_KINDS = 30.0
"""Among how many unseen environments the probability of all unseen ones is shared out."""

_PRIOR_ATOMS = 3.0  # weight of what is known of the next smaller environment, for the deviation
_LEAST_DEVIATION = 0.05  # ppm
_MANY = 5  # atoms from which the spread within an environment can be told
_LEAST_PULL, _MOST_PULL = 0.02, 2.0

Condensed = tuple[
    NDArray[np.uint64],
    NDArray[np.uint8],
    NDArray[np.float32],
    NDArray[np.float32],
    NDArray[np.float32],
    NDArray[np.float32],
]
"""The first fields of `EnvironmentTables`."""


@dataclass(frozen=True, slots=True)
class _Level:
    """Environments of one radius: E of N atoms.

    Args:
        keys: (E,).
        members: (N,), environment of each atom.
        parents: (E,), environment of the next smaller radius.
        counts: (E,), atoms.
        logs: (E, RADIUS).
        unseen: (E,).
        shifts: (E,).
        deviations: (E,), of atoms from the shift, in ppm.
        scales: (E,), what the model is unsure of.
    """

    keys: NDArray[np.uint64]
    members: NDArray[np.int64]
    parents: NDArray[np.int64]
    counts: NDArray[np.int64]
    logs: NDArray[np.float64]
    unseen: NDArray[np.float64]
    shifts: NDArray[np.float64]
    deviations: NDArray[np.float64]
    scales: NDArray[np.float64]


def condense(
    codes: NDArray[np.uint64], shifts: NDArray[np.float32], scales: NDArray[np.float32]
) -> Condensed:
    """Medians, uncertainties and frequencies of all environments.

    A shift is drawn towards that of the next smaller environment, the more the fewer atoms there
    are, by as much as atoms within environments differ compared with environments among each
    other. The scale joins what the model is unsure of with how far an atom that was not among
    them would lie from the shift.

    Args:
        codes: (RADIUS + 1, N), of N atoms.
        shifts: (N,), predicted; nan for atoms that give no line.
        scales: (N,), predicted; likewise.
    """
    levels: list[_Level] = []
    for radius in range(RADIUS + 1):
        levels.append(_level(codes, shifts, scales, radius, levels[-1] if levels else None))
    unsure = [
        np.hypot(
            level.scales, level.deviations * np.sqrt(1 + 1 / np.maximum(level.counts, 1))
        ).clip(_LEAST_DEVIATION)
        for level in levels
    ]
    return (
        np.concatenate([level.keys for level in levels]),
        np.concatenate([np.full(len(one.keys), r, np.uint8) for r, one in enumerate(levels)]),
        np.concatenate([level.shifts for level in levels]).astype(np.float32),
        np.concatenate(unsure).astype(np.float32),
        np.concatenate([level.logs for level in levels]).astype(np.float32),
        np.concatenate([level.unseen for level in levels]).astype(np.float32),
    )


def _level(
    codes: NDArray[np.uint64],
    shifts: NDArray[np.float32],
    scales: NDArray[np.float32],
    radius: int,
    smaller: _Level | None,
) -> _Level:
    keys, first, members, counts = np.unique(
        codes[radius], return_index=True, return_inverse=True, return_counts=True
    )
    members = members.reshape(-1)
    logs = np.zeros((len(keys), RADIUS))
    parents = np.zeros(len(keys), np.int64)
    if smaller is not None:
        parents = smaller.members[first]
        children = np.bincount(parents, minlength=len(smaller.keys))
        # Witten and Bell: what was seen for the first time tells how likely new ones are.
        logs[:] = smaller.logs[parents]
        logs[:, radius - 1] = np.log(counts / (smaller.counts + children)[parents])
    unseen = np.zeros(len(keys))
    if radius < RADIUS:
        pairs = np.unique(np.stack([codes[radius], codes[radius + 1]]), axis=1)
        kinds = np.bincount(np.searchsorted(keys, pairs[0]), minlength=len(keys))
        unseen = np.log(kinds / (counts + kinds) / UNSEEN_KINDS)

    lines = np.isfinite(shifts)
    owner, shift = members[lines], shifts[lines].astype(np.float64)
    number = np.bincount(owner, minlength=len(keys))
    middle = _medians(owner, shift, len(keys))
    spread = _sums(owner, np.abs(shift - middle[owner]), len(keys)) / np.maximum(number - 1, 1)
    unsure = _sums(owner, scales[lines].astype(np.float64), len(keys)) / np.maximum(number, 1)
    if smaller is None:
        return _Level(
            keys, members, parents, counts, logs, unseen, middle, spread.clip(1.0), unsure
        )
    above, above_spread = smaller.shifts[parents], smaller.deviations[parents]
    many = number >= _MANY
    weight = np.where(many, number, 0)
    ratio = (weight * spread).sum() / max((weight * above_spread).sum(), 1e-9)
    within = (spread[many] ** 2).mean() if many.any() else 1.0
    between = ((middle - above)[many] ** 2).mean() if many.any() else 1.0
    pull = np.clip(within / max(between, 1e-9), _LEAST_PULL, _MOST_PULL)
    drawn = (number * middle + pull * above) / (number + pull)
    degrees = np.maximum(number - 1, 0)
    deviation = (degrees * spread + _PRIOR_ATOMS * min(ratio, 1.0) * above_spread) / (
        degrees + _PRIOR_ATOMS
    )
    return _Level(keys, members, parents, counts, logs, unseen, drawn, deviation, unsure)


def _sums(owner: NDArray[np.int64], value: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    return np.bincount(owner, value, size).astype(np.float64)


def _medians(
    owner: NDArray[np.int64], value: NDArray[np.float64], size: int
) -> NDArray[np.float64]:
    """Median of the values of each owner; 0 where there are none."""
    order = np.lexsort((value, owner))
    count = np.bincount(owner, minlength=size)
    start = np.cumsum(count) - count
    result = np.zeros(size)
    has = count > 0
    ordered = value[order]
    low, high = start + (count - 1) // 2, start + count // 2
    result[has] = 0.5 * (ordered[low[has]] + ordered[high[has]])
    return result
