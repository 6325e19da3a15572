"""Candidates by searching a library."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import zip_longest

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from nmrtk.elucidation import Inversion, Query
from nmrtk.errors import UsageError
from nmrtk.interfaces import CandidateGenerator
from nmrtk.library import Library
from nmrtk.line_score import LineScore
from nmrtk.molecule import Molecule

Entries = NDArray[np.int64]

_SCREENED = 8  # times as many entries as are wanted get the exact score


class LibraryGenerator(CandidateGenerator):
    """Finds the entries of a library that the spectrum may belong to, in both directions.

    Backward: the entries whose standardised features are nearest to those that the model, run
    backwards with fresh free parts, gives for the spectrum. Forward: those under whose stored
    lines, or codes where there are none, the spectrum is most likely. Where a formula is known,
    only its entries count.

    Args:
        draws: number of free parts that are drawn; 0 leaves the backward search out.
        neighbors: entries that are nearest to the features of a draw.
        likeliest: entries with the likeliest lines or codes, and no fewer than the query wants;
            0 leaves the forward search out.

    Raises:
        UsageError: an option is out of range.
    """

    invents = False

    def __init__(self, *, draws: int = 8, neighbors: int = 8, likeliest: int = 256) -> None:
        if draws < 0 or likeliest < 0 or neighbors < 1 or not draws + likeliest:
            raise UsageError(
                f"library: draws={draws} and likeliest={likeliest} must be at least 0 and not "
                f"both 0, neighbors={neighbors} at least 1"
            )
        self.draws = draws
        self.neighbors = neighbors
        self.likeliest = likeliest

    def generate(self, query: Query, inversion: Inversion) -> Iterator[Molecule]:
        """Entries of the library, those that either direction puts first at the front.

        Raises:
            UsageError: the query has no library.
        """
        library = query.library
        if library is None:
            raise UsageError("there is no library: give a file of structures with --library")
        entries = library.matching(query.formula, query.least_sites)
        if not len(entries):
            return
        forward = self._likeliest(library, entries, query, inversion) if self.likeliest else []
        # Where the forward search gives all entries, the backward one adds none.
        backward: list[int] = []
        if self.draws and len(entries) > self.likeliest:
            backward = self._nearest(library, entries, query, inversion)
        known: set[int] = set()
        for pair in zip_longest(forward, backward):
            for entry in pair:
                if entry is not None and entry not in known:
                    known.add(entry)
                    yield library.molecule(entry)

    def _likeliest(
        self, library: Library, entries: Entries, query: Query, inversion: Inversion
    ) -> list[int]:
        """Entries by falling likelihood of the spectrum."""
        count = max(self.likeliest, query.top)
        if library.has_lines:
            return self._by_lines(library, entries, query, inversion, count)
        found, scores = np.zeros(0, np.int64), np.zeros(0)
        for block, codes in library.codes(entries):
            code = torch.from_numpy(codes)
            with torch.no_grad():
                likelihood = inversion.model.codec.log_likelihood(
                    code, inversion.target.cpu().expand(len(code), -1)
                )
            found = np.concatenate([found, block])
            scores = np.concatenate([scores, likelihood.double().numpy()])
            best = np.argsort(-scores, kind="stable")[:count]
            found, scores = found[best], scores[best]
            if time.monotonic() >= query.deadline:
                break
        return found.tolist()

    def _by_lines(
        self,
        library: Library,
        entries: Entries,
        query: Query,
        inversion: Inversion,
        count: int,
    ) -> list[int]:
        """Entries by falling likelihood of the lines: a rough score for all, the exact one for
        the best of each block.
        """
        score = LineScore(query.spectrum, inversion.settings)
        found, scores = np.zeros(0, np.int64), np.zeros(0)
        for block in library.lines(entries):
            rough = score.screen(block.shift, block.scale, block.owner, block.hydrogens)
            best = np.sort(np.argsort(-rough, kind="stable")[: _SCREENED * count])
            chosen = np.zeros(len(block.entries), np.bool_)
            chosen[best] = True
            sites = chosen[block.owner]
            place = np.cumsum(chosen) - 1
            exact = score.score_arrays(
                block.shift[sites],
                block.scale[sites],
                place[block.owner[sites]],
                block.hydrogens[sites],
            )
            found = np.concatenate([found, block.entries[best]])
            scores = np.concatenate([scores, exact])
            keep = np.argsort(-scores, kind="stable")[:count]
            found, scores = found[keep], scores[keep]
            if time.monotonic() >= query.deadline:
                break
        return found.tolist()

    def _nearest(
        self, library: Library, entries: Entries, query: Query, inversion: Inversion
    ) -> list[int]:
        """Entries by their least rank among the neighbours of a draw."""
        drawn = library.standardise(inversion.sample(self.draws).cpu().numpy())
        found = np.zeros((self.draws, 0), np.int64)
        distances = np.zeros((self.draws, 0))
        for block, features in library.features(entries):
            search = NearestNeighbors(
                n_neighbors=min(self.neighbors, len(block)), algorithm="brute"
            )
            far, places = search.fit(features).kneighbors(drawn)
            found = np.concatenate([found, block[places]], axis=1)
            distances = np.concatenate([distances, far], axis=1)
            order = np.argsort(distances, axis=1, kind="stable")[:, : self.neighbors]
            found = np.take_along_axis(found, order, axis=1)
            distances = np.take_along_axis(distances, order, axis=1)
            if time.monotonic() >= query.deadline:
                break
        # Column by column: all first neighbours, then all second ones.
        return list(dict.fromkeys(found.T.ravel().tolist()))
