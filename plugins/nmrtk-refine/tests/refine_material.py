"""Tables without a network: environments have shifts of their own, like ones like shifts."""

from collections import Counter

import numpy as np
from nmrtk_refine.codes import RADIUS
from nmrtk_refine.gathered import codes_of
from nmrtk_refine.kinds import Isomer, Kind
from nmrtk_refine.statistics import condense
from nmrtk_refine.tables import EnvironmentTables, Pattern

from nmrtk.molecule import parse_smiles
from nmrtk.spectrum import Peak, Spectrum

SMILES = [
    *("CCO", "CC(C)=O", "CCC=O", "C=CCO", "COC=C", "C1CCO1", "CC1CO1", "OC1CC1", "CC(O)=C"),
    *("COc1cc(C=O)ccc1O", "Cc1ccccc1", "c1ccc2[nH]ccc2c1", "O=[N+]([O-])c1ccccc1", "CCN", "CCS"),
    *("CS(C)(=O)=O", "CC(=O)OC", "CCOC(C)=O", "CCCC(=O)O", "C1COCCO1", "Clc1ccccc1", "CC#N"),
    *("C[N+](=O)[O-]", "CCP(=O)(OC)OC", "C[Si](C)(C)C", "CC(N)=O", "c1ccncc1", "[O-][n+]1ccccc1"),
    *("OB(O)c1ccccc1", "C[N+](C)(C)CC(=O)[O-]", "C[NH3+]", "CC[O-]"),
]
USUAL = {
    kind.element: kind
    for kind in (
        *(Kind("C", 0, 4), Kind("N", 0, 3), Kind("O", 0, 2), Kind("S", 0, 2), Kind("P", 0, 5)),
        *(Kind("Cl", 0, 1), Kind("Si", 0, 4), Kind("B", 0, 3)),
    )
}


def shift_of(codes):
    """A shift in ppm that depends on an atom's codes (RADIUS + 1,), on those of larger radius
    less and less.
    """
    parts = [int(code) % 997 / 997 for code in codes]
    return float(np.dot(parts, [100.0, 60.0, 20.0, 8.0]))


def make_tables(smiles=SMILES, fingerprint="none"):
    codes, shifts = [], []
    unusual = Counter()
    for text in smiles:
        isomer = Isomer.of_molecule(parse_smiles(text))
        some = codes_of(isomer)[0][: RADIUS + 1]
        codes.append(some)
        is_site = np.array([kind.element == "C" for kind in isomer.kinds])
        shifts.append(np.where(is_site, [shift_of(column) for column in some.T], np.nan))
        kinds = [kind for kind in isomer.kinds if USUAL.get(kind.element) != kind]
        unusual[tuple(sorted(Counter(kinds).items()))] += 1
    shift = np.concatenate(shifts).astype(np.float32)
    patterns = tuple(Pattern(kinds, count, len(smiles)) for kinds, count in unusual.items())
    return EnvironmentTables(
        *condense(np.concatenate(codes, axis=1), shift, np.where(np.isfinite(shift), 1.0, np.nan)),
        patterns,
        USUAL,
        "13C",
        fingerprint,
        {"structures": len(smiles)},
    )


def lines_of(smiles, letters=True):
    """The lines that the tables give a structure."""
    isomer = Isomer.of_molecule(parse_smiles(smiles))
    codes = codes_of(isomer)[0][: RADIUS + 1]
    return Spectrum(
        "13C",
        tuple(
            Peak(shift_of(column), multiplicity="SDTQ"[hydrogens] if letters else "")
            for kind, column, hydrogens in zip(isomer.kinds, codes.T, isomer.hydrogens, strict=True)
            if kind.element == "C"
        ),
    )


class TableJudge:
    """Believes the tables, where a network would be asked."""

    def __init__(self, table):
        self.asked = 0

    def judge(self, states):
        for state in states:
            state.molecule = state.isomer.molecule()
            state.score = np.inf if state.molecule is None else state.energy
        self.asked += len(states)
        return []

    def estimate(self, states):
        """What the tables say stays as it is."""
