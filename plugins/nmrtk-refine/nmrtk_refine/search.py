"""The search: chains side by side, what they found joined, and what the network taught them."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from nmrtk.molecule import Molecule, canonical_smiles
from nmrtk_refine.annealing import Kept, anneal, new_kept, new_workplace
from nmrtk_refine.codes import RADIUS
from nmrtk_refine.energy import INVERSE_SCALE, LOG_WIDTH, SHIFT, Table
from nmrtk_refine.kinds import Isomer
from nmrtk_refine.problem import Problem
from nmrtk_refine.states import Judge, Learned, State, square
from nmrtk_refine.tables import EnvironmentTables, insert_rows

SHAKEN, HOT, WARM, COLD = 1e4, 4.0, 3.0, 1.0
"""Temperatures in nats: at which every move is accepted, where a chain starts from nothing, from a
good structure, and where it ends."""

LEARNED_ROOM = 80_000
"""Environments that the network can teach a search."""

_CHUNK, _SHAKEN_MOVES = 25_000, 2_000
_SMALL = 20  # heavy atoms
_LEAST_MOVES, _MOVES_GROW, _MOST_MOVES = 20_000, 1.2, 8_000_000
_ROUND = 0.15  # share of the time that one may take
_MOVES_TIMES_ATOMS = 3e6  # of a usual core in a second
_SCOUTED_COST, _SECOND_CHANCE = 5.0, 0.2
_LAST_LOOK, _LONGEST_LAST_LOOK_S = 0.1, 1.5
_JUDGED_TOGETHER, _ESTIMATED = 64, 1000
_ELITE = 20  # structures that chains go on from
_COLLECTED = 1000  # of what a chain kept: copying them takes time


@dataclass(frozen=True, slots=True)
class Plan:
    """How long a search goes on.

    Args:
        moves: of a chain that starts from nothing.
        chains: of a round.
        rounds: at most; 0 for no end but the deadline.
        judged: states that the network is asked about after each round.
        kept: states that a chain keeps.
    """

    moves: int
    chains: int = 4
    rounds: int = 0
    judged: int = 128
    kept: int = 2000


def workers() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_plan(atoms: int, seconds: float = math.inf) -> Plan:
    """A plan for a formula of so many heavy atoms.

    Long chains and many short ones find as much in the same time, and the network has its say
    between them. Their length does not depend on how fast the machine is, and hardly on the
    seconds, so that a seed gives the same again.
    """
    chains = max(4 if atoms <= _SMALL else 2, workers())
    moves = min(max(_LEAST_MOVES * _MOVES_GROW**atoms, _LEAST_MOVES), _MOST_MOVES)
    affordable = _ROUND * seconds * workers() * _MOVES_TIMES_ATOMS / atoms
    while chains * moves > affordable and moves > _LEAST_MOVES:
        moves /= 2
    return Plan(int(moves), chains)


@dataclass(frozen=True, slots=True)
class _Chain:
    """A chain to run: where it starts, how hot, how long."""

    problem: int
    start: State | None
    seed: int
    moves: int
    hot: float


class Search:
    """Searches the structures of low energy.

    Args:
        problems: what to search.
        tables: environments.
        judge: asks the network.
        plan: how long.
        seed: of the random numbers.
        deadline: on the clock of `time.monotonic`.

    Attributes:
        states: all that were found, by structure code.
        moves: that were tried so far.
        rounds: that were finished.
        chains: that were finished.
        judge_s: seconds that the network takes for a structure; 0 before it was asked.
    """

    def __init__(
        self,
        problems: list[Problem],
        tables: EnvironmentTables,
        judge: Callable[[Table], Judge],
        plan: Plan,
        seed: int = 0,
        deadline: float = math.inf,
    ) -> None:
        self.problems = problems
        self.states: dict[int, State] = {}
        self.moves = 0
        self.rounds = 0
        self.chains = 0
        self.judge_s = 0.0
        self._plan = plan
        self._deadline = deadline
        left = deadline - time.monotonic()
        # The network has a look at what the last chains found.
        self._chains_end = deadline - min(_LAST_LOOK * left, _LONGEST_LAST_LOOK_S)
        self._seeds = np.random.SeedSequence(seed)
        self._table = tables.table(LEARNED_ROOM)
        self._first_row = len(tables.keys)
        self._network = tables.network
        self._learned: list[Learned] = []
        self._judge = judge(self._table)
        self._random = np.random.default_rng(seed)

    def run(self) -> None:
        """Go on until the deadline, the last round, or nothing new turns up."""
        with ThreadPoolExecutor(workers()) as pool:
            idle = 0
            while time.monotonic() < self._chains_end:
                before = len(self.states)
                chains = self._next_chains()
                for chain, kept in zip(chains, pool.map(self._run_chain, chains), strict=True):
                    if kept is not None:
                        self._collect(chain.problem, kept)
                        self.chains += 1
                self.judge(self._plan.judged)
                self.rounds += 1
                idle = 0 if len(self.states) > before else idle + 1
                if idle == 3 or self.rounds == self._plan.rounds:
                    break

    def judge(self, count: int) -> None:
        """Ask the network about so many of the best states that it was not asked about.

        What it says of some corrects the energies of the others before the next are chosen: where
        the tables err about an environment, all the states that have it err together.
        """
        open_states = [state for state in self.states.values() if state.score is None]
        while count > 0 and open_states and time.monotonic() < self._deadline:
            open_states.sort(key=lambda state: state.energy)
            part = open_states[: min(count, _JUDGED_TOGETHER)]
            open_states = open_states[len(part) :]
            count -= len(part)
            begin = time.monotonic()
            self._learned += self._judge.judge(part)
            self.judge_s = (time.monotonic() - begin) / len(part)
            self._learn()
            # All of them would take as long as the chains; docs/experiments.md, entry 23.
            self._judge.estimate(open_states[:_ESTIMATED])

    def best(self) -> list[State]:
        """States that the network was asked about, best first."""
        judged = [state for state in self.states.values() if state.molecule is not None]
        return sorted(judged, key=lambda state: (state.score, state.energy))

    def candidates(self) -> Iterator[tuple[Molecule, float]]:
        """Molecules, best first, each constitution once, and the share of the chains that came
        upon each.
        """
        known = set()
        for state in self.best():
            if state.molecule is None:
                continue
            # Codes take Kekulé structures of large rings for different structures.
            name = canonical_smiles(state.molecule)
            if name not in known:
                known.add(name)
                yield state.molecule, state.visits / self.chains

    def _next_chains(self) -> list[_Chain]:
        count = self._plan.chains
        # In the first round, unusual kinds of atoms are tried too.
        scouted = [
            number
            for number, problem in enumerate(self.problems)
            if number and not self.rounds and problem.cost <= _SCOUTED_COST
        ]
        seeds = [int(one.generate_state(1)[0]) for one in self._seeds.spawn(count + len(scouted))]
        elite = self.best()[:_ELITE]
        chains = []
        for number, seed in enumerate(seeds[:count]):
            if elite and number % 2:
                start = elite[min(int(self._random.exponential(_ELITE / 5)), len(elite) - 1)]
                chains.append(_Chain(start.problem, start, seed, self._plan.moves // 2, WARM))
                continue
            chains.append(_Chain(self._choose_problem(), None, seed, self._plan.moves, HOT))
        for problem, seed in zip(scouted, seeds[count:], strict=True):
            moves = self._plan.moves // max(3, len(scouted))
            chains.append(_Chain(problem, None, seed, moves, HOT))
        return chains

    def _choose_problem(self) -> int:
        """One that was not tried or whose best state is good, at random."""
        weights = np.exp(-0.5 * np.array([problem.cost for problem in self.problems]))
        best = np.full(len(self.problems), np.nan)
        for state in self.best():
            if state.score is not None and not state.score >= best[state.problem]:
                best[state.problem] = state.score
        if np.isfinite(best).any():
            rise = np.where(np.isfinite(best), best - np.nanmin(best), 0.0)
            # One chain may have missed what is there.
            weights = weights * np.maximum(np.exp(-0.2 * rise), _SECOND_CHANCE)
        return int(self._random.choice(len(weights), p=weights / weights.sum()))

    def _run_chain(self, chain: _Chain) -> Kept | None:
        problem = self.problems[chain.problem]
        graph = problem.start(chain.seed) if chain.start is None else chain.start.isomer.graph()
        if graph is None:
            return None
        atoms = len(problem.kinds)
        kept = new_kept(atoms, self._plan.kept)
        work = new_workplace(atoms, len(problem.target.lines), chain.seed, self._network)
        legs = chain_legs(chain.moves, chain.hot, shaken=chain.start is None)
        left = sum(moves for moves, _, _ in legs)
        begin, done = time.monotonic(), 0
        for moves, hot, cold in legs:
            now = time.monotonic()
            if now >= self._chains_end:
                break
            # What time cuts short is the moves: a chain that does not cool down finds nothing.
            needed = left * (now - begin) / max(done, 1)
            left -= moves
            scaled = int(moves * min(1.0, (self._chains_end - now) / max(needed, 1e-9)))
            anneal(
                graph,
                problem.hydrogens_move,
                self._table,
                problem.target,
                work,
                kept,
                scaled,
                hot,
                cold,
            )
            done += scaled
        self.moves += done
        return kept

    def _collect(self, number: int, kept: Kept) -> None:
        problem = self.problems[number]
        count = len(problem.kinds)
        size = int(kept.size[0])
        for row in np.argsort(kept.energies[:size], kind="stable")[:_COLLECTED].tolist():
            key = int(kept.codes[row])
            energy = problem.cost + float(kept.energies[row])
            known = self.states.get(key)
            visits = 1
            if known is not None:
                known.visits += 1
                visits = known.visits
                # A structure may solve two problems: letter by letter, and where some are wrong.
                if known.problem == number or known.energy <= energy:
                    continue
            isomer = Isomer(
                problem.kinds, kept.hydrogens[row].copy(), square(kept.bonds[row], count)
            )
            self.states[key] = State(number, isomer, energy, visits=visits)

    def _learn(self) -> None:
        """Enter what the model said of the largest environments into the table of this search."""
        if not self._learned:
            return
        codes = np.concatenate([one.codes for one in self._learned], axis=1)
        values = np.concatenate([one.values for one in self._learned])
        keys, rows = summed_up(codes[RADIUS], values)
        # In the order in which they were learned, so that each keeps its row.
        keys, rows = keys[:LEARNED_ROOM], rows[:LEARNED_ROOM]
        first = self._first_row
        # The last row of the table is that of an unknown atom.
        self._table.values[first : first + len(keys)] = rows
        insert_rows(self._table, keys, first)


def summed_up(
    codes: NDArray[np.uint64], values: NDArray[np.float32]
) -> tuple[NDArray[np.uint64], NDArray[np.float32]]:
    """Environments of sites (N,) with values (N, 4), in the order in which they turn up: codes (E,)
    and values (E, 4). Where sites of one environment differ in shift, its scale is wider.
    """
    keys, places, members, counts = np.unique(
        codes, return_index=True, return_inverse=True, return_counts=True
    )
    members = members.reshape(-1)
    shift = np.bincount(members, values[:, SHIFT], len(keys)) / counts
    spread = np.bincount(members, np.abs(values[:, SHIFT] - shift[members]), len(keys)) / counts
    scale = np.bincount(members, 1 / values[:, INVERSE_SCALE], len(keys)) / counts
    scale = np.hypot(scale, spread * np.sqrt(1 + 1 / counts))
    rows = values[places]
    rows[:, SHIFT] = shift
    rows[:, INVERSE_SCALE] = 1 / scale
    rows[:, LOG_WIDTH] = np.log(2 * scale)
    order = np.argsort(places)
    return keys[order], rows[order]


def chain_legs(moves: int, hot: float = HOT, shaken: bool = True) -> list[tuple[int, float, float]]:
    """Moves, first and last temperature of the parts of a chain; each ends within a moment.

    Args:
        moves: of all.
        hot: first temperature.
        shaken: whether the structure that the chain starts from is forgotten.
    """
    parts = max(moves // _CHUNK, 1)
    steps = [hot * (COLD / hot) ** (step / parts) for step in range(parts + 1)]
    legs = [(moves // parts, hot, cold) for hot, cold in pairwise(steps)]
    if shaken:
        # Small formulas have few isomers, and so all of them turn up.
        legs.insert(0, (_SHAKEN_MOVES, SHAKEN, SHAKEN))
    return legs
