"""The candidate generator `refine`."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nmrtk.errors import CheckpointError, MoleculeError, UsageError
from nmrtk.formula import Formula
from nmrtk.interfaces import CandidateGenerator
from nmrtk.inversion import Inversion
from nmrtk.model import ReversibleModel
from nmrtk.molecule import Molecule
from nmrtk.query import Query
from nmrtk_refine.energy import Table
from nmrtk_refine.kinds import Isomer
from nmrtk_refine.prior import StructurePrior
from nmrtk_refine.problem import make_problems
from nmrtk_refine.search import Search, default_plan
from nmrtk_refine.states import Judge, prior_energy
from nmrtk_refine.tables import TABLES_FILE, EnvironmentTables, fingerprint
from nmrtk_refine.warmup import compile_all

_RESERVE = 0.1  # share of the time that is left for those who take the candidates
_LEAST_RESERVE_S, _MOST_RESERVE_S = 0.5, 2.5
_FEWEST = 20
_TAKING = 1.5  # time that those who take a candidate need for it, by that which the model takes


class RefineGenerator(CandidateGenerator):
    """Searches the isomers of the formula by annealing, until the time is up.

    The inner loop compares structures with the lines by tables of atom environments, distilled
    from the model; the best are compared again by the model itself.

    Args:
        tables: file of the tables; by default `refine.safetensors` beside the model's file.
        moves: of a chain; 0 for a number that suits the formula.
        rounds: after which the search ends before its time; 0 for no such end.
        judged: structures that the model compares after each round.
        candidates: structures that are handed on at most.

    Raises:
        UsageError: an option is out of range.
    """

    needs_formula = True

    def __init__(
        self,
        *,
        tables: str = "",
        moves: int = 0,
        rounds: int = 0,
        judged: int = 128,
        candidates: int = 200,
    ) -> None:
        if min(moves, rounds) < 0 or min(judged, candidates) < 1:
            raise UsageError(
                f"refine: moves={moves} and rounds={rounds} must be at least 0, judged={judged} "
                f"and candidates={candidates} at least 1"
            )
        self.tables = tables
        self.moves = moves
        self.rounds = rounds
        self.judged = judged
        self.candidates = candidates
        self._loaded: tuple[ReversibleModel, EnvironmentTables] | None = None
        self._table: Table | None = None
        self._recurrence: float | None = None
        # Here and not with the first query, whose seconds it would cost.
        compile_all()

    def generate(self, query: Query, inversion: Inversion) -> Iterator[Molecule]:
        """Isomers of the formula, those that fit the lines best first.

        Raises:
            UsageError: the formula is missing or cannot be searched, or there are no tables for
                the model.
        """
        if query.formula is None:
            raise UsageError("isomers are searched for a formula: give one with --formula")
        tables = self._tables_for(inversion.model)
        yield from self.search(query, query.formula, tables, inversion)

    def search(
        self, query: Query, formula: Formula, tables: EnvironmentTables, inversion: Inversion
    ) -> Iterator[Molecule]:
        """Isomers of one formula, until the deadline of the query.

        Raises:
            UsageError: the formula cannot be searched.
        """
        problems = make_problems(formula, query.spectrum, tables)
        left = max(query.deadline - time.monotonic(), 0.0)
        reserve = min(max(_RESERVE * left, _LEAST_RESERVE_S), _MOST_RESERVE_S)
        plan = replace(
            default_plan(len(problems[0].kinds), left), rounds=self.rounds, judged=self.judged
        )
        if self.moves:
            plan = replace(plan, moves=self.moves)
        search = Search(
            problems,
            tables,
            lambda table: Judge(
                *(inversion.model, inversion.target, problems, table, tables.network, tables.prior),
                inversion.settings,
            ),
            plan,
            inversion.seed,
            query.deadline - reserve,
        )
        search.run()
        fitting = (found for found in search.candidates() if query.allows(found[0]))
        count = self.candidates
        if search.judge_s and query.deadline < math.inf:
            left = max(query.deadline - time.monotonic(), 0.0)
            count = min(count, max(int(left / (_TAKING * search.judge_s)), _FEWEST))
        for molecule, share in islice(fitting, count):
            self._recurrence = share
            yield molecule

    def recurrence(self) -> float | None:
        """Share of the chains that came upon the structure that was given last."""
        return self._recurrence

    def log_priors(
        self, molecules: Sequence[Molecule], inversion: Inversion
    ) -> NDArray[np.float64] | None:
        """By how often the environments of their atoms occur, and by what tells structures from
        those that a search finds beside them; None where there are no tables.
        """
        try:
            tables = self._tables_for(inversion.model)
        except UsageError:
            return None  # those who search are told
        if self._table is None:
            self._table = tables.table()
        return log_priors(molecules, self._table, tables.prior)

    def _tables_for(self, model: ReversibleModel) -> EnvironmentTables:
        if self._loaded is None or self._loaded[0] is not model:
            self._loaded = model, load_tables(self.tables, model)
            self._table = None
        return self._loaded[1]


def log_priors(
    molecules: Sequence[Molecule], table: Table, prior: StructurePrior | None
) -> NDArray[np.float64]:
    """Of structures (B,), in nats; nan for one that the search does not know.

    Args:
        molecules: the structures.
        table: of environments, for their counts.
        prior: what is added to these; None for the counts alone.
    """
    values = np.full(len(molecules), math.nan)
    isomers = {}
    for row, molecule in enumerate(molecules):
        try:
            isomers[row] = Isomer.of_molecule(molecule)
        except MoleculeError:
            continue
        values[row] = -prior_energy(isomers[row].graph(), table)
    if prior is not None:
        values[list(isomers)] += prior.log_odds(list(isomers.values()))
    return values


def load_tables(name: str, model: ReversibleModel) -> EnvironmentTables:
    """The tables of a file, or those beside a model's file.

    Raises:
        UsageError: there are none, or they were made from another model.
    """
    make = "make them with `python -m nmrtk_refine distill --model MODEL --structures FILE`"
    if name:
        path = Path(name)
    elif model.path is not None:
        path = model.path.parent / TABLES_FILE
    else:
        raise UsageError(
            f"the model has no file beside which {TABLES_FILE} could lie: name one with "
            "-G refine.tables=FILE"
        )
    if not path.is_file():
        raise UsageError(f"refine needs tables of the model, and {path} does not exist: {make}")
    try:
        tables = EnvironmentTables.load(path)
    except CheckpointError as error:
        raise UsageError(f"{error}; {make}") from error
    if tables.nucleus != str(model.nucleus):
        raise UsageError(f"{path} is for {tables.nucleus}, the model for {model.nucleus}: {make}")
    if tables.fingerprint != fingerprint(model):
        raise UsageError(f"{path} was made from another model than the one in use: {make}")
    return tables
