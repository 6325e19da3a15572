"""Whether a prior over structures tells a molecule from other isomers, before any line is seen.

    python benchmarks/structure_prior.py 13c --data c13.h5

For molecules of val, 200 different isomers at random, some exchanges of bonds away: in how many
cases the molecule ranks first, and which share of the isomers stands before it. By the density of
the free part that the reversible model gives them, by how often the environments of their atoms
occur among the training structures (the prior of the inner loop of `refine`), by these counts and
the network that was taught by wrong structures, and, for comparison, by the likelihood of the
measured lines. Where the model has no tables of environments beside it, these priors are left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from nmrtk_refine.kinds import Isomer
from nmrtk_refine.refine import load_tables, log_priors
from numpy.typing import NDArray

from nmrtk.candidates import free_log_density
from nmrtk.checkpoint import LoadedModel, load_model
from nmrtk.dataset import DataSet
from nmrtk.decoys import random_isomers
from nmrtk.errors import MoleculeError, UsageError
from nmrtk.interfaces import Example
from nmrtk.line_score import LineScore, arrays, hydrogen_counts
from nmrtk.molecule import Molecule, canonical_smiles, parse_smiles
from nmrtk.prediction import predict_prepared, prepare_molecules
from nmrtk.recipe import SplitChoice
from nmrtk.tables import Table as PrintedTable
from nmrtk.tables import percent

ISOMERS = 200
DISTANCES = (60, 3)
"""Exchanges of bonds between a molecule and its isomers, at the most."""

FEWEST, MOST = 8, 30
"""Heavy atoms of the molecules."""

Prior = Callable[[Example, Sequence[Molecule]], NDArray[np.float64]]


def main() -> None:
    """Rank, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="an installed model, or the folder or file of one")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--molecules", type=int, default=60)
    choices = parser.parse_args()
    loaded = load_model(choices.model)
    priors = make_priors(loaded)
    with DataSet(choices.data) as data:
        examples = data.examples(SplitChoice(), "val", complete_only=True, other_spectra=False)
    order = np.random.default_rng(0).permutation(len(examples))
    chosen = choose([examples[row] for row in order.tolist()], choices.molecules)
    places: dict[tuple[str, int], list[float]] = {}
    for example, by_distance in chosen:
        for distance, isomers in by_distance.items():
            structures = [parse_smiles(canonical_smiles(example.molecule)), *isomers]
            for name, prior in priors.items():
                values = prior(example, structures)
                places.setdefault((name, distance), []).append(
                    float((values[1:] >= values[0]).mean())
                )
    columns = ["ranked by", "exchanges, at most", "molecules", "first", "isomers before it"]
    lines = [
        [
            name,
            str(distance),
            str(len(shares)),
            percent(float(np.mean(np.array(shares) == 0.0))),
            percent(float(np.mean(shares))),
        ]
        for (name, distance), shares in places.items()
    ]
    print(PrintedTable("Molecules among random isomers", columns, lines).to_markdown())


def choose(
    examples: Sequence[Example], count: int
) -> Iterator[tuple[Example, dict[int, list[Molecule]]]]:
    """Uncharged molecules of medium size that have enough isomers, with these."""
    for example in examples:
        molecule = example.molecule
        if count == 0:
            return
        if not FEWEST <= molecule.GetNumAtoms() <= MOST:
            continue
        try:
            isomer = Isomer.of_molecule(molecule)
        except MoleculeError:
            continue
        if any(kind.charge for kind in isomer.kinds):
            continue
        by_distance = {
            distance: random_isomers(molecule, ISOMERS, np.random.default_rng(distance), distance)
            for distance in DISTANCES
        }
        if all(len(isomers) == ISOMERS for isomers in by_distance.values()):
            count -= 1
            yield example, by_distance


def make_priors(loaded: LoadedModel) -> dict[str, Prior]:
    """What structures are ranked by."""
    model = loaded.model

    def by_free_part(_: Example, structures: Sequence[Molecule]) -> NDArray[np.float64]:
        prepared, _refusals = prepare_molecules(model, structures)
        return free_log_density(predict_prepared(model, prepared, structures))

    def by_lines(example: Example, structures: Sequence[Molecule]) -> NDArray[np.float64]:
        prepared, _refusals = prepare_molecules(model, structures)
        lines = predict_prepared(model, prepared, structures).lines
        if lines is None:
            raise SystemExit("the encoder of this model predicts no lines")
        score = LineScore(example.spectrum, loaded.calibration.score)
        return score.score_arrays(*arrays(lines), hydrogen_counts(model.nucleus, structures))

    priors: dict[str, Prior] = {"density of the free part": by_free_part}
    try:
        tables = load_tables("", model)
    except UsageError as error:
        print(f"Without counts of environments: {error}")
    else:
        table = tables.table()
        priors["counts of environments"] = lambda _, structures: log_priors(structures, table, None)
        priors["counts and what wrong structures taught"] = lambda _, structures: log_priors(
            structures, table, tables.prior
        )
    return priors | {"measured lines": by_lines}


if __name__ == "__main__":
    main()
