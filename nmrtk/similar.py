"""Known structures of a library that resemble an unknown compound."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator
from rdkit.DataStructs import TanimotoSimilarity

from nmrtk.library import Library
from nmrtk.line_score import LineScore
from nmrtk.molecule import canonical_smiles, parse_smiles
from nmrtk.score_settings import ScoreSettings
from nmrtk.spectrum import Spectrum

_LOOKED_AT = 200
_SECONDS = 5.0  # a library of millions must not hold up the answer

_MORGAN = GetMorganGenerator(radius=2, fpSize=2048)


@dataclass(frozen=True, slots=True)
class Similar:
    """A known structure.

    Args:
        smiles: canonical.
        similarity: Tanimoto similarity of Morgan fingerprints to the first candidate.
        mae_ppm: mean absolute difference of its predicted lines from the observed ones.
        name: what the library calls it, or an empty text.
    """

    smiles: str
    similarity: float
    mae_ppm: float
    name: str = ""


def similar_structures(
    library: Library, spectrum: Spectrum, settings: ScoreSettings, smiles: str, count: int = 6
) -> list[Similar]:
    """Entries whose predicted lines fit the observed ones well, whatever their formula, those that
    are most similar to a candidate first.

    Args:
        library: with predicted lines; others give nothing.
        spectrum: observed.
        settings: of the score.
        smiles: of the candidate, which is not among the results.
        count: how many at the most.
    """
    if not library.has_lines:
        return []
    score = LineScore(spectrum, settings)
    found: list[tuple[float, int, float]] = []
    end = time.monotonic() + _SECONDS
    for block in library.lines(library.matching(None, 1)):
        rough = score.screen(block.shift, block.scale, block.owner, block.hydrogens)
        ends = np.cumsum(np.bincount(block.owner))
        for row in np.argsort(-rough, kind="stable")[:_LOOKED_AT].tolist():
            span = slice(int(ends[row - 1]) if row else 0, int(ends[row]))
            match = score.match(block.shift[span], block.scale[span], block.hydrogens[span])
            found.append((float(rough[row]), int(block.entries[row]), match.mae_ppm))
        if time.monotonic() > end:
            break
    found.sort(key=lambda item: -item[0])
    candidate = parse_smiles(smiles)
    own, fingerprint = canonical_smiles(candidate), _MORGAN.GetFingerprint(candidate)
    results = []
    for _, entry, mae in found[:_LOOKED_AT]:
        molecule = library.molecule(entry)
        if canonical_smiles(molecule) == own:
            continue
        likeness = TanimotoSimilarity(fingerprint, _MORGAN.GetFingerprint(molecule))
        results.append(Similar(canonical_smiles(molecule, stereo=True), likeness, mae))
    results.sort(key=lambda one: (-one.similarity, one.mae_ppm))
    return results[:count]
