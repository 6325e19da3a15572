"""Molecules of SD records, with the way from the atoms of the molblock to those of the molecule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rdkit import Chem
from rdkit.rdBase import BlockLogs

from nmrtk.errors import MoleculeError
from nmrtk.molecule import Molecule, canonical_smiles, finish_molecule, parse_smiles

_SOURCE_INDEX = "nmrtk_source_index"


@dataclass(frozen=True, slots=True)
class BlockAtom:
    """One atom of a molblock.

    Args:
        element: its symbol.
        hydrogens: attached ones, explicit or not.
        target: index into the molecule, of the heavy atom for a hydrogen; None if it has none.
    """

    element: str
    hydrogens: int
    target: int | None


def read_molblock(lines: Sequence[str], smiles: str) -> tuple[Molecule, list[BlockAtom]]:
    """The molecule of a molblock, hydrogens implicit, and all atoms of the block.

    Args:
        lines: from the title to `M  END`.
        smiles: of the same record, or an empty string. nmrshiftdb2 writes flat blocks without
            wedges: the tetrahedral stereo is in the SMILES alone.

    Raises:
        MoleculeError: the block is damaged or the structure is impossible.
    """
    with BlockLogs():
        block = Chem.MolFromMolBlock(
            "\n".join(lines), sanitize=False, removeHs=False, strictParsing=False
        )
    if block is None:
        raise MoleculeError("the molblock is damaged: check its counts line, atoms and bonds")
    if _is_flat_but_called_3d(block):
        # From such coordinates RDKit perceives centres that are not there.
        for atom in block.GetAtoms():
            atom.SetChiralTag(Chem.ChiralType.CHI_UNSPECIFIED)
    for atom in block.GetAtoms():
        atom.SetIntProp(_SOURCE_INDEX, atom.GetIdx())
    title = lines[0].strip() or "molblock"
    molecule = finish_molecule(Chem.Mol(block), title)
    targets = {}
    for atom in molecule.GetAtoms():
        targets[atom.GetIntProp(_SOURCE_INDEX)] = atom.GetIdx()
        atom.ClearProp(_SOURCE_INDEX)
    block.UpdatePropertyCache(strict=False)
    atoms = [
        BlockAtom(
            atom.GetSymbol(),
            atom.GetTotalNumHs(includeNeighbors=True),
            targets.get(atom.GetIdx(), _target_of_hydrogen(atom, targets)),
        )
        for atom in block.GetAtoms()
    ]
    return _with_stereo_of(molecule, smiles), atoms


def _is_flat_but_called_3d(block: Molecule) -> bool:
    if not block.GetNumConformers():
        return False
    conformer = block.GetConformer()
    return conformer.Is3D() and not conformer.GetPositions()[:, 2].any()


def _target_of_hydrogen(atom: Chem.Atom, targets: dict[int, int]) -> int | None:
    neighbours = (targets.get(neighbour.GetIdx()) for neighbour in atom.GetNeighbors())
    return next((target for target in neighbours if target is not None), None)


def _with_stereo_of(molecule: Molecule, smiles: str) -> Molecule:
    """The molecule of a SMILES with the order of atoms of `molecule`, if that has no centres of
    its own and the constitution is the same; else `molecule`.
    """
    if not smiles or any(atom.GetChiralTag() for atom in molecule.GetAtoms()):
        return molecule
    try:
        other = parse_smiles(smiles)
    except MoleculeError:
        return molecule
    if canonical_smiles(other) != canonical_smiles(molecule):
        return molecule
    # Equal canonical SMILES are written atom by atom in corresponding order.
    order = [0] * molecule.GetNumAtoms()
    for mine, theirs in zip(_output_order(molecule), _output_order(other), strict=True):
        order[mine] = theirs
    return Chem.RenumberAtoms(other, order)


def _output_order(molecule: Molecule) -> list[int]:
    """Atoms in the order in which `canonical_smiles` wrote them last."""
    order: str = molecule.GetProp("_smilesAtomOutputOrder")
    return [int(index) for index in order.strip("[],").split(",")]
