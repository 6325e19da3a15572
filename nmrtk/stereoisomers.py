"""Configurations that a structure leaves open."""

from __future__ import annotations

from rdkit.Chem.EnumerateStereoisomers import EnumerateStereoisomers, StereoEnumerationOptions
from rdkit.rdBase import BlockLogs

from nmrtk.errors import MoleculeError
from nmrtk.molecule import Molecule, canonical_smiles, parse_smiles

_SEED = 1


def stereoisomers(molecule: Molecule, most: int) -> list[Molecule]:
    r"""Molecules that are the given one with every stereocentre and double bond settled: all of
    them, or so many at random; the molecule itself where nothing is open, or RDKit finds fault.

    Mirror images are counted each. Some may be too strained to exist.

    Example:
        >>> [canonical_smiles(one, stereo=True) for one in stereoisomers(parse_smiles("CC=CC"), 8)]
        ['C/C=C/C', 'C/C=C\\C']
    """
    options = StereoEnumerationOptions(
        maxIsomers=most, onlyUnassigned=True, unique=True, rand=_SEED
    )
    try:
        with BlockLogs():
            isomers = list(EnumerateStereoisomers(molecule, options=options))
        found = {canonical_smiles(one, stereo=True) for one in isomers}
        return [parse_smiles(smiles) for smiles in sorted(found)]
    except (MoleculeError, RuntimeError, ValueError):
        return [molecule]
