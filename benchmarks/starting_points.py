"""What it is worth to start the search from structures that the model gives when run backwards.

    python benchmarks/starting_points.py 13c --data c13.h5 --molecules 24

For val molecules with formula and lines with multiplicity. The features that the backbone gives
back for the lines, averaged over draws of the free part, hold the counts of atom environments that
the model expects. A start is the best of so many moves, accepted by the distance of a structure's
own counts from these; or a random structure. From each, chains of the search of equal length, as
the search starts them: from a random structure hot, from a good one warm.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from elucidate import choose_molecules
from nmrtk_refine.annealing import anneal, new_kept, new_workplace
from nmrtk_refine.codes import Graph
from nmrtk_refine.energy import Table
from nmrtk_refine.gathered import codes_of
from nmrtk_refine.kinds import Isomer
from nmrtk_refine.moves import move, undo
from nmrtk_refine.network import Network, no_network
from nmrtk_refine.problem import Problem, make_problems
from nmrtk_refine.refine import load_tables
from nmrtk_refine.search import HOT, WARM, chain_legs
from nmrtk_refine.tables import EnvironmentTables
from numpy.typing import NDArray
from rdkit.Chem import rdFingerprintGenerator
from rdkit.DataStructs import TanimotoSimilarity

from nmrtk.checkpoint import LoadedModel, load_model
from nmrtk.dataset import DataSet
from nmrtk.environments import EnvironmentDescriptor, environment_counts
from nmrtk.errors import NmrtkError, UsageError
from nmrtk.formula import Formula
from nmrtk.graph_encoder import GraphEncoder
from nmrtk.interfaces import Example
from nmrtk.inversion import Inversion
from nmrtk.molecule import Molecule
from nmrtk.recipe import SplitChoice
from nmrtk.tables import Table as PrintedTable
from nmrtk.tables import fixed, percent

SIZE = "25-36"
DRAWS = 64
"""Of the free part."""

_HOT, _COLD = 100.0, 2.0  # squared distances of whitened counts
_KEPT = 2000
_FINGERPRINT = rdFingerprintGenerator.GetMorganGenerator(radius=2)


@dataclass(frozen=True, slots=True)
class Chain:
    """What came of a chain.

    Args:
        start: which kind of start.
        likeness: Tanimoto similarity of the start with the right structure.
        passes: whether the right structure is among what it passes.
        rise: energy of the best that it passes above that of the right structure, in nats.
    """

    start: str
    likeness: float
    passes: bool
    rise: float


def main() -> None:
    """Run the chains and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="an installed model, or the folder or file of one")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--size", default=SIZE, help="heavy atoms, as elucidate.py names them")
    parser.add_argument("--molecules", type=int, default=24)
    parser.add_argument("--chains", type=int, default=2, help="from each start, for each molecule")
    parser.add_argument("--moves", type=int, default=300_000, help="of a chain")
    parser.add_argument("--inverted-moves", type=int, default=6000, help="towards the features")
    choices = parser.parse_args()

    loaded = load_model(choices.model)
    encoder = loaded.model.encoder
    if not isinstance(encoder, GraphEncoder):
        parser.error(f"the features of {type(encoder).__name__} hold no counts of environments")
    descriptor = encoder.descriptor
    tables = load_tables("", loaded.model)
    table = tables.table()
    with DataSet(choices.data) as data:
        examples = data.examples(SplitChoice(), "val", complete_only=True)
    chains: list[Chain] = []
    for example in choose_molecules(examples)[choices.size][: choices.molecules]:
        try:
            found = list(chains_of(loaded, descriptor, tables, table, example, choices))
        except NmrtkError as error:
            print(f"{example.id}: {error}")
            continue
        chains += found
        for one in found:
            what = "passes" if one.passes else "misses"
            print(f"{example.id} {one.start} {one.likeness:.2f} {what} {one.rise:.1f}", flush=True)
    print(table_of(chains).to_markdown())


def chains_of(
    loaded: LoadedModel,
    descriptor: EnvironmentDescriptor,
    tables: EnvironmentTables,
    table: Table,
    example: Example,
    choices: argparse.Namespace,
) -> Iterator[Chain]:
    """Chains from both kinds of starts for one molecule."""
    right = Isomer.of_molecule(example.molecule)
    formula = Formula.of_molecule(example.molecule)
    problems = make_problems(formula, example.spectrum, tables)
    problem = next((one for one in problems if sorted(one.kinds) == sorted(right.kinds)), None)
    if problem is None:
        raise UsageError("its kinds of atoms are not searched")
    wanted = expected_counts(loaded, descriptor, example, formula)
    for number in range(choices.chains):
        begin = problem.start(number)
        if begin is None or as_molecule(begin, problem) is None:
            raise UsageError("there is no random structure")
        inverted = towards(begin, problem, descriptor, wanted, choices.inverted_moves, number)
        for start, graph, hot in (("random", begin, HOT), ("inverted", inverted, WARM)):
            yield run_chain(
                start, graph, hot, problem, table, tables.network, right, choices.moves, number
            )


def expected_counts(
    loaded: LoadedModel, descriptor: EnvironmentDescriptor, example: Example, formula: Formula
) -> NDArray[np.float32]:
    """Whitened environment counts (W,) that the model gives back for the lines."""
    model = loaded.model
    target = torch.from_numpy(model.codec.encode(example.spectrum))
    features = Inversion(model, target, {formula: 1.0}, 0).sample(DRAWS)
    width = descriptor.projection.shape[1]
    mean: NDArray[np.float32] = model.structure_features(features)[:, -width:].mean(0).numpy()
    return mean


def towards(
    begin: Graph,
    problem: Problem,
    descriptor: EnvironmentDescriptor,
    wanted: NDArray[np.float32],
    moves: int,
    seed: int,
) -> Graph:
    """The structure nearest to whitened counts that annealing from another one passes."""
    projection, offset = descriptor.projection.numpy(), descriptor.offset.numpy()
    graph = copied(begin, problem)
    work = new_workplace(len(problem.kinds), len(problem.target.lines), seed, no_network())
    random = np.random.default_rng(seed)

    def distance() -> float:
        molecule = as_molecule(graph, problem)
        if molecule is None:
            return math.inf
        places, counts = environment_counts(molecule)
        return float(np.square(np.sqrt(counts) @ projection[places] - offset - wanted).sum())

    current = best = distance()
    kept = copied(graph, problem)
    for step in range(moves):
        temperature = _HOT * (_COLD / _HOT) ** (step / moves)
        changes = move(graph, problem.hydrogens_move, work.random, work.log, work.scratch.stack)
        if not changes:
            continue
        trial = distance()
        if trial - current <= -temperature * math.log(max(random.random(), 1e-300)):
            current = trial
            if trial < best:
                best, kept = trial, copied(graph, problem)
        else:
            undo(graph, work.log, changes)
    return kept


def run_chain(
    start: str,
    graph: Graph,
    hot: float,
    problem: Problem,
    table: Table,
    network: Network,
    right: Isomer,
    moves: int,
    seed: int,
) -> Chain:
    """A chain of the search."""
    atoms, lines = len(problem.kinds), len(problem.target.lines)
    molecule, truth = as_molecule(graph, problem), right.molecule()
    graph = copied(graph, problem)
    work = new_workplace(atoms, lines, seed, network)
    kept = new_kept(atoms, _KEPT)
    for leg in chain_legs(moves, hot, shaken=start == "random"):
        anneal(graph, problem.hydrogens_move, table, problem.target, work, kept, *leg)
    size = int(kept.size[0])
    truth_graph = ordered(right, problem).graph()
    alone = new_kept(atoms, 1)
    moving = problem.hydrogens_move
    truth_energy = anneal(truth_graph, moving, table, problem.target, work, alone, 0, 1, 1)
    return Chain(
        start,
        TanimotoSimilarity(*map(_FINGERPRINT.GetFingerprint, (molecule, truth))),
        codes_of(right)[1] in kept.codes[:size].tolist(),
        float(kept.energies[:size].min() - truth_energy),
    )


def ordered(isomer: Isomer, problem: Problem) -> Isomer:
    """The same structure with its atoms in the order of the problem."""
    rows = sorted(
        range(len(isomer.kinds)), key=lambda row: (isomer.kinds[row], -int(isomer.hydrogens[row]))
    )
    places = sorted(
        range(len(problem.kinds)), key=lambda row: (problem.kinds[row], -int(problem.fixed[row]))
    )
    order = np.empty(len(rows), np.int64)
    order[places] = rows
    return Isomer(problem.kinds, isomer.hydrogens[order], isomer.bonds[np.ix_(order, order)])


def isomer_of(graph: Graph, problem: Problem) -> Isomer:
    """The structure that a graph of the search is."""
    return Isomer(problem.kinds, graph.hydrogens.astype(np.int8), graph.bonds.copy())


def as_molecule(graph: Graph, problem: Problem) -> Molecule | None:
    """What RDKit makes of a graph of the search."""
    molecule: Molecule | None = isomer_of(graph, problem).molecule()
    return molecule


def copied(graph: Graph, problem: Problem) -> Graph:
    """Another graph of the same structure."""
    return isomer_of(graph, problem).graph()


def table_of(chains: Sequence[Chain]) -> PrintedTable:
    """A row for each kind of start."""
    lines = []
    for start in dict.fromkeys(one.start for one in chains):
        some = [one for one in chains if one.start == start]
        rises = sorted(one.rise for one in some)
        lines.append(
            [
                start,
                str(len(some)),
                fixed(fmean(one.likeness for one in some), 2),
                percent(fmean(one.passes for one in some)),
                fixed(rises[len(rises) // 2], 1),
            ]
        )
    columns = ["start", "chains", "Tanimoto of the start", "pass the right structure", "rise"]
    note = (
        "Tanimoto (Morgan, radius 2) compares the start with the right structure; the rise is the "
        "median energy of the best structure of a chain above that of the right one, in nats."
    )
    return PrintedTable("Starting points", columns, lines, (note,))


if __name__ == "__main__":
    main()
