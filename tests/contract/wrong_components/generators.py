"""Generators that each break one rule."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from right_components import (
    DrawGenerator,
)

from nmrtk.elucidation import Inversion, Query
from nmrtk.molecule import Molecule, canonical_smiles


class SearchesForever(DrawGenerator):
    def generate(self, query: Query, inversion: Inversion) -> Iterator[Molecule]:
        return super().generate(replace(query, deadline=math.inf), inversion)


class FindsNothing(DrawGenerator):
    def generate(self, query: Query, inversion: Inversion) -> Iterator[Molecule]:
        return iter(())


class YieldsText(DrawGenerator):
    def generate(self, query: Query, inversion: Inversion) -> Iterator[Any]:
        return (canonical_smiles(molecule) for molecule in super().generate(query, inversion))


class YieldsEmpty(DrawGenerator):
    def generate(self, query: Query, inversion: Inversion) -> Iterator[Molecule]:
        return (Molecule() for _ in super().generate(query, inversion))


class OwnRandomness(DrawGenerator):
    def generate(self, query: Query, inversion: Inversion) -> Iterator[Molecule]:
        inversion.sample(torch.randint(1, 100, ()).item())
        return super().generate(query, inversion)


class NeedsFormula(DrawGenerator):
    def generate(self, query: Query, inversion: Inversion) -> Iterator[Molecule]:
        assert query.formula is not None
        return super().generate(query, inversion)


class OptionBare(DrawGenerator):
    def __init__(self, draws: int = 4) -> None:
        super().__init__(draws=draws)


class OnePriorForAll(DrawGenerator):
    def log_priors(
        self, molecules: Sequence[Molecule], inversion: Inversion
    ) -> NDArray[np.float64]:
        return np.zeros(1)


class PriorsByOrder(DrawGenerator):
    def log_priors(
        self, molecules: Sequence[Molecule], inversion: Inversion
    ) -> NDArray[np.float64]:
        return np.array([float(one.GetAtomWithIdx(0).GetAtomicNum()) for one in molecules])


class CountsAttempts(DrawGenerator):
    def recurrence(self) -> float:
        return 4.0


WRONG_GENERATORS = {
    SearchesForever: "deadline",
    FindsNothing: "finds candidates",
    YieldsText: "valid candidates",
    YieldsEmpty: "valid candidates",
    OwnRandomness: "same candidates again",
    NeedsFormula: "query of lines alone",
    OptionBare: "constructor",
    OnePriorForAll: "shape of the priors",
    PriorsByOrder: "priors of structures",
    CountsAttempts: "recurrence",
}
