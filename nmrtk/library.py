"""Libraries: a user's own structures, encoded by a model, so that spectra can be looked up."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from nmrtk import __version__
from nmrtk.atomic import atomic_path
from nmrtk.checkpoint import LoadedModel
from nmrtk.columns import ColumnWriter, LabelWriter, TextWriter, read_ragged, read_texts
from nmrtk.dataset import DataSet
from nmrtk.errors import DataError, MoleculeError, UsageError
from nmrtk.formula import Formula
from nmrtk.hdf5 import create_hdf5
from nmrtk.line_score import arrays, hydrogen_counts
from nmrtk.molecule import Molecule, canonical_smiles, parse_smiles
from nmrtk.prediction import predict_prepared, prepare_molecules
from nmrtk.rows import StructureRow, read_structures

FORMAT = "nmrtk library"
FORMAT_VERSION = 1
ENDING = ".h5"

BATCH_SIZE = 256
BLOCK = 32_768
"""Entries that are in memory together when a library is searched."""

_CHUNK_ROWS = 64
_SPARSE = 0.05  # share of a block below which single rows are read instead of the whole
_LEAST_SCALE = 1e-6

FloatArray = NDArray[np.float32]
Block = tuple[NDArray[np.int64], FloatArray]


LINE_COLUMNS = ("line_shift", "line_scale", "line_hydrogens")
"""One value for each site of each entry, where the model predicts lines."""


@dataclass(frozen=True, slots=True)
class LineBlock:
    """Predicted lines of B entries, A in all.

    Args:
        entries: (B,).
        shift: (A,), in ppm.
        scale: (A,), Laplace scales in ppm.
        owner: (A,), row of the entry in `entries`, ascending.
        hydrogens: (A,), attached to each site, as `nmrtk.line_score.hydrogen_counts` gives them.
    """

    entries: NDArray[np.int64]
    shift: NDArray[np.float64]
    scale: NDArray[np.float64]
    owner: NDArray[np.int64]
    hydrogens: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What became of the structures: read = kept + duplicates + skipped."""

    kept: int
    duplicates: int
    skipped: int
    first_problem: str = ""

    @property
    def read(self) -> int:
        """All structures."""
        return self.kept + self.duplicates + self.skipped


def read_library_structures(source: str) -> Iterator[StructureRow]:
    """Structures of a file as `nmrtk.rows.read_structures` takes it, or of an nmrtk data set.

    Raises:
        UsageError: the ending of the file says no known format.
        DataError: it cannot be read or is empty.
    """
    if not source.endswith(ENDING):
        return read_structures(source)
    return _data_set_structures(Path(source))


def build_library(
    loaded: LoadedModel,
    structures: Iterable[StructureRow],
    path: Path,
    on_progress: Callable[[int], None] = lambda done: None,
) -> BuildReport:
    """Encode structures into a library file, atomically and in bounded memory.

    Structures of one constitution are one entry, the first. Those that cannot be read or encoded
    are listed beside the file, in `NAME.skipped.csv`.

    Args:
        loaded: the model; the library works with no other.
        structures: rows to encode.
        path: the file to make.
        on_progress: told how many rows are done.

    Raises:
        DataError: the file cannot be written, or no structure can be encoded.
    """
    with ExitStack() as stack:
        temporary = stack.enter_context(atomic_path(path))
        skipped = stack.enter_context(atomic_path(skipped_path(path)))
        writer = stack.enter_context(_Writer(temporary, skipped, loaded))
        rows = iter(structures)
        done = 0
        while batch := list(islice(rows, BATCH_SIZE)):
            writer.add(batch)
            done += len(batch)
            on_progress(done)
        report = writer.finish()
        if not report.kept:
            raise DataError(
                f"none of {report.read} structures can be encoded, the first: "
                f"{report.first_problem}"
            )
    return report


def skipped_path(path: Path) -> Path:
    """Where the structures that are not in a library are listed."""
    return path.with_suffix(".skipped.csv")


class Library:
    """Reads a library; a context manager. Entries are counted from 0.

    Args:
        path: a file that `build_library` made.
        loaded: the model that will use it.

    Raises:
        DataError: it is missing, damaged or no library, or was built with another model.
    """

    def __init__(self, path: Path, loaded: LoadedModel) -> None:
        self.path = path
        if not path.is_file():
            raise DataError(f"the library {path} does not exist: `nmrtk library build` makes one")
        with self._reading():
            self._file = h5py.File(path, "r")
        try:
            self._check(loaded)
            with self._reading():
                self._smiles, self._smiles_end = read_ragged(self._file, "smiles")
                self.formulas = read_texts(self._file, "formula_label")
                self._formula: NDArray[np.uint32] = self._file["formula"][:]
                self._site_count: NDArray[np.int32] = self._file["site_count"][:]
                self._mean: FloatArray = self._file["feature_mean"][:]
                self._scale: FloatArray = self._file["feature_scale"][:]
                lengths = {len(self._smiles_end), len(self._formula), len(self._site_count)}
                lengths |= {len(self._file["features"]), len(self._file["codes"])}
                sites = {len(self._file[name]) for name in LINE_COLUMNS if self.has_lines}
                if len(lengths) > 1 or sites - {int(self._site_count.sum(dtype=np.int64))}:
                    raise ValueError("its columns differ in length")
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Library:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._smiles_end)

    def matching(self, formula: Formula | None, line_count: int) -> NDArray[np.int64]:
        """Entries that can have given a spectrum, ascending.

        Args:
            formula: of the compound, or None where unknown.
            line_count: number of distinct lines; each needs an atom of its own.
        """
        fits = self._site_count >= line_count
        if formula is not None:
            number = {text: index for index, text in enumerate(self.formulas)}.get(str(formula), -1)
            fits &= self._formula == number
        return np.flatnonzero(fits)

    def formula_counts(self, entries: NDArray[np.int64]) -> dict[str, int]:
        """How many of the entries have each formula."""
        numbers, counts = np.unique(self._formula[entries], return_counts=True)
        return {
            self.formulas[number]: count
            for number, count in zip(numbers.tolist(), counts.tolist(), strict=True)
        }

    def molecule(self, entry: int) -> Molecule:
        """The structure of an entry.

        Raises:
            DataError: the library is damaged.
        """
        start = int(self._smiles_end[entry - 1]) if entry else 0
        with self._reading():
            return parse_smiles(self._smiles[start : self._smiles_end[entry]].tobytes().decode())

    def codes(self, entries: NDArray[np.int64]) -> Iterator[Block]:
        """Codes (n, K) of entries, block by block, each with the entries that it holds."""
        return self._blocks("codes", entries)

    def features(self, entries: NDArray[np.int64]) -> Iterator[Block]:
        """Standardised features (n, F) of entries, block by block, as `codes`."""
        for block, features in self._blocks("features", entries):
            yield block, self.standardise(features)

    @property
    def has_lines(self) -> bool:
        """Whether predicted lines are stored; libraries of nmrtk 0.1 have none."""
        return "line_shift" in self._file

    def lines(self, entries: NDArray[np.int64]) -> Iterator[LineBlock]:
        """Predicted lines of entries, block by block; entries without a site are left out.

        Raises:
            DataError: the library has none, or is damaged.
        """
        with self._reading():
            columns = [self._file[name] for name in LINE_COLUMNS]
            ends = np.cumsum(self._site_count, dtype=np.int64)
            entries = entries[self._site_count[entries] > 0]
            edges = np.searchsorted(entries, np.arange(0, len(self) + BLOCK, BLOCK))
            for first, last in pairwise(edges.tolist()):
                block = entries[first:last]
                if not len(block):
                    continue
                counts = self._site_count[block].astype(np.int64)
                low = int(ends[block[0]] - counts[0])
                # Places of the sites of each entry, counted from the first of the block.
                firsts = ends[block] - counts - low
                places = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
                places += np.repeat(firsts, counts)
                shift, scale, hydrogens = (
                    column[low : int(ends[block[-1]])][places] for column in columns
                )
                yield LineBlock(
                    block,
                    shift.astype(np.float64),
                    scale.astype(np.float64),
                    np.repeat(np.arange(len(block)), counts),
                    hydrogens.astype(np.int64),
                )

    def standardise(self, features: FloatArray) -> FloatArray:
        """Features (n, F) in units of their standard deviation in the library, around its mean."""
        return (features - self._mean) / self._scale

    def _blocks(self, name: str, entries: NDArray[np.int64]) -> Iterator[Block]:
        with self._reading():
            data = self._file[name]
            edges = np.searchsorted(entries, np.arange(0, len(self) + BLOCK, BLOCK))
            for first, last in pairwise(edges.tolist()):
                block = entries[first:last]
                if not len(block):
                    continue
                low, high = int(block[0]), int(block[-1]) + 1
                if len(block) < _SPARSE * (high - low):
                    yield block, data[block]
                else:
                    yield block, data[low:high][block - low]

    def _check(self, loaded: LoadedModel) -> None:
        with self._reading():
            attributes = dict(self._file.attrs)
        if attributes.get("format") != FORMAT:
            raise DataError(
                f"{self.path} is an HDF5 file, but no library: `nmrtk library build` makes one"
            )
        if int(attributes["format_version"]) > FORMAT_VERSION:
            raise DataError(
                f"{self.path} has format version {attributes['format_version']}; nmrtk "
                f"{__version__} reads up to {FORMAT_VERSION}: install a newer nmrtk"
            )
        if attributes.get("model") != model_identity(loaded):
            raise DataError(
                f"the library {self.path} was built with another model "
                f"({attributes.get('model_path')}) than {loaded.path}: build it again with "
                "`nmrtk library build`, or choose that model with --model"
            )

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (OSError, RuntimeError, LookupError, ValueError, MoleculeError) as error:
            reason = " ".join(str(error).split())
            raise DataError(
                f"the library {self.path} is damaged or no library ({reason}): build it again"
            ) from error


def is_library(path: Path) -> bool:
    """Whether a file is a library; data sets have the same ending."""
    if not (path.is_file() and h5py.is_hdf5(path)):
        return False
    try:
        with h5py.File(path, "r") as file:
            return bool(file.attrs.get("format") == FORMAT)
    except (OSError, RuntimeError):
        return False


def model_identity(loaded: LoadedModel) -> str:
    """A checksum of what decides a model's features and codes: its parts and its tensors."""
    recipe = loaded.recipe
    parts = [part.model_dump() for part in (recipe.encoder, recipe.codec, recipe.backbone)]
    text = json.dumps([recipe.nucleus, *parts])
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(loaded.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


class _Writer:
    def __init__(self, path: Path, skipped: Path, loaded: LoadedModel) -> None:
        self._loaded = loaded
        self._stack = ExitStack()
        self._file, self._sink = self._stack.enter_context(create_hdf5(path))
        self._skipped = csv.writer(
            self._stack.enter_context(skipped.open("w", encoding="utf-8", newline=""))
        )
        self._skipped.writerow(["position", "id", "smiles", "reason"])
        self._smiles = TextWriter(self._file, "smiles")
        self._id = TextWriter(self._file, "id")
        self._formula = LabelWriter(self._file, "formula")
        self._site_count = ColumnWriter(self._file, "site_count", np.int32)
        model = loaded.model
        self._features = _matrix(self._file, "features", model.backbone.width)
        self._codes = _matrix(self._file, "codes", model.codec.width)
        self._lines: list[ColumnWriter] = []
        if model.encoder.predicts_lines:
            kinds = (np.float32, np.float32, np.int8)
            self._lines = [
                ColumnWriter(self._file, name, kind)
                for name, kind in zip(LINE_COLUMNS, kinds, strict=True)
            ]
        self._sum = np.zeros(model.backbone.width)
        self._square_sum = np.zeros(model.backbone.width)
        self._known: set[str] = set()
        self._duplicates = 0
        self._skipped_count = 0
        self._first_problem = ""

    def __enter__(self) -> _Writer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def add(self, rows: Sequence[StructureRow]) -> None:
        """Encode and store rows."""
        new: list[tuple[StructureRow, Molecule]] = []
        for row in rows:
            try:
                if row.error:
                    raise MoleculeError(row.error)
                molecule = parse_smiles(row.smiles)
            except MoleculeError as error:
                self._skip(row, str(error))
                continue
            key = canonical_smiles(molecule)
            if key in self._known:
                self._duplicates += 1
                continue
            self._known.add(key)
            new.append((row, molecule))
        prepared, refusals = prepare_molecules(self._loaded.model, (m for _, m in new))
        usable: list[tuple[StructureRow, Molecule]] = []
        for item, refusal in zip(new, refusals, strict=True):
            if refusal:
                self._skip(item[0], refusal)
            else:
                usable.append(item)
        if usable:
            self._store(usable, [inputs for inputs in prepared if inputs is not None])

    def finish(self) -> BuildReport:
        """Store what is known only at the end."""
        for column in (self._smiles, self._id, self._formula):
            column.close()
        for numbers in (self._site_count, *self._lines):
            numbers.close()
        count = len(self._features)
        mean = self._sum / max(count, 1)
        variance = np.maximum(self._square_sum / max(count, 1) - mean**2, 0)
        self._file["feature_mean"] = mean.astype(np.float32)
        scale = np.sqrt(variance)
        # A feature that never varies tells nothing, and must not blow up what is compared.
        scale[scale < _LEAST_SCALE] = 1.0
        self._file["feature_scale"] = scale.astype(np.float32)
        self._file.attrs.update(
            format=FORMAT,
            format_version=FORMAT_VERSION,
            nmrtk=__version__,
            nucleus=str(self._loaded.model.nucleus),
            model=model_identity(self._loaded),
            model_path=os.fspath(self._loaded.path),
        )
        return BuildReport(count, self._duplicates, self._skipped_count, self._first_problem)

    def _store(self, items: list[tuple[StructureRow, Molecule]], prepared: list[Any]) -> None:
        molecules = [molecule for _, molecule in items]
        prediction = predict_prepared(self._loaded.model, prepared, molecules)
        features = prediction.features.cpu().numpy()
        for row, molecule in items:
            self._smiles.append(canonical_smiles(molecule, stereo=True))
            self._id.append(str(row.id))
            self._formula.append(str(Formula.of_molecule(molecule)))
            self._site_count.append(len(self._loaded.model.nucleus.sites(molecule)))
        if self._lines and prediction.lines is not None:
            shift, scale, _ = arrays(prediction.lines)
            hydrogens = hydrogen_counts(self._loaded.model.nucleus, molecules)
            for column, values in zip(self._lines, (shift, scale, hydrogens), strict=True):
                column.extend(values.tolist())
        _append(self._features, features)
        _append(self._codes, prediction.code.cpu().numpy())
        self._sink.check()
        self._sum += features.sum(0, dtype=np.float64)
        self._square_sum += np.square(features, dtype=np.float64).sum(0)

    def _skip(self, row: StructureRow, reason: str) -> None:
        self._skipped_count += 1
        self._first_problem = self._first_problem or f"{row.position}: {reason}"
        self._skipped.writerow([row.position, row.id, row.smiles, reason])


def _matrix(file: h5py.File, name: str, width: int) -> h5py.Dataset:
    return file.create_dataset(
        name,
        shape=(0, width),
        maxshape=(None, width),
        dtype=np.float32,
        chunks=(_CHUNK_ROWS, width),
        fletcher32=True,
    )


def _append(dataset: h5py.Dataset, values: FloatArray) -> None:
    start = len(dataset)
    dataset.resize(start + len(values), axis=0)
    dataset[start:] = values


def _data_set_structures(path: Path) -> Iterator[StructureRow]:
    if is_library(path):
        raise UsageError(f"{path} is a library already: give it to --library as it is")
    with DataSet(path) as data:
        for record in data.records():
            smiles = canonical_smiles(record.molecule, stereo=True)
            yield StructureRow(record.position, record.id, smiles)
