"""Molecules and spectra for the checks."""

from __future__ import annotations

from nmrtk.errors import UsageError
from nmrtk.interfaces import Example
from nmrtk.molecule import Molecule, parse_smiles
from nmrtk.nucleus import DEFAULT_NUCLEUS, Nucleus
from nmrtk.spectrum import Peak, Spectrum

# Measured 13C shifts as textbooks round them, in the order of the carbons of the SMILES. The
# first eight are hydrocarbons, so that encoders for those alone have enough to be checked with.
_ASSIGNED: dict[str, tuple[float, ...]] = {
    "c1ccccc1": (128.4,) * 6,
    "Cc1ccccc1": (21.5, 137.9, 129.1, 128.3, 125.4, 128.3, 129.1),
    "CCCCCC": (14.1, 22.7, 31.6, 31.6, 22.7, 14.1),
    "C1CCCCC1": (26.9,) * 6,
    "CC=C": (19.4, 133.9, 115.9),
    "C#CCCCC": (68.1, 84.5, 18.1, 30.7, 21.9, 13.6),
    "C=Cc1ccccc1": (113.7, 136.9, 137.6, 126.2, 128.5, 127.8, 128.5, 126.2),
    "c1ccc2ccccc2c1": (125.8, 125.8, 127.9, 133.5, 127.9, 125.8, 125.8, 127.9, 133.5, 127.9),
    "CCO": (18.2, 57.8),
    "CC(C)=O": (30.9, 207.1, 30.9),
    "CC(=O)OCC": (21.0, 171.1, 60.5, 14.2),
    "CC(=O)O": (20.8, 178.1),
    "CCN(CC)CC": (11.6, 46.3, 46.3, 11.6, 46.3, 11.6),
    "CC#N": (1.9, 116.4),
    "c1ccncc1": (135.9, 123.7, 149.9, 149.9, 123.7),
    "COc1ccccc1": (55.1, 159.6, 113.9, 129.5, 120.7, 129.5, 113.9),
    "C1CCOC1": (25.6, 25.6, 68.0, 68.0),
    "Clc1ccccc1": (134.3, 128.6, 129.7, 126.4, 129.7, 128.6),
}

# Valid, but outside what most encoders have in mind: no bond, no carbon, a dummy atom, salts,
# an element beyond all tables, an odd charge, a long chain, a big cage.
ODD_SMILES = (
    "C",
    "O",
    "[H][H]",
    "*",
    "[Na+].[Cl-]",
    "[Og]",
    "[C-]#[O+]",
    "C" * 80,
    "C12C3C4C1C5C2C3C45",
)
"""Molecules that a component may refuse, but only with a MoleculeError."""


def molecules() -> list[Molecule]:
    """Small organic molecules."""
    return [parse_smiles(smiles) for smiles in _ASSIGNED]


def odd_molecules() -> list[Molecule]:
    """Those of `ODD_SMILES`."""
    return [parse_smiles(smiles) for smiles in ODD_SMILES]


def examples(nucleus: Nucleus) -> list[Example]:
    """The molecules with assigned spectra.

    Raises:
        UsageError: the nucleus is not 13C.
    """
    if str(nucleus) != DEFAULT_NUCLEUS:
        raise UsageError(f"nmrtk.testing has no spectra of {nucleus}: give the check your own")
    found = []
    for smiles, shifts in _ASSIGNED.items():
        molecule = parse_smiles(smiles)
        sites = nucleus.sites(molecule)
        peaks = [
            Peak(ppm, multiplicity=letter, atoms=(site,))
            for ppm, letter, site in zip(
                shifts, nucleus.multiplicities(molecule), sites, strict=True
            )
        ]
        found.append(Example(smiles, molecule, Spectrum(str(nucleus), tuple(peaks), len(sites))))
    return found
