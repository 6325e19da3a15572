"""Predictions as records of an SD file, with the shifts on the atoms."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from rdkit import Chem
from rdkit.Chem import rdDepictor

from nmrtk import __version__
from nmrtk.molecule import Molecule, parse_smiles
from nmrtk.predicted import PredictedSpectrum
from nmrtk.prediction import source_indices

_MOST_TITLE = 80  # characters that the format has for it
_WIDTH = 190  # of lines; the format allows 200
_MISSING = "n/a"  # as RDKit writes it


def sd_record(prediction: PredictedSpectrum, more: Mapping[str, str] | None = None) -> str:
    """One record, up to `$$$$`: a flat drawing, and the lines twice.

    Args:
        prediction: of one structure.
        more: further items of the record.

    `Spectrum 13C 0` is what nmrshiftdb2 writes, `shift;intensity and multiplicity;atom|` with
    atoms counted from 0. The lists `atom.dprop.shift_13C` and `atom.dprop.sigma_13C` have a value
    for each atom; RDKit reads them as properties of the atoms. `Program` marks the spectrum as
    calculated, as in nmrshiftdb2, so that no import takes it for a measured one. A structure that
    could not be predicted is a record without atoms that says why.
    """
    more = more or {}
    if prediction.error:
        return _record(Chem.Mol(), prediction, {"error": prediction.error, **more})
    molecule = parse_smiles(prediction.smiles)
    rdDepictor.Compute2DCoords(molecule)
    place = {given: own for own, given in enumerate(source_indices(prediction.smiles, molecule))}
    nucleus = prediction.nucleus
    lines = []
    shifts, sigmas = [[_MISSING] * molecule.GetNumAtoms() for _ in range(2)]
    for peak in prediction.peaks:
        atoms = [place[atom] for atom in peak.atoms]
        for atom in atoms:
            shifts[atom] = str(peak.ppm)
            sigmas[atom] = _MISSING if peak.sigma is None else str(peak.sigma)
        index = str(atoms[0]) if atoms else ""
        lines.append(f"{peak.ppm};0.0{peak.multiplicity};{index}|")
    items = {"SMILES": prediction.smiles, **more}
    if lines:
        # Lines of the file have a limit; readers join them.
        items["Program"] = f"0:nmrtk {__version__}"
        items[f"Spectrum {nucleus} 0"] = textwrap.fill(" ".join(lines), _WIDTH).replace(" ", "")
        items[f"atom.dprop.shift_{nucleus}"] = textwrap.fill(" ".join(shifts), _WIDTH)
        items[f"atom.dprop.sigma_{nucleus}"] = textwrap.fill(" ".join(sigmas), _WIDTH)
    if prediction.solvent:
        items["Solvent"] = f"0:{prediction.solvent}"
    return _record(molecule, prediction, items)


def _record(molecule: Molecule, prediction: PredictedSpectrum, items: Mapping[str, str]) -> str:
    # A line break would end the title, and RDKit keeps what it is given.
    molecule.SetProp("_Name", " ".join(str(prediction.id).split())[:_MOST_TITLE])
    for name, text in items.items():
        molecule.SetProp(name, text)
    record: str = Chem.SDWriter.GetText(molecule)
    return record
