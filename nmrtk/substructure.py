"""Parts that a structure must or must not have, as SMARTS patterns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rdkit import Chem
from rdkit.rdBase import BlockLogs

from nmrtk.errors import UsageError, shorten
from nmrtk.molecule import Molecule

_MOST_CHARACTERS = 2000


def parse_smarts(text: str) -> Molecule:
    """Read one SMARTS pattern.

    Raises:
        UsageError: it is empty or no SMARTS; says which and shows an example.

    Example:
        >>> parse_smarts("C(=O)[OH]").GetNumAtoms()
        3
    """
    plain = text.strip()
    example = "write a pattern such as C(=O)[OH] or c1ccncc1"
    if not plain:
        raise UsageError(f"the SMARTS is empty: {example}")
    # RDKit would take what follows a blank for a name.
    if len(plain) > _MOST_CHARACTERS or not plain.isascii() or any(c.isspace() for c in plain):
        raise UsageError(
            f"{shorten(plain)!r} is not a SMARTS: it has blanks or unusual characters; {example}"
        )
    with BlockLogs():
        pattern = Chem.MolFromSmarts(plain)
    if pattern is None or not pattern.GetNumAtoms():
        raise UsageError(
            f"{shorten(plain)!r} is not a SMARTS: check brackets, ring closures and symbols; "
            f"{example}"
        )
    # So that ring queries of the pattern can be asked.
    pattern.UpdatePropertyCache(strict=False)
    return pattern


def parse_patterns(texts: Iterable[str]) -> tuple[Molecule, ...]:
    """Read several, as `parse_smarts`."""
    return tuple(parse_smarts(text) for text in texts)


def fits_patterns(
    molecule: Molecule, contains: Sequence[Molecule], lacks: Sequence[Molecule]
) -> bool:
    """Whether a molecule has all patterns of the first kind and none of the second."""
    return all(molecule.HasSubstructMatch(pattern) for pattern in contains) and not any(
        molecule.HasSubstructMatch(pattern) for pattern in lacks
    )
