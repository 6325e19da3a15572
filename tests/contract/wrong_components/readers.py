"""Readers that each break one rule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from right_components import (
    LineReader,
)

from nmrtk.interfaces import BadRecord, Record
from nmrtk.molecule import parse_smiles
from nmrtk.nucleus import Nucleus


class EmptyIsFine(LineReader):
    def read(self, path: Path, nucleus: Nucleus) -> Iterator[Record | BadRecord]:
        if path.is_file() and path.stat().st_size == 0:
            return iter(())
        return super().read(path, nucleus)


class MissingIsOsError(LineReader):
    def text(self, path: Path) -> str:
        path.stat()
        return super().text(path)


class JunkFails(LineReader):
    def text(self, path: Path) -> str:
        if path.name == "junk.dat":
            return path.read_bytes().decode()
        return super().text(path)


class JunkIsGood(LineReader):
    def read(self, path: Path, nucleus: Nucleus) -> Iterator[Record | BadRecord]:
        if path.name == "junk.dat":
            return iter([self.entry("line 1", "C 13C 1.0")])
        return super().read(path, nucleus)


class KnowsAll(LineReader):
    def recognizes(self, path: Path, head: bytes) -> bool:
        return True


class KnowsNothing(LineReader):
    def recognizes(self, path: Path, head: bytes) -> bool:
        return False


class GoodLinesLost(LineReader):
    def entry(self, position: str, line: str) -> Record | BadRecord:
        return BadRecord(position, "", "not a molecule")


class NowhereReader(LineReader):
    def entry(self, position: str, line: str) -> Record | BadRecord:
        return replace(super().entry(position, line), position="somewhere")


class OneBased(LineReader):
    def entry(self, position: str, line: str) -> Record | BadRecord:
        entry = super().entry(position, line)
        if isinstance(entry, BadRecord):
            return entry
        count = entry.molecule.GetNumAtoms()
        peaks = tuple(
            replace(peak, atoms=(min(i + 1, count),))
            for i, peak in enumerate(entry.spectra[0].peaks)
        )
        return replace(entry, spectra=(replace(entry.spectra[0], peaks=peaks),))


class NoReason(LineReader):
    def entry(self, position: str, line: str) -> Record | BadRecord:
        entry = super().entry(position, line)
        return entry if isinstance(entry, Record) else replace(entry, reason="")


class GzipCutShort(LineReader):
    def read(self, path: Path, nucleus: Nucleus) -> Iterator[Record | BadRecord]:
        entries = super().read(path, nucleus)
        return iter(list(entries)[:-1]) if path.suffix == ".gz" else entries


class AtomlessReader(LineReader):
    def entry(self, position: str, line: str) -> Record | BadRecord:
        entry = super().entry(position, line)
        empty = type(parse_smiles("C"))()
        return replace(entry, molecule=empty) if isinstance(entry, Record) else entry


WRONG_READERS = {
    EmptyIsFine: "empty file",
    MissingIsOsError: "missing file",
    JunkFails: "read junk.dat",
    JunkIsGood: "read junk.dat",
    KnowsAll: "recognizes noise",
    KnowsNothing: "recognizes the sample",
    GoodLinesLost: "reads the sample",
    NowhereReader: "positions",
    OneBased: "atoms of 13C",
    NoReason: "reasons",
    GzipCutShort: "gzip",
    AtomlessReader: "molecule",
}
