"""Import of source files into a data set; nothing is left out without being listed."""

from __future__ import annotations

import array
import csv
import hashlib
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO

from nmrtk.atomic import atomic_path, cause_of, file_sha256
from nmrtk.dataset import DataSetWriter, check_spectrum
from nmrtk.errors import (
    DataError,
    MoleculeError,
    NmrtkError,
    PluginError,
    SpectrumError,
    UsageError,
)
from nmrtk.hydrogen_lines import join_hydrogens
from nmrtk.interfaces import BadRecord, Reader, Record
from nmrtk.molecule import Molecule, inchikey
from nmrtk.nucleus import Nucleus
from nmrtk.plugins import build, components
from nmrtk.sources import DamagedSourceError, position, read_head
from nmrtk.spectrum import Spectrum
from nmrtk.splits import SPLITS, skeleton_of, split_of_skeleton

STANDARD_INPUT = Path("-")
SUFFIXES = (".h5", ".hdf5")

_SKIP_COLUMNS = ("source", "position", "id", "kind", "reason", "detail")
_INCHIKEY = re.compile(r"[A-Z]{14}-[A-Z]{10}-[A-Z]")
_REPORT_EVERY = 64


@dataclass(slots=True)
class ImportReport:
    """What an import read, kept and skipped.

    Args:
        output: the data set.
        skipped_file: the list of what was skipped.
        read: entries of the sources; each was kept or skipped.
        kept: records in the data set.
        skipped: entries that were not kept, by reason.
        spectra_kept: spectra of the nucleus in the data set.
        spectra_skipped: spectra that were not kept although their record was, by reason.
    """

    output: Path
    skipped_file: Path
    read: int = 0
    kept: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    spectra_kept: int = 0
    spectra_skipped: Counter[str] = field(default_factory=Counter)

    @property
    def skipped_anything(self) -> bool:
        """Whether an entry, or a spectrum of a kept one, was skipped."""
        return bool(self.skipped or self.spectra_skipped)

    def as_dict(self) -> dict[str, Any]:
        """The counts, for the provenance of the data set."""
        return {
            "read": self.read,
            "kept": self.kept,
            "skipped": dict(self.skipped.most_common()),
            "spectra_kept": self.spectra_kept,
            "spectra_skipped": dict(self.spectra_skipped.most_common()),
        }


ProgressListener = Callable[[int, int, ImportReport], None]
"""Told bytes of the sources done, bytes in all, and the report so far."""


def skipped_file_of(output: Path) -> Path:
    """Where the list of what an import skips stands: `DATA.skipped.csv` beside `DATA.h5`."""
    return output.with_suffix(".skipped.csv")


def import_files(
    sources: Sequence[Path],
    output: Path,
    nucleus: Nucleus,
    format: str | None = None,
    progress: ProgressListener | None = None,
) -> ImportReport:
    """Read files into one data set.

    A molecule without a split gets the split that an earlier record of the same skeleton has, else
    one by `split_of_skeleton`. Spectra that an earlier record of the same molecule has, line by
    line, are duplicates and are skipped; an assigned spectrum is no duplicate of an unassigned one.

    Args:
        sources: files, plain or gzip; `-` is standard input.
        output: the data set to make, ending in `.h5` or `.hdf5`.
        nucleus: of the spectra to keep.
        format: name of the reader for all sources; None to recognize each.
        progress: called now and then.

    Returns:
        What was read, kept and skipped.

    Raises:
        UsageError: no or several readers recognize a source, or the output cannot be a data set.
        DataError: a source cannot be opened or its checksum fails, nothing could be kept, or the
            output cannot be written.
    """
    _check_paths(sources, output)
    report = ImportReport(output, skipped_file_of(output))
    with ExitStack() as stack:
        opened = [_open_source(source, format, stack) for source in sources]
        writer = stack.enter_context(DataSetWriter(output, nucleus))
        with (
            atomic_path(report.skipped_file) as temporary,
            temporary.open("w", encoding="utf-8", newline="") as table,
        ):
            run = _Import(nucleus, report, table)
            run.read(opened, writer, progress)
        if not report.kept:
            # The list stays: it says why.
            raise DataError(
                f"nothing could be kept of {_count(report.read, 'entry', 'entries')}: "
                f"{run.first_skip}; {report.skipped_file} lists all"
            )
        writer.provenance["sources"] = [source.provenance for source in opened]
        writer.provenance["import"] = report.as_dict()
    return report


@dataclass(frozen=True, slots=True)
class _Source:
    """A source with the reader that takes it."""

    name: str
    path: Path
    reader: Reader
    format: str
    size: int
    sha256: str

    @property
    def provenance(self) -> dict[str, Any]:
        return {
            "path": self.name,
            "format": self.format,
            "bytes": self.size,
            "sha256": self.sha256,
        }

    def entries(self, nucleus: Nucleus) -> Iterator[Record | BadRecord]:
        """What the reader yields; where it has to stop, a bad record that says so."""
        count = 0
        entries = iter(self.reader.read(self.path, nucleus))
        while True:
            try:
                entry = next(entries)
            except StopIteration:
                return
            except DamagedSourceError:
                raise  # What was read before may be as wrong.
            except (DataError, OSError) as error:
                yield BadRecord(
                    f"after entry {count}", "", "the rest of the source is unreadable", str(error)
                )
                return
            except NmrtkError:
                raise
            except Exception as error:
                raise PluginError(
                    f"the reader {self.format!r} failed in {self.name} after entry {count}: "
                    f"{type(error).__name__}: {error}"
                ) from error
            count += 1
            yield entry


class _Import:
    """The state of one import."""

    def __init__(self, nucleus: Nucleus, report: ImportReport, table: TextIO) -> None:
        self.nucleus = nucleus
        self.report = report
        self.first_skip = "the sources are empty"
        self._rows = csv.writer(table)
        self._rows.writerow(_SKIP_COLUMNS)
        self._seen: set[bytes] = set()
        self._splits: dict[str, str] = {}

    def read(
        self, sources: Sequence[_Source], writer: DataSetWriter, progress: ProgressListener | None
    ) -> None:
        """Put every entry into the data set or on the list."""
        report, done, total = self.report, 0, sum(source.size for source in sources)
        for source in sources:
            for entry in source.entries(self.nucleus):
                report.read += 1
                if isinstance(entry, Record):
                    self._keep(source, entry, writer)
                else:
                    self._skip_entry(source, entry, entry.reason, entry.detail)
                if progress is not None and report.read % _REPORT_EVERY == 0:
                    progress(done + (position(source.path) or 0), total, report)
            done += source.size
        if progress is not None:
            progress(done, total, report)

    def _keep(self, source: _Source, record: Record, writer: DataSetWriter) -> None:
        try:
            record = self._identify(record)
            spectra, marks, problems = self._usable(record)
            if spectra:
                writer.append(replace(record, spectra=tuple(spectra)))
        except (MoleculeError, SpectrumError) as error:
            self._skip_entry(source, record, "structure cannot be stored", str(error))
            return
        except UsageError as error:
            self._skip_entry(source, record, "unknown split", str(error))
            return
        if not spectra:
            self._skip_entry(source, record, *_without_spectrum(problems, self.nucleus))
            return
        self._seen.update(marks)
        self._splits.setdefault(skeleton_of(record.inchikey), record.split)
        self.report.kept += 1
        self.report.spectra_kept += len(spectra)
        for reason, detail in problems:
            self.report.spectra_skipped[reason] += 1
            self._list(source, record, "spectrum", reason, detail)

    def _identify(self, record: Record) -> Record:
        """With InChIKey and split."""
        key = record.inchikey
        if not _INCHIKEY.fullmatch(key):
            key = inchikey(record.molecule)
        split = record.split or self._splits.get(skeleton_of(key)) or split_of_skeleton(key)
        if split not in SPLITS:
            raise UsageError(f"{split!r} is not one of {', '.join(SPLITS)}")
        return replace(record, inchikey=key, split=split)

    def _usable(self, record: Record) -> tuple[list[Spectrum], list[bytes], list[tuple[str, str]]]:
        """Spectra to keep, their marks, and what is wrong with the others."""
        sites = self.nucleus.sites(record.molecule)
        spectra: list[Spectrum] = []
        marks: list[bytes] = []
        problems = [_reason_and_detail(problem) for problem in record.problems]
        for given in record.spectra:
            if given.nucleus != str(self.nucleus):
                continue
            try:
                check_spectrum(given, self.nucleus, sites)
                spectrum = self._by_site(record.molecule, given)
            except SpectrumError as error:
                problems.append(("spectrum does not fit the molecule", str(error)))
                continue
            mark = _mark(record.inchikey, spectrum)
            if mark in self._seen or mark in marks:
                detail = f"{record.inchikey} has a spectrum with the same lines already"
                problems.append(("duplicate", detail))
            else:
                spectra.append(spectrum)
                marks.append(mark)
        return spectra, marks, problems

    def _by_site(self, molecule: Molecule, spectrum: Spectrum) -> Spectrum:
        """With one line a site, where sources may have several."""
        if not self.nucleus.is_implicit:
            return spectrum
        return join_hydrogens(molecule, spectrum, self.nucleus)

    def _skip_entry(
        self, source: _Source, entry: Record | BadRecord, reason: str, detail: str
    ) -> None:
        if not self.report.skipped:
            self.first_skip = f"{reason} ({detail})" if detail else reason
        self.report.skipped[reason] += 1
        self._list(source, entry, "record", reason, detail)

    def _list(
        self, source: _Source, entry: Record | BadRecord, kind: str, reason: str, detail: str
    ) -> None:
        row = (source.name, entry.position, entry.id, kind, reason, detail)
        # A lone surrogate, which JSON can write, is no text that a file can hold.
        self._rows.writerow(text.encode("utf-8", "replace").decode() for text in row)


def _check_paths(sources: Sequence[Path], output: Path) -> None:
    if not sources:
        raise UsageError("give at least one source")
    if output.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{output} cannot be a data set: its name must end in .h5 or .hdf5")
    targets = {output.resolve(), skipped_file_of(output).resolve()}
    for source in sources:
        if source.resolve() in targets:
            raise UsageError(f"{source} is a source: it cannot be written at the same time")
    if list(sources).count(STANDARD_INPUT) > 1:
        raise UsageError("standard input (-) can be read only once")


def _open_source(source: Path, format: str | None, stack: ExitStack) -> _Source:
    name, path = str(source), source
    if source == STANDARD_INPUT:
        name, path = "standard input", _spool(stack)
    elif source.is_dir():
        raise DataError(f"{source} is a folder: give the files in it")
    try:
        head = read_head(path)
        format = format or _recognize(name, path, head)
        reader = build("readers", format)
        return _Source(name, path, reader, format, path.stat().st_size, file_sha256(path))
    except DataError as error:
        raise DataError(str(error).replace(str(path), name, 1)) from error


def _spool(stack: ExitStack) -> Path:
    """Standard input in a temporary file: readers want files, and provenance wants its size."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nmrtk-")))
    path = folder / "standard-input"
    try:
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
    except OSError as error:
        raise DataError(f"standard input cannot be stored in {path}: {cause_of(error)}") from error
    return path


def _recognize(name: str, path: Path, head: bytes) -> str:
    known, broken, takers = components("readers"), [], []
    for reader_name in known:
        try:
            if build("readers", reader_name).recognizes(path, head):
                takers.append(reader_name)
        except Exception as error:
            # One broken reader must not stop the others.
            broken.append(f"{reader_name} ({type(error).__name__}: {error})")
    if len(takers) == 1:
        return takers[0]
    if takers:
        raise UsageError(
            f"{name} could be any of these formats: {', '.join(takers)}. "
            "Choose one with --format NAME"
        )
    note = f". Readers that do not work: {'; '.join(broken)}" if broken else ""
    raise UsageError(
        f"the format of {name} is not recognized. Choose one with --format NAME: "
        f"{', '.join(known) or 'no reader is installed: `nmrtk plugins` shows what is'}{note}"
    )


def _reason_and_detail(problem: str) -> tuple[str, str]:
    reason, _, detail = problem.partition(": ")
    return reason, detail


def _without_spectrum(problems: Sequence[tuple[str, str]], nucleus: Nucleus) -> tuple[str, str]:
    """Reason and detail for a record of which no spectrum can be kept."""
    if not problems:
        return f"no {nucleus} spectrum", ""
    reasons = {reason for reason, _ in problems}
    if len(reasons) == 1:
        return reasons.pop(), "; ".join(detail for _, detail in problems)
    return f"no usable {nucleus} spectrum", "; ".join(": ".join(problem) for problem in problems)


def _mark(key: str, spectrum: Spectrum) -> bytes:
    """The same for spectra of one molecule with the same lines, both assigned or both not."""
    assigned = any(peak.atoms for peak in spectrum.peaks)
    content = array.array("d", spectrum.shifts).tobytes()
    return hashlib.blake2b(f"{key} {assigned} ".encode() + content, digest_size=16).digest()


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
