"""A data set of lines that trained models predict: what a single network learns from several.

The mean of networks that were trained apart errs less than each of them. A network that learns that
mean, on every training structure, also on those without a measured spectrum of the nucleus, comes
close to it at the cost of one (Hinton et al., Distilling the Knowledge in a Neural Network,
arXiv 1503.02531).

    python plugins/nmrtk-model-13c/taught_data.py --teacher finish-1 --teacher finish-2 \
        --structures train.smi --measured c13.h5 -o taught.h5
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch

from nmrtk.checkpoint import LoadedModel, load_model
from nmrtk.dataset import DataSet, DataSetWriter
from nmrtk.errors import MoleculeError, SpectrumError
from nmrtk.interfaces import Record
from nmrtk.model import Prediction
from nmrtk.molecule import Molecule, parse_smiles
from nmrtk.prediction import predict_prepared, predicted_spectra, prepare_molecules

_BATCH_SIZE = 256
_MOST_ATOMS = 100  # larger ones are few, and cost much


def main() -> None:
    """Write the data set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--teacher", action="append", required=True, help="a trained model")
    parser.add_argument("--structures", type=Path, required=True, help="SMILES and id a line")
    parser.add_argument("--measured", type=Path, required=True, help="data set for the split val")
    parser.add_argument("-o", "--output", type=Path, required=True)
    choices = parser.parse_args()
    teachers = [load_model(name) for name in choices.teacher]
    nucleus = teachers[0].model.nucleus
    with DataSet(choices.measured) as data:
        val = data.examples(teachers[0].recipe.split, "val", complete_only=True)
    left_out = written = 0
    with DataSetWriter(choices.output, nucleus) as writer:
        writer.provenance = {"teachers": [Path(name).name for name in choices.teacher]}
        for record in taught_records(teachers, _read(choices.structures)):
            try:
                writer.append(record)
                written += 1
            except (MoleculeError, SpectrumError):
                left_out += 1
        for number, example in enumerate(val, start=1):
            spectra = (example.spectrum,)
            writer.append(
                Record(f"val {number}", example.id, example.molecule, spectra, split="val")
            )
    print(f"{written} structures with predicted lines, {left_out} left out, {len(val)} of val")


def taught_records(
    teachers: Sequence[LoadedModel], structures: Iterable[tuple[str, Molecule]]
) -> Iterator[Record]:
    """Structures of train with the mean lines of the teachers; those without a site are left out.

    Args:
        teachers: with encoders that predict lines, all of one nucleus.
        structures: id and molecule.
    """
    nucleus = teachers[0].model.nucleus
    rest = iter(structures)
    position = 0
    while batch := list(islice(rest, _BATCH_SIZE)):
        usable = [(name, one) for name, one in batch if nucleus.sites(one)]
        molecules = [molecule for _, molecule in usable]
        if not molecules:
            continue
        predictions = [_predict(teacher, molecules) for teacher in teachers]
        first = predictions[0]
        if first.lines is None:
            raise SystemExit("a teacher must predict lines of atoms")
        shifts = [one.lines.shift for one in predictions if one.lines is not None]
        mean = replace(first, lines=replace(first.lines, shift=torch.stack(shifts).mean(0)))
        spectra = predicted_spectra(teachers[0], mean, molecules)
        for (name, molecule), spectrum in zip(usable, spectra, strict=True):
            position += 1
            yield Record(f"structure {position}", name, molecule, (spectrum,), split="train")


def _predict(teacher: LoadedModel, molecules: list[Molecule]) -> Prediction:
    prepared, _ = prepare_molecules(teacher.model, molecules)
    return predict_prepared(teacher.model, prepared, molecules)


def _read(path: Path) -> Iterator[tuple[str, Molecule]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        smiles, name = line.split("\t")
        try:
            molecule = parse_smiles(smiles)
        except MoleculeError:
            continue
        if molecule.GetNumAtoms() <= _MOST_ATOMS:
            yield name, molecule


if __name__ == "__main__":
    main()
