"""What `elucidate.py` compares nmrtk with: each answers the same queries."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np
from nmrtk_refine.annealing import anneal, new_kept, new_workplace
from nmrtk_refine.kinds import Isomer
from nmrtk_refine.network import no_network
from nmrtk_refine.problem import make_problems
from nmrtk_refine.refine import load_tables
from nmrtk_refine.search import SHAKEN

from nmrtk.candidates import matched_mae
from nmrtk.elucidation import Candidate, Elucidation
from nmrtk.formula import Formula
from nmrtk.interfaces import CandidateGenerator, Example, SpectrumCodec
from nmrtk.inversion import Inversion
from nmrtk.molecule import Molecule, canonical_smiles
from nmrtk.query import Query

_SHAKEN_MOVES = 1000
_MOST_TRIES = 20  # for each structure wanted


class RandomIsomers(CandidateGenerator):
    """Isomers of the formula at random, which the forward direction then ranks.

    A random tree with random further bonds, moved about as long as the search moves its starts.
    Where the multiplicities say how many hydrogens each carbon has, the isomers have them.

    Args:
        count: of isomers, repeated ones included.
    """

    needs_formula = True

    def __init__(self, count: int = 1000) -> None:
        self.count = count

    def generate(self, query: Query, inversion: Inversion) -> Iterator[Molecule]:
        """Valid isomers.

        Raises:
            UsageError: the formula is one that the search cannot have either.
        """
        assert query.formula is not None  # the core sees to it
        tables = load_tables("", inversion.model)
        problem = make_problems(query.formula, query.spectrum, tables)[0]
        table = tables.table(0)
        atoms, lines = len(problem.kinds), len(problem.target.lines)
        kept = new_kept(atoms, 2)
        random = np.random.default_rng(inversion.seed)
        found = 0
        for _ in range(self.count * _MOST_TRIES):
            if found == self.count or time.monotonic() > query.deadline:
                return
            seed = int(random.integers(2**62))
            graph = problem.start(seed)
            if graph is None:
                return
            work = new_workplace(atoms, lines, seed, no_network())
            moving = problem.hydrogens_move
            anneal(graph, moving, table, problem.target, work, kept, _SHAKEN_MOVES, SHAKEN, SHAKEN)
            isomer = Isomer(problem.kinds, graph.hydrogens.astype(np.int8), graph.bonds.copy())
            if (molecule := isomer.molecule()) is not None:
                found += 1
                yield molecule


class NearestSpectra:
    """The training molecules whose measured spectra are most alike.

    By the Jaccard index of the codes; equal ones by the lines. Among those of the formula where
    there are such.

    Args:
        codec: of the codes.
        examples: of train.
    """

    def __init__(self, codec: SpectrumCodec, examples: Sequence[Example]) -> None:
        self._codec = codec
        self._examples = examples
        codes = np.stack([codec.encode(example.spectrum) for example in examples])
        self._occupied = codes > 0
        self._formulas = np.array(
            [str(Formula.of_molecule(example.molecule)) for example in examples]
        )

    def answer(self, query: Query) -> Elucidation:
        """The nearest ones; they have no probability."""
        start = time.monotonic()
        occupied = self._codec.encode(query.spectrum) > 0
        both = (self._occupied & occupied).sum(1)
        likeness = both / np.maximum((self._occupied | occupied).sum(1), 1)
        chosen = np.arange(len(likeness))
        if query.formula is not None:
            same = np.flatnonzero(self._formulas == str(query.formula))
            chosen = same if len(same) else chosen
        nearest = chosen[np.argsort(-likeness[chosen], kind="stable")[: 4 * query.top]].tolist()
        gaps = {
            row: matched_mae(query.spectrum.shifts, self._examples[row].spectrum.shifts)
            for row in nearest
        }
        nearest.sort(key=lambda row: (-likeness[row], gaps[row]))
        candidates = []
        known = set()
        for row in nearest:
            smiles = canonical_smiles(self._examples[row].molecule)
            if smiles not in known:
                known.add(smiles)
                candidates.append(Candidate(smiles, 0.0, gaps[row], "nearest spectrum"))
        return Elucidation(tuple(candidates[: query.top]), 1.0, time.monotonic() - start, ())
