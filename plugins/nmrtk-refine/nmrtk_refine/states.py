"""Structures that were found, and their comparison with what the network predicts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nmrtk.interfaces import AtomLines
from nmrtk.model import Prediction, ReversibleModel
from nmrtk.molecule import Molecule
from nmrtk.prediction import predict_prepared, prepare_molecules
from nmrtk.score_settings import ScoreSettings
from nmrtk_refine.annealing import Workplace, evaluate, new_workplace
from nmrtk_refine.codes import DEPTH, Graph, write_codes
from nmrtk_refine.compiled import entry_point
from nmrtk_refine.energy import (
    INVERSE_SCALE,
    LOG_WIDTH,
    PRIOR,
    SHIFT,
    Table,
    Target,
    energy,
    find_row,
)
from nmrtk_refine.kinds import Isomer, load_graph
from nmrtk_refine.network import Network
from nmrtk_refine.prior import StructurePrior
from nmrtk_refine.problem import Problem
from nmrtk_refine.tables import searched_scale

BATCH_SIZE = 128


@dataclass(slots=True)
class State:
    """A structure that was found.

    Args:
        problem: number of the problem that it solves.
        isomer: the structure.
        energy: by the tables.
        score: energy with the lines that the network predicts and with what the prior says; None as
            long as the network was not asked.
        molecule: None as long as the network was not asked, or where RDKit finds fault.
        visits: number of chains that came upon it.
    """

    problem: int
    isomer: Isomer
    energy: float
    score: float | None = None
    molecule: Molecule | None = None
    visits: int = 0


@dataclass(frozen=True, slots=True)
class Learned:
    """What the network said of sites: N of them.

    Args:
        codes: (DEPTH + 1, N), uint64, of their environments.
        values: (N, 4), float32, as in `Table.values`.
    """

    codes: NDArray[np.uint64]
    values: NDArray[np.float32]


def square(triangle: NDArray[np.int8], count: int) -> NDArray[np.int8]:
    """A symmetric matrix (A, A) from its lower triangle, row by row."""
    bonds = np.zeros((count, count), np.int8)
    bonds[_lower(count)] = triangle
    return bonds + bonds.T


@lru_cache
def _lower(count: int) -> tuple[NDArray[np.int64], ...]:
    return np.tril_indices(count, -1)


class Judge:
    """Compares structures with the lines by way of the network.

    Args:
        model: the network.
        target: (K,), what its codec makes of the lines.
        problems: what is searched.
        table: of environments, for the prior.
        network: small one, for estimates.
        prior: over structures.
        settings: of the score, for the scales of lines.
    """

    def __init__(
        self,
        model: ReversibleModel,
        target: Tensor,
        problems: list[Problem],
        table: Table,
        network: Network,
        prior: StructurePrior,
        settings: ScoreSettings,
    ) -> None:
        self._settings = settings
        self._model = model
        self._target = target
        self._problems = problems
        self._table = table
        self._prior = prior
        self._graphs = [problem.graph() for problem in problems]
        self._work = [
            new_workplace(len(problem.kinds), len(problem.target.lines), 0, network)
            for problem in problems
        ]

    def estimate(self, states: list[State]) -> None:
        """Set the energies of states anew, by what the table holds now."""
        for number, problem in enumerate(self._problems):
            chosen = [state for state in states if state.problem == number]
            if not chosen:
                continue
            energies = np.zeros(len(chosen))
            estimate_all(
                self._graphs[number],
                np.stack([state.isomer.bonds for state in chosen]),
                np.stack([state.isomer.hydrogens for state in chosen]),
                self._table,
                problem.target,
                self._work[number],
                energies,
            )
            for state, value in zip(chosen, energies.tolist(), strict=True):
                state.energy = problem.cost + value

    def judge(self, states: list[State]) -> list[Learned]:
        """Set score and molecule of states; returns what was learned of their sites."""
        learned = []
        for start in range(0, len(states), BATCH_SIZE):
            learned += self._judge(states[start : start + BATCH_SIZE])
        return learned

    def _judge(self, states: list[State]) -> list[Learned]:
        molecules = [state.isomer.molecule() for state in states]
        sound = [
            (state, molecule)
            for state, molecule in zip(states, molecules, strict=True)
            if molecule is not None
        ]
        prepared, _ = prepare_molecules(self._model, (molecule for _, molecule in sound))
        kept = [
            (state, molecule, one)
            for (state, molecule), one in zip(sound, prepared, strict=True)
            if one is not None
        ]
        for state in states:
            state.score = np.inf
        if not kept:
            return []
        chosen = [molecule for _, molecule, _ in kept]
        prediction = predict_prepared(self._model, [one for *_, one in kept], chosen)
        for state, molecule, _ in kept:
            state.molecule = molecule
        if prediction.lines is None:
            self._judge_codes([state for state, *_ in kept], prediction)
            return []
        odds = self._prior.log_odds([state.isomer for state, *_ in kept])
        learned = []
        for (state, *_), (shift, scale), gain in zip(
            kept, _split(prediction.lines, len(kept)), odds.tolist(), strict=True
        ):
            state.score, said = self._line_score(state, shift, scale)
            state.score -= gain
            learned.append(said)
        return learned

    def _judge_codes(self, states: list[State], prediction: Prediction) -> None:
        """Where the network predicts no lines, by the likelihood of the code."""
        with torch.no_grad():
            likelihood = self._model.codec.log_likelihood(
                prediction.code, self._target.to(self._model.device).expand(len(states), -1)
            )
        for state, value in zip(states, likelihood.double().cpu().tolist(), strict=True):
            state.score = -value

    def _line_score(
        self, state: State, shift: NDArray[np.float32], scale: NDArray[np.float32]
    ) -> tuple[float, Learned]:
        problem, work = self._problems[state.problem], self._work[state.problem]
        scale = searched_scale(scale, self._settings)
        sites = problem.target.sites
        values = np.zeros((len(problem.kinds), 4), np.float32)
        values[sites, SHIFT] = shift
        values[sites, INVERSE_SCALE] = 1 / scale
        values[sites, LOG_WIDTH] = np.log(2 * scale)
        load_graph(self._graphs[state.problem], state.isomer.bonds, state.isomer.hydrogens)
        score = score_values(self._graphs[state.problem], self._table, problem.target, work, values)
        return problem.cost + score, Learned(work.codes[0][:, sites], values[sites])


def _split(lines: AtomLines, count: int) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Shifts and scales of each molecule."""
    owners = lines.molecule.cpu().numpy()
    ends = np.searchsorted(owners, np.arange(1, count))
    shifts, scales = lines.shift.cpu().numpy(), lines.scale.cpu().numpy()
    return list(zip(np.split(shifts, ends), np.split(scales, ends), strict=True))


@entry_point
def score_values(
    graph: Graph, table: Table, target: Target, work: Workplace, values: NDArray[np.float32]
) -> float:
    """Energy with the shifts and scales given; writes what the prior says into the values."""
    codes = work.codes[0]
    small_rings = write_codes(graph, codes)
    for atom in range(len(values)):
        values[atom, PRIOR] = table.values[find_row(table, codes, atom), PRIOR]
    return energy(graph, target, codes, values, small_rings, work.scratch)


@entry_point
def estimate_all(
    graph: Graph,
    bonds: NDArray[np.int8],
    hydrogens: NDArray[np.int8],
    table: Table,
    target: Target,
    work: Workplace,
    energies: NDArray[np.float64],
) -> None:
    """Write the energies (N,) by the table of structures with bonds (N, A, A) and hydrogens
    (N, A).
    """
    for number in range(len(energies)):
        load_graph(graph, bonds[number], hydrogens[number])
        energies[number] = evaluate(graph, table, target, work)


@entry_point
def prior_energy(graph: Graph, table: Table) -> float:
    """Energy of a structure's environments, before any line."""
    count = len(graph.degrees)
    codes = np.zeros((DEPTH + 1, count), np.uint64)
    write_codes(graph, codes)
    total = 0.0
    for atom in range(count):
        total += table.values[find_row(table, codes, atom), PRIOR]
    return total
