"""Structures to spectra: the forward direction, as rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.rdBase import BlockLogs

from nmrtk.checkpoint import LoadedModel
from nmrtk.errors import MoleculeError, SpectrumError
from nmrtk.model import Prediction, ReversibleModel, formula_vectors
from nmrtk.molecule import Molecule, finish_molecule, parse_smiles
from nmrtk.rows import Row, StructureRow
from nmrtk.spectrum import Peak, Spectrum

BATCH_SIZE = 256

_SHIFT_DIGITS = 2
_CODE_DIGITS = 4
_INDEX = "_nmrtkIndex"


def predict_rows(
    loaded: LoadedModel, structures: Iterable[str | StructureRow], batch_size: int = BATCH_SIZE
) -> Iterator[Row]:
    """Predict spectra, a row a structure, in order and as soon as a batch is full.

    Args:
        loaded: the model.
        structures: SMILES, or rows as `nmrtk.rows` reads them.
        batch_size: molecules that go through the model together.

    Returns:
        Rows with `id`, `smiles`, `nucleus`, `peaks` and `code`, or `id`, `smiles` and `error`.
    """
    rows = (
        StructureRow(f"item {number}", str(number), item) if isinstance(item, str) else item
        for number, item in enumerate(structures, start=1)
    )
    while batch := list(islice(rows, batch_size)):
        yield from _predict_batch(loaded, batch)


def prepare_molecules(
    model: ReversibleModel, molecules: Iterable[Molecule]
) -> tuple[list[Any], list[str]]:
    """What the encoder prepares of each molecule, and why it refuses it: None, or an empty text,
    where there is no such thing.
    """
    prepared: list[Any] = []
    refusals: list[str] = []
    for molecule in molecules:
        try:
            prepared.append(model.encoder.prepare(molecule))
            refusals.append("")
        except MoleculeError as error:
            prepared.append(None)
            refusals.append(str(error))
    return prepared, refusals


@torch.no_grad()
def predict_prepared(
    model: ReversibleModel, prepared: Sequence[Any], molecules: Sequence[Molecule]
) -> Prediction:
    """The forward direction for molecules that are prepared."""
    inputs = model.encoder.collate(prepared).to(model.device)
    return model(inputs, formula_vectors(molecules).to(model.device))  # type: ignore[no-any-return]


def predicted_spectra(
    loaded: LoadedModel, prediction: Prediction, molecules: Sequence[Molecule]
) -> list[Spectrum]:
    """A line for every site of every molecule, with calibrated sigma.

    Lines of the encoder carry their atom; where it predicts none, the codec makes them of the
    code, and which atom they belong to stays open.

    Raises:
        SpectrumError: the model's output is not finite.
    """
    model = loaded.model
    nucleus = model.nucleus
    if not torch.isfinite(prediction.code).all():
        raise SpectrumError("the model's output is not finite: it was not trained properly")
    if prediction.lines is None:
        counts = [len(nucleus.sites(molecule)) for molecule in molecules]
        return model.codec.decode(prediction.code, counts)
    shift = prediction.lines.shift.double().cpu().numpy()
    sigma = prediction.lines.scale.double().cpu().numpy() * loaded.calibration.sigma_factor
    rows = prediction.lines.molecule.cpu().numpy()
    starts = np.searchsorted(rows, np.arange(len(molecules) + 1))
    spectra = []
    for index, molecule in enumerate(molecules):
        sites = nucleus.sites(molecule)
        span = slice(starts[index], starts[index + 1])
        classes = _equivalence(molecule, sites)
        lines = zip(
            _class_means(shift[span], classes),
            _class_means(sigma[span], classes),
            nucleus.multiplicities(molecule),
            sites,
            strict=True,
        )
        peaks = [
            Peak(float(ppm), multiplicity=letter, atoms=(site,), sigma=float(width))
            for ppm, width, letter, site in lines
        ]
        spectra.append(Spectrum(str(nucleus), tuple(peaks), len(sites)))
    return spectra


def source_indices(smiles: str, molecule: Molecule) -> list[int]:
    """For each atom of `parse_smiles(smiles)`, its index in the SMILES, where hydrogens that
    stand as atoms of their own are counted too.

    Example:
        >>> source_indices("[H]OC", parse_smiles("[H]OC"))
        [1, 2]
    """
    parameters = Chem.SmilesParserParams()
    parameters.sanitize = False  # type: ignore[assignment]
    parameters.removeHs = False  # type: ignore[assignment]
    with BlockLogs():
        given = Chem.MolFromSmiles(smiles.strip(), parameters)
    if given.GetNumAtoms() == molecule.GetNumAtoms():
        return list(range(molecule.GetNumAtoms()))
    for atom in given.GetAtoms():
        atom.SetIntProp(_INDEX, atom.GetIdx())
    return [atom.GetIntProp(_INDEX) for atom in finish_molecule(given, smiles).GetAtoms()]


def _predict_batch(loaded: LoadedModel, rows: Sequence[StructureRow]) -> list[Row]:
    errors = {index: row.error for index, row in enumerate(rows) if row.error}
    usable: list[tuple[int, Molecule, Any]] = []
    for index, row in enumerate(rows):
        if index in errors:
            continue
        try:
            molecule = parse_smiles(row.smiles)
            usable.append((index, molecule, loaded.model.encoder.prepare(molecule)))
        except MoleculeError as error:
            errors[index] = str(error)
    results = {index: _error_row(rows[index], error) for index, error in errors.items()}
    if usable:
        molecules = [molecule for _, molecule, _ in usable]
        prediction = predict_prepared(loaded.model, [p for _, _, p in usable], molecules)
        try:
            spectra = predicted_spectra(loaded, prediction, molecules)
        except SpectrumError as error:
            if len(rows) == 1:
                return [_error_row(rows[0], str(error))]
            # One by one, so that only those that are at fault are lost.
            return [result for row in rows for result in _predict_batch(loaded, [row])]
        occupancy = loaded.model.codec.occupancy(prediction.code).double().cpu().numpy()
        for (index, molecule, _), spectrum, code in zip(usable, spectra, occupancy, strict=True):
            results[index] = _prediction_row(rows[index], molecule, spectrum, code)
    return [results[index] for index in range(len(rows))]


def _prediction_row(
    row: StructureRow, molecule: Molecule, spectrum: Spectrum, code: NDArray[np.float64]
) -> Row:
    given = source_indices(row.smiles, molecule)
    return {
        "id": row.id,
        "smiles": row.smiles,
        "nucleus": spectrum.nucleus,
        "peaks": [
            {
                "ppm": round(peak.ppm, _SHIFT_DIGITS),
                "sigma": None if peak.sigma is None else round(peak.sigma, _SHIFT_DIGITS),
                "multiplicity": peak.multiplicity,
                "atoms": [given[atom] for atom in peak.atoms],
            }
            for peak in spectrum.peaks
        ],
        "code": [round(value, _CODE_DIGITS) for value in code.tolist()],
    }


def _error_row(row: StructureRow, error: str) -> Row:
    return {"id": row.id, "smiles": row.smiles, "error": f"{row.position}: {error}"}


def _equivalence(molecule: Molecule, sites: Sequence[int]) -> NDArray[np.int64]:
    ranks = np.array(list(Chem.CanonicalRankAtoms(molecule, breakTies=False)), np.int64)
    return np.unique(ranks[list(sites)], return_inverse=True)[1].ravel()


def _class_means(values: NDArray[np.float64], classes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Values with those of equivalent atoms made equal: they differ by rounding noise."""
    sums = np.bincount(classes, weights=values)
    return np.asarray((sums / np.bincount(classes))[classes]) if len(values) else values
