"""Candidates by decoding features."""

from __future__ import annotations

import time
from collections.abc import Iterator

from nmrtk.elucidation import Inversion, Query
from nmrtk.errors import UsageError
from nmrtk.interfaces import CandidateGenerator
from nmrtk.molecule import Molecule


class DecodeGenerator(CandidateGenerator):
    """Runs the model backwards with fresh free parts, and decodes the features, until the time
    is up.

    Args:
        draws: number of draws after which it ends before its time; 0 for no such end.
        batch_size: draws that go through the model together.

    Raises:
        UsageError: an option is out of range.
    """

    def __init__(self, *, draws: int = 0, batch_size: int = 64) -> None:
        if draws < 0 or batch_size < 1:
            raise UsageError(
                f"decode: draws={draws} must be at least 0, batch_size={batch_size} at least 1"
            )
        self.draws = draws
        self.batch_size = batch_size

    def generate(self, query: Query, inversion: Inversion) -> Iterator[Molecule]:
        """Valid molecules, in the order in which they were drawn.

        Raises:
            UsageError: the encoder cannot decode, or the model needs a formula that is unknown.
        """
        model = inversion.model
        if not model.encoder.decodes:
            raise UsageError(
                f"the features of {type(model.encoder).__name__} cannot be decoded: give a "
                "library of structures to look through with --library"
            )
        done = 0
        while time.monotonic() < query.deadline and (not self.draws or done < self.draws):
            count = min(self.batch_size, self.draws - done) if self.draws else self.batch_size
            features = model.structure_features(inversion.sample(count))
            yield from (m for m in model.encoder.decode(features) if m is not None)
            done += count
