"""Splits: which molecules train, which select, which test."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nmrtk.errors import UsageError

SPLITS = ("train", "val", "test")
SKELETON_LENGTH = 14
"""Letters of an InChIKey that stand for the constitution, without stereo and isotopes."""

_TEST_PERCENT = 10
_VAL_PERCENT = 10


class SplitChoice(Protocol):
    """What decides about splits; `SplitRule` and the table `split` of a recipe have it."""

    @property
    def kind(self) -> str:
        """`given` or `random`."""

    @property
    def seed(self) -> int:
        """Of a random split."""

    @property
    def train_fraction(self) -> float:
        """Of a random split."""


@dataclass(frozen=True, slots=True)
class SplitRule:
    """How the molecules of a data set are split.

    Args:
        kind: `given` takes the splits that the data set stores; `random` makes train and val
            anew, the protocol of the seed paper (arXiv 2602.03875).
        seed: of the random split.
        train_fraction: share of the skeletons that a random split puts into train.

    Raises:
        UsageError: an unknown kind, or a fraction outside 0 to 1.
    """

    kind: str = "given"
    seed: int = 0
    train_fraction: float = 0.8

    def __post_init__(self) -> None:
        if self.kind not in ("given", "random"):
            raise UsageError(f"{self.kind!r} is not a kind of split: choose given or random")
        if not 0 < self.train_fraction < 1:
            raise UsageError(
                f"train_fraction={self.train_fraction:g} is impossible: it lies between 0 and 1"
            )


def skeleton_of(inchikey: str) -> str:
    """The part of an InChIKey that stands for the constitution."""
    return inchikey[:SKELETON_LENGTH]


def split_of_skeleton(inchikey: str) -> str:
    """The split of a molecule whose source gives none: 80 % train, 10 % val, 10 % test.

    A hash of the skeleton decides, so that stereoisomers stay together, in every data set.

    Example:
        >>> split_of_skeleton("LFQSCWFLJHTTHZ-UHFFFAOYSA-N")
        'train'
    """
    percent = _hash(skeleton_of(inchikey)) % 100
    if percent < _TEST_PERCENT:
        return "test"
    return "val" if percent < _TEST_PERCENT + _VAL_PERCENT else "train"


def assign_splits(
    rule: SplitChoice, given: Sequence[str], skeletons: Sequence[str]
) -> NDArray[np.str_]:
    """The split of every molecule under a rule.

    Args:
        rule: how to split.
        given: the stored split of each of the M molecules.
        skeletons: the skeleton of each.

    Returns:
        Names, shape (M,).
    """
    if rule.kind == "given":
        return np.array(given, dtype=np.str_)
    # Ordering by a hash needs no random generator, whose numbers may change with its version.
    distinct = sorted(set(skeletons), key=lambda skeleton: _hash(f"{rule.seed}:{skeleton}"))
    train = set(distinct[: round(rule.train_fraction * len(distinct))])
    return np.array(["train" if s in train else "val" for s in skeletons], dtype=np.str_)


def rows_of_split(
    rule: SplitChoice, split: str, given: Sequence[str], skeletons: Sequence[str]
) -> NDArray[np.int64]:
    """Rows of the molecules of one split, ascending.

    Args:
        rule: how to split.
        split: `train`, `val` or `test`.
        given: the stored split of each molecule.
        skeletons: the skeleton of each.

    Raises:
        UsageError: no split has that name, or it is empty; says which there are.
    """
    if split not in SPLITS:
        raise UsageError(f"{split!r} is not a split: choose {', '.join(SPLITS)}")
    names = assign_splits(rule, given, skeletons)
    rows = np.flatnonzero(names == split)
    if not len(rows):
        counts = Counter(names.tolist())
        there = ", ".join(f"{name} ({counts[name]})" for name in SPLITS if counts[name])
        raise UsageError(
            f"the split {split!r} is empty with the rule {rule.kind!r}: "
            f"the data set has {there or 'no molecules'}"
        )
    return rows


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
