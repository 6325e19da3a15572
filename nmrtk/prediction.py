"""Structures to spectra: the forward direction, as rows."""

from __future__ import annotations

import re
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
"""Structures that are read, predicted and written together."""

_MOST_ATOMS = 8192
"""Atoms that go through the model together: large molecules must not fill the memory."""

_ROUNDING_PPM = 1e-3
"""Lines of equivalent atoms differ by less, since sums in another order round differently."""

_SHIFT_DIGITS = 2
_CODE_DIGITS = 4
_INDEX = "_nmrtkIndex"
_HYDROGEN_ATOM = re.compile(r"\[\d*H")

_Usable = tuple[int, StructureRow, Molecule, Any]
"""Index of a row in its batch, the row, its molecule, and what the encoder prepared of that."""


def predict_rows(
    loaded: LoadedModel, structures: Iterable[str | StructureRow], batch_size: int = BATCH_SIZE
) -> Iterator[Row]:
    """Predict spectra, a row a structure, in order and as soon as a batch is full.

    Args:
        loaded: the model.
        structures: SMILES, or rows as `nmrtk.rows` reads them.
        batch_size: structures that are predicted together.

    Returns:
        Rows with `id`, `smiles`, `nucleus`, `peaks` and `code`, or `id`, `smiles` and `error`.
    """
    rows = (
        item if isinstance(item, StructureRow) else _row_of(item, number)
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
    found = model.encoder.prepare_many(list(molecules))
    refused = [isinstance(one, MoleculeError) for one in found]
    prepared = [None if no else one for one, no in zip(found, refused, strict=True)]
    return prepared, [str(one) if no else "" for one, no in zip(found, refused, strict=True)]


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
    nucleus = loaded.model.nucleus
    lines = prediction.lines
    outputs = [prediction.code] if lines is None else [prediction.code, lines.shift, lines.scale]
    if not all(torch.isfinite(output).all() for output in outputs):
        raise SpectrumError("the model's output is not finite: it was not trained properly")
    sites = [nucleus.sites(molecule) for molecule in molecules]
    if lines is None:
        return loaded.model.codec.decode(prediction.code, [len(some) for some in sites])
    owners = lines.molecule.cpu().numpy()
    shift, sigma = _made_equal(
        owners,
        lines.shift.double().cpu().numpy(),
        lines.scale.double().cpu().numpy() * loaded.calibration.sigma_factor,
    )
    starts = np.searchsorted(owners, np.arange(len(molecules))).tolist()
    spectra = []
    for molecule, atoms, start in zip(molecules, sites, starts, strict=True):
        span = slice(start, start + len(atoms))
        letters = nucleus.multiplicities(molecule, atoms)
        peaks = [
            Peak(ppm, multiplicity=letter, atoms=(atom,), sigma=width)
            for ppm, width, letter, atom in zip(
                shift[span].tolist(), sigma[span].tolist(), letters, atoms, strict=True
            )
        ]
        spectra.append(Spectrum(str(nucleus), tuple(peaks), len(atoms)))
    return spectra


def source_indices(smiles: str, molecule: Molecule) -> list[int]:
    """For each atom of `parse_smiles(smiles)`, its index in the SMILES, where hydrogens that
    stand as atoms of their own are counted too.

    Example:
        >>> source_indices("[H]OC", parse_smiles("[H]OC"))
        [1, 2]
    """
    count = molecule.GetNumAtoms()
    if not _HYDROGEN_ATOM.search(smiles):
        return list(range(count))
    parameters = Chem.SmilesParserParams()
    parameters.sanitize = False  # type: ignore[assignment]
    parameters.removeHs = False  # type: ignore[assignment]
    with BlockLogs():
        given = Chem.MolFromSmiles(smiles.strip(), parameters)
    if given.GetNumAtoms() == count:
        return list(range(count))
    for atom in given.GetAtoms():
        atom.SetIntProp(_INDEX, atom.GetIdx())
    return [atom.GetIntProp(_INDEX) for atom in finish_molecule(given, smiles).GetAtoms()]


def _predict_batch(loaded: LoadedModel, rows: Sequence[StructureRow]) -> list[Row]:
    results: dict[int, Row] = {}
    parsed: list[tuple[int, StructureRow, Molecule]] = []
    for index, row in enumerate(rows):
        try:
            if row.error:
                raise MoleculeError(row.error)
            parsed.append((index, row, parse_smiles(row.smiles)))
        except MoleculeError as error:
            results[index] = _error_row(row, str(error))
    prepared, refusals = prepare_molecules(loaded.model, [molecule for _, _, molecule in parsed])
    usable: list[_Usable] = []
    for (index, row, molecule), inputs, refusal in zip(parsed, prepared, refusals, strict=True):
        if refusal:
            results[index] = _error_row(row, refusal)
        else:
            usable.append((index, row, molecule, inputs))
    for portion in _portions(usable):
        results |= _predict_portion(loaded, portion)
    return [results[index] for index in range(len(rows))]


def _portions(usable: Sequence[_Usable]) -> Iterator[Sequence[_Usable]]:
    """What goes through the model together: no more than `_MOST_ATOMS`, or a single molecule."""
    start = total = 0
    for place, (_, _, molecule, _) in enumerate(usable):
        total += molecule.GetNumAtoms()
        if total > _MOST_ATOMS and place > start:
            yield usable[start:place]
            start, total = place, molecule.GetNumAtoms()
    if usable:
        yield usable[start:]


def _predict_portion(loaded: LoadedModel, portion: Sequence[_Usable]) -> dict[int, Row]:
    molecules = [molecule for _, _, molecule, _ in portion]
    prediction = predict_prepared(loaded.model, [item[-1] for item in portion], molecules)
    try:
        spectra = predicted_spectra(loaded, prediction, molecules)
    except SpectrumError as error:
        if len(portion) == 1:
            return {index: _error_row(row, str(error)) for index, row, _, _ in portion}
        # One by one, so that only those that are at fault are lost.
        alone = (_predict_portion(loaded, [item]) for item in portion)
        return {index: row for results in alone for index, row in results.items()}
    occupancy = loaded.model.codec.occupancy(prediction.code).double().cpu().numpy()
    codes = occupancy.round(_CODE_DIGITS).tolist()
    return {
        index: _prediction_row(row, molecule, spectrum, code)
        for (index, row, molecule, _), spectrum, code in zip(portion, spectra, codes, strict=True)
    }


def _prediction_row(
    row: StructureRow, molecule: Molecule, spectrum: Spectrum, code: list[float]
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
        "code": code,
    }


def _error_row(row: StructureRow, error: str) -> Row:
    return {"id": row.id, "smiles": row.smiles, "error": f"{row.position}: {error}"}


def _row_of(item: Any, number: int) -> StructureRow:
    """What stands in a list of SMILES, as a row; missing values of tables are no texts."""
    if isinstance(item, str):
        return StructureRow(f"item {number}", str(number), item)
    return StructureRow(f"item {number}", str(number), "", f"{item!r:.60} is not a SMILES")


def _made_equal(
    owners: NDArray[np.int64], shift: NDArray[np.float64], sigma: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shifts and sigmas (A,), those of a molecule that differ by rounding alone made equal.

    Equivalent atoms shall have one line, and not two that the last digit tells apart.
    """
    if not len(shift):
        return shift, sigma
    order = np.lexsort((shift, owners))
    starts = np.ones(len(order), dtype=bool)
    starts[1:] = owners[order][1:] != owners[order][:-1]
    for values in (shift, sigma):
        starts[1:] |= np.abs(np.diff(values[order])) > _ROUNDING_PPM
    groups = np.empty(len(order), dtype=np.int64)
    groups[order] = np.cumsum(starts) - 1
    sizes = np.bincount(groups)
    return (
        (np.bincount(groups, shift) / sizes)[groups],
        (np.bincount(groups, sigma) / sizes)[groups],
    )
