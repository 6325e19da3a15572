"""What a model makes of spectra when it runs backwards: sections `generation` and `retrieval`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator
from rdkit.DataStructs import TanimotoSimilarity
from torch import Tensor

from nmrtk import seed_paper
from nmrtk.calibration import likelihood_matrix
from nmrtk.cohort import Cohort, Forward, Report
from nmrtk.formula import Formula
from nmrtk.model import ReversibleModel
from nmrtk.molecule import Molecule, canonical_smiles
from nmrtk.scoring import FloatArray, Moments, RankScore, correlation, rank_of, score_ranks
from nmrtk.tables import Table, fixed, percent, plus_minus

_CHUNK = 256

_MORGAN = GetMorganGenerator(radius=2, fpSize=2048)


@runtime_checkable
class CountsBonds(Protocol):
    """An encoder whose features tell bonds even where they stand for no valid molecule."""

    def bond_counts(self, features: Tensor) -> Tensor:
        """Numbers of bonds and of aromatic bonds (B, 2) that features (B, F) stand for."""


@dataclass(frozen=True, slots=True)
class BondScore:
    """Pearson correlation over spectra of the bonds of generated structures with the truth; None
    where one side does not vary.

    Args:
        bonds: number of bonds, one draw a spectrum, mean over the draws.
        aromatic: number of aromatic bonds, likewise.
        bonds_of_means: number of bonds, averaged over the draws before the correlation.
        aromatic_of_means: number of aromatic bonds, likewise.
    """

    bonds: float | None
    aromatic: float | None
    bonds_of_means: float | None
    aromatic_of_means: float | None


@dataclass(frozen=True, slots=True)
class MoleculeScore:
    """Molecules that generated features are decoded to.

    Args:
        valid: share of the draws that are valid molecules.
        formula: share of the draws with the right molecular formula.
        spectra_with_valid: share of the spectra with a valid draw.
        spectra_with_formula: share of the spectra with a draw of the right formula.
        exact: share of the spectra with a draw of the right constitution.
        best_tanimoto: of the draws of a spectrum to the truth, mean over spectra with valid draws.
        mean_tanimoto: mean over all valid draws.
        exact_with_true_free: share of the spectra that give the right constitution with the free
            part of the truth instead of a random one.
    """

    valid: float
    formula: float
    spectra_with_valid: float
    spectra_with_formula: float
    exact: float
    best_tanimoto: float | None
    mean_tanimoto: float | None
    exact_with_true_free: float


@dataclass(frozen=True, slots=True)
class GenerationSection:
    """Structures from observed spectra with random free parts.

    Args:
        spectra: B.
        draws: a spectrum.
        variation: between two draws for one spectrum, mean absolute difference of a feature; mean
            and deviation over spectra.
        bonds: None where the encoder's features tell no bonds.
        molecules: None where the encoder decodes no features.
    """

    spectra: int
    draws: int
    variation: Moments
    bonds: BondScore | None
    molecules: MoleculeScore | None

    def table(self) -> Table:
        """One row a figure."""
        rows = [["conditional variation at a fixed code", plus_minus(self.variation, 3),
                 seed_paper.CONDITIONAL_VARIATION]]  # fmt: skip
        if self.bonds is not None:
            rows += _bond_rows(self.bonds)
        notes = [
            f"{self.draws} draws a spectrum: inverse of the embedded observed spectrum with z from "
            "a standard normal, the formula given where the backbone is conditioned. Conditional "
            "variation: mean absolute difference of a feature between two draws, mean ± standard "
            "deviation over spectra (the seed paper's own code holds the predicted code fixed "
            "instead of the observed one)."
        ]
        if self.molecules is None:
            notes.append("Molecules: n/a, features of this encoder are not decodable.")
        else:
            rows += _molecule_rows(self.molecules, self.draws)
        return Table(
            f"Generation: {self.spectra} spectra", ["figure", "model", "seed paper"], rows, notes
        )


@dataclass(frozen=True, slots=True)
class RetrievalSection:
    """The true molecule found among those of the split.

    Args:
        library: number of different constitutions.
        queries: number of spectra.
        by_likelihood: ranked by the likelihood of the observed spectrum under each code.
        by_features: ranked by the distance of each molecule's features from those of random
            inversions of the spectrum.
    """

    library: int
    queries: int
    by_likelihood: RankScore
    by_features: RankScore

    def table(self) -> Table:
        """Ranks, beside those of guessing."""
        named = {
            "likelihood, forward": self.by_likelihood,
            "nearest features, backward": self.by_features,
            "guessing": score_ranks(np.arange(1, self.library + 1)),
        }
        rows = [
            [name, *map(percent, (s.top_1, s.top_10)), fixed(s.median_rank, 1),
             fixed(s.mean_reciprocal_rank, 3)]
            for name, s in named.items()
        ]  # fmt: skip
        return Table(
            f"Retrieval: {self.queries} spectra, library of {self.library} constitutions",
            ["ranked by", "top 1", "top 10", "median rank", "mean reciprocal rank"],
            rows,
            (
                "The library is the evaluated split itself. Forward: no formula is used for the "
                "spectrum. Backward: features in units of their deviation over the library, mean "
                "of squared distances over the draws; the formula is given where the backbone is "
                "conditioned.",
            ),
        )


def evaluate_generation(
    model: ReversibleModel,
    cohort: Cohort,
    forward: Forward,
    draws: int,
    seed: int,
    report: Report,
) -> tuple[GenerationSection, Tensor]:
    """Run the model backwards from every observed spectrum.

    Args:
        model: in evaluation mode.
        cohort: the molecules.
        forward: over the cohort.
        draws: free parts for each spectrum, at least 2.
        seed: of the free parts; each spectrum has its own stream.
        report: told of the progress.

    Returns:
        The section, and the mean features (B, F) of each spectrum's draws.
    """
    variation = np.zeros(len(cohort))
    means = torch.zeros_like(forward.features)
    bonds = _Bonds(cohort, draws) if isinstance(model.encoder, CountsBonds) else None
    molecules = _Molecules(draws) if model.encoder.decodes else None
    for row, example in enumerate(cohort.examples):
        features = _invert(model, forward, row, _noise(seed, row, draws, model.free_width))
        variation[row] = mean_difference(features)
        means[row] = features.mean(dim=0).cpu()
        structures = model.structure_features(features)
        if bonds is not None and isinstance(model.encoder, CountsBonds):
            bonds.counts[row] = model.encoder.bond_counts(structures).cpu().numpy()
        if molecules is not None:
            free = forward.outputs[row : row + 1, model.codec.width :]
            true_free = model.structure_features(_invert(model, forward, row, free))
            found = model.encoder.decode(torch.cat([structures, true_free]))
            molecules.add(example.molecule, found[:-1], found[-1])
        report(row + 1, len(cohort))
    section = GenerationSection(
        len(cohort),
        draws,
        Moments.of(variation),
        bonds.score() if bonds else None,
        molecules.score() if molecules else None,
    )
    return section, means


def evaluate_retrieval(
    model: ReversibleModel, cohort: Cohort, forward: Forward, means: Tensor
) -> RetrievalSection:
    """Rank the true molecule of every spectrum among the molecules of the cohort.

    Molecules of one constitution are one entry of the library, so that finding a stereoisomer of
    the truth is finding the truth.

    Args:
        model: in evaluation mode.
        cohort: the molecules.
        forward: over the cohort.
        means: (B, F), mean features of the inversions of each spectrum.
    """
    places: dict[str, int] = {}
    answers, rows = [], []
    for row, example in enumerate(cohort.examples):
        key = canonical_smiles(example.molecule)
        if key not in places:
            places[key] = len(places)
            rows.append(row)
        answers.append(places[key])
    answer = np.array(answers, dtype=np.int64)
    code = forward.outputs[rows, : model.codec.width]
    library = forward.features[rows]
    spread = library.std(dim=0, unbiased=False)
    # Features that never vary tell nothing, and would divide by zero.
    spread = torch.where(spread > 0, spread, torch.inf)
    known = (library - library.mean(dim=0)) / spread
    found = (means - library.mean(dim=0)) / spread
    likelihood, nearness = [], []
    for start in range(0, len(answer), _CHUNK):
        part = slice(start, start + _CHUNK)
        scores = likelihood_matrix(model.codec, code, forward.target[part])
        likelihood.append(rank_of(scores, answer[part]))
        nearness.append(rank_of(-torch.cdist(found[part], known).numpy(), answer[part]))
    return RetrievalSection(
        len(rows),
        len(answer),
        score_ranks(np.concatenate(likelihood)),
        score_ranks(np.concatenate(nearness)),
    )


def mean_difference(features: Tensor) -> float:
    """Mean absolute difference of a feature between two different rows of (D, F).

    Example:
        >>> mean_difference(torch.tensor([[0.0, 0.0], [1.0, 3.0]]))
        2.0
    """
    count, width = features.shape
    # In sorted order each value is the greater one of the pairs with those before it.
    weight = 2 * torch.arange(count, device=features.device, dtype=torch.float64) - (count - 1)
    total = (weight @ features.double().sort(dim=0).values).sum()
    return float(total) / (width * count * (count - 1) / 2)


class _Bonds:
    """Bonds of the draws, and of the truth."""

    def __init__(self, cohort: Cohort, draws: int) -> None:
        self.counts: FloatArray = np.zeros((len(cohort), draws, 2))
        self._truth = np.array([_bonds_of(example.molecule) for example in cohort.examples])

    def score(self) -> BondScore:
        """The correlations."""
        single, averaged = [], []
        for kind in range(2):
            truth = self._truth[:, kind]
            found = [correlation(draw, truth) for draw in self.counts[:, :, kind].T]
            known = [value for value in found if value is not None]
            single.append(float(np.mean(known)) if known else None)
            averaged.append(correlation(self.counts[:, :, kind].mean(axis=1), truth))
        return BondScore(single[0], single[1], averaged[0], averaged[1])


class _Molecules:
    """Counts what decoded draws are."""

    def __init__(self, draws: int) -> None:
        self._draws = draws
        self._valid: list[int] = []
        self._formula: list[int] = []
        self._exact: list[bool] = []
        self._true_free: list[bool] = []
        self._best: list[float] = []
        self._similarities: list[float] = []

    def add(
        self,
        truth: Molecule,
        found: list[Molecule | None],
        with_true_free: Molecule | None,
    ) -> None:
        """Count the draws of one spectrum."""
        constitution, formula = canonical_smiles(truth), Formula.of_molecule(truth)
        fingerprint = _MORGAN.GetFingerprint(truth)
        valid = [molecule for molecule in found if molecule is not None]
        similar = [TanimotoSimilarity(fingerprint, _MORGAN.GetFingerprint(m)) for m in valid]
        self._valid.append(len(valid))
        self._formula.append(sum(Formula.of_molecule(m) == formula for m in valid))
        self._exact.append(any(canonical_smiles(m) == constitution for m in valid))
        self._true_free.append(
            with_true_free is not None and canonical_smiles(with_true_free) == constitution
        )
        self._similarities += similar
        if similar:
            self._best.append(max(similar))

    def score(self) -> MoleculeScore:
        """The shares."""
        valid, formula = np.array(self._valid), np.array(self._formula)
        return MoleculeScore(
            valid=float(valid.mean() / self._draws),
            formula=float(formula.mean() / self._draws),
            spectra_with_valid=float((valid > 0).mean()),
            spectra_with_formula=float((formula > 0).mean()),
            exact=float(np.mean(self._exact)),
            best_tanimoto=float(np.mean(self._best)) if self._best else None,
            mean_tanimoto=float(np.mean(self._similarities)) if self._similarities else None,
            exact_with_true_free=float(np.mean(self._true_free)),
        )


def _invert(model: ReversibleModel, forward: Forward, row: int, free: Tensor) -> Tensor:
    """Features (D, F) from the observed spectrum of a row and free parts (D, F - K)."""
    code = model.codec.embed(forward.target[row : row + 1]).expand(len(free), -1)
    condition = forward.condition[row : row + 1].expand(len(free), -1)
    with torch.no_grad():
        return model.inverse(
            code.to(model.device), free.to(model.device), condition.to(model.device)
        )


def _noise(seed: int, row: int, draws: int, width: int) -> Tensor:
    """Standard normal (D, F - K), the same for a row whatever stands in the other rows."""
    digest = hashlib.sha256(f"{seed}:{row}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
    return torch.randn(draws, width, generator=generator)


def _bonds_of(molecule: Molecule) -> tuple[int, int]:
    aromatic = sum(bond.GetIsAromatic() for bond in molecule.GetBonds())
    return molecule.GetNumBonds(), aromatic


def _bond_rows(score: BondScore) -> list[list[str]]:
    return [
        ["bonds, correlation with the truth", fixed(score.bonds, 3), seed_paper.BONDS_CORRELATION],
        ["aromatic bonds, likewise", fixed(score.aromatic, 3), seed_paper.AROMATIC_CORRELATION],
        ["bonds, mean of the draws", fixed(score.bonds_of_means, 3), ""],
        ["aromatic bonds, mean of the draws", fixed(score.aromatic_of_means, 3), ""],
    ]


def _molecule_rows(score: MoleculeScore, draws: int) -> list[list[str]]:
    return [
        ["draws that are valid molecules", percent(score.valid), ""],
        ["draws of the right formula", percent(score.formula), ""],
        ["spectra with a valid draw", percent(score.spectra_with_valid), ""],
        ["spectra with a draw of the right formula", percent(score.spectra_with_formula), ""],
        [f"spectra with an exact match in {draws} draws", percent(score.exact), ""],
        ["best Tanimoto similarity of a spectrum", fixed(score.best_tanimoto, 3), ""],
        ["mean Tanimoto similarity of valid draws", fixed(score.mean_tanimoto, 3), ""],
        ["exact match with the true z", percent(score.exact_with_true_free), ""],
    ]
