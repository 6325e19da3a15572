"""What the lines of a second nucleus add to those of the first.

    python benchmarks/two_nuclei.py 13c --data c13.h5 --other-model h1-run/ --other-data h1.h5

Takes test molecules with spectra of both nuclei, at random, and searches each by its formula and
bare lines of the first nucleus, each once (setting c of `benchmarks/elucidate.py`). The candidates
that were found are then ranked again with the lines of the second nucleus beside them, so that both
rankings are of the same candidates. With `--isomers N` they are instead the truth and so many
isomers that differ from it by one to three exchanges of bonds and have the same hydrogens on each
atom: no search, but candidates that are hard to tell apart.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np

from nmrtk.checkpoint import LoadedModel, load_model
from nmrtk.dataset import DataSet
from nmrtk.decoys import random_isomers
from nmrtk.elucidation import Elucidation, Inversion, elucidate
from nmrtk.errors import NmrtkError
from nmrtk.formula import Formula
from nmrtk.interfaces import CandidateGenerator, Example
from nmrtk.molecule import Molecule, canonical_smiles, parse_smiles
from nmrtk.other_lines import OtherLines
from nmrtk.plugins import build
from nmrtk.query import Query
from nmrtk.recipe import SplitChoice
from nmrtk.spectrum import Spectrum, spectrum_of_shifts
from nmrtk.tables import Table, fixed, percent

MOST_MOVES = 3


@dataclass(frozen=True, slots=True)
class Pair:
    """A molecule with spectra of both nuclei."""

    first: Example
    second: Example


class Given(CandidateGenerator):
    """Candidates that are there already."""

    def __init__(self, smiles: Iterable[str]) -> None:
        self._smiles = tuple(smiles)

    def generate(self, query: Query, inversion: Inversion) -> Iterable[Molecule]:
        """All of them."""
        return map(parse_smiles, self._smiles)


def main() -> None:
    """Search, rank and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="of the first nucleus")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--other-model", required=True)
    parser.add_argument("--other-data", type=Path, required=True)
    parser.add_argument("--split", default="test", choices=["val", "test"])
    parser.add_argument("--molecules", type=int, default=30)
    parser.add_argument("--atoms", type=int, nargs=2, default=(6, 16), help="heavy atoms, from, to")
    parser.add_argument("--isomers", type=int, default=0, help="so many, in place of a search")
    parser.add_argument("--generator", default="refine")
    parser.add_argument("--seconds", type=float, default=30.0, help="for each molecule")
    parser.add_argument("--seed", type=int, default=0)
    choices = parser.parse_args()

    loaded, other = load_model(choices.model), load_model(choices.other_model)
    pairs = read_pairs(choices.data, choices.other_data, choices.split)
    low, high = choices.atoms
    pairs = [one for one in pairs if low <= one.first.molecule.GetNumAtoms() <= high]
    order = np.random.default_rng(choices.seed).permutation(len(pairs)).tolist()
    searching = None if choices.isomers else build("candidate_generators", choices.generator)
    ranks: list[tuple[int, int, int]] = []
    for index in order[: choices.molecules]:
        truth = pairs[index].first.molecule
        generator = searching or Given(near_isomers(truth, choices.isomers, choices.seed))
        ranks.append(rank_both(loaded, other, pairs[index], generator, choices.seconds))
        print(f"{len(ranks)}/{choices.molecules} {pairs[index].first.id} {ranks[-1]}", flush=True)
    print(table(ranks, (str(loaded.model.nucleus), str(other.model.nucleus))).to_markdown())


def read_pairs(first: Path, second: Path, split: str) -> list[Pair]:
    """Molecules of a split with a complete spectrum of the first nucleus, and any of the second."""
    with DataSet(first) as data, DataSet(second) as others:
        found = others.examples(SplitChoice(), split, complete_only=False)
        by_name = {canonical_smiles(one.molecule): one for one in found}
        examples = data.examples(SplitChoice(), split)
    names = [canonical_smiles(one.molecule) for one in examples]
    return [
        Pair(one, by_name[name])
        for one, name in zip(examples, names, strict=True)
        if name in by_name and "." not in name
    ]


def near_isomers(molecule: Molecule, count: int, seed: int) -> list[str]:
    """A molecule and isomers that are a few exchanges of bonds away."""
    rng = np.random.default_rng(seed)
    found = random_isomers(molecule, count, rng, most_moves=MOST_MOVES)
    return [canonical_smiles(one) for one in (molecule, *found)]


def rank_both(
    loaded: LoadedModel,
    other: LoadedModel,
    pair: Pair,
    generator: CandidateGenerator,
    seconds: float,
) -> tuple[int, int, int]:
    """Rank of the truth by the first nucleus and by both, 0 where it was not found, and the number
    of candidates.
    """
    molecule = pair.first.molecule
    query = Query(
        *(pair.first.id, bare(pair.first.spectrum), Formula.of_molecule(molecule)), seconds=seconds
    )
    truth = canonical_smiles(molecule)
    try:
        alone = elucidate(loaded, query, {"search": generator})
        again = Given(one.smiles for one in alone.candidates)
        lines = OtherLines(other, bare(pair.second.spectrum))
        both = elucidate(loaded, query, {"search": again}, others=[lines])
    except NmrtkError as error:
        print(f"{pair.first.id}: {error}")
        return 0, 0, 0
    return rank_of(truth, alone), rank_of(truth, both), len(alone.candidates)


def bare(spectrum: Spectrum) -> Spectrum:
    """Each line once."""
    return spectrum_of_shifts(spectrum.nucleus, sorted(set(spectrum.shifts)))


def rank_of(truth: str, answer: Elucidation) -> int:
    """Counted from 1; 0 where it is not there."""
    names = [canonical_smiles(parse_smiles(one.smiles)) for one in answer.candidates]
    return names.index(truth) + 1 if truth in names else 0


def table(ranks: Sequence[tuple[int, int, int]], nuclei: tuple[str, str]) -> Table:
    """A row a ranking."""
    rows = []
    for name, column in ((nuclei[0], 0), (" and ".join(nuclei), 1)):
        found = [row[column] for row in ranks]
        right = [rank for rank in found if rank]
        shares = [percent(fmean(0 < rank <= most for rank in found)) for most in (1, 3, 10)]
        rows.append([name, *shares, fixed(fmean(1 / rank for rank in right) if right else None, 2)])
    share = percent(fmean(row[0] > 0 for row in ranks))
    counts = fmean(row[2] for row in ranks)
    return Table(
        f"Rank of the truth for {len(ranks)} molecules",
        ["lines of", "top-1", "top-3", "top-10", "mean reciprocal rank where found"],
        rows,
        (f"The truth is among the candidates of {share}; {counts:.0f} candidates on average.",),
    )


if __name__ == "__main__":
    main()
