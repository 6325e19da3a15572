"""Contract of readers."""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from nmrtk.errors import DataError
from nmrtk.interfaces import BadRecord, Reader, Record
from nmrtk.nucleus import DEFAULT_NUCLEUS, Nucleus
from nmrtk.testing.report import Report

_HEAD = 4096


def check_reader(
    build: Callable[[], Reader],
    *,
    sample: Path | None = None,
    nucleus: str = DEFAULT_NUCLEUS,
) -> None:
    """Check everything that nmrtk relies on in a reader.

    Args:
        build: the class, or a function that makes an instance.
        sample: a plain file of the format with at least one good record that has a spectrum of
            the nucleus. Without one, only what must hold for files of no format is checked.
        nucleus: to read for.

    Raises:
        AssertionError: a property does not hold; says what was found.

    Example:
        A test of a plugin is one line: `check_reader(MyReader, sample=path)`.
    """
    context = Nucleus.parse(nucleus)
    reader = build()
    report = Report(reader)
    report.options(type(reader), 0)
    with tempfile.TemporaryDirectory() as folder:
        _check_junk(report, reader, Path(folder), context)
        if sample is None:
            report.skip("records", "no sample is given")
        else:
            _check_sample(report, reader, sample, Path(folder), context)


def _read(reader: Reader, path: Path, nucleus: Nucleus) -> list[Record | BadRecord]:
    return list(reader.read(path, nucleus))


def _check_junk(report: Report, reader: Reader, folder: Path, nucleus: Nucleus) -> None:
    refused = "read raises DataError where a file as a whole cannot be read, when it is iterated"
    empty = folder / "empty.dat"
    empty.write_bytes(b"")
    report.raises("empty file", DataError, lambda: _read(reader, empty, nucleus), refused)
    packed = folder / "empty.dat.gz"
    packed.write_bytes(gzip.compress(b""))
    report.raises("empty gzip file", DataError, lambda: _read(reader, packed, nucleus), refused)
    missing = folder / "missing.dat"
    report.raises("missing file", DataError, lambda: _read(reader, missing, nucleus), refused)
    noise = np.random.default_rng(0).integers(0, 256, 3 * _HEAD, dtype=np.uint8).tobytes()
    for name, content in (
        ("junk.dat", noise),
        ("torn.dat.gz", gzip.compress(noise)[:-100]),
        ("false.dat.gz", noise),
    ):
        path = folder / name
        path.write_bytes(content)
        contract = "a file of no format gives DataError or bad records, never a good one"
        try:
            good = [entry for entry in _read(reader, path, nucleus) if isinstance(entry, Record)]
        except DataError:
            good = []
        except Exception as error:
            report.require(f"read {name}", False, f"{type(error).__name__}: {error}", contract)
        report.require(f"read {name}", not good, f"{len(good)} records", contract)
    for what, head in (("noise", noise[:_HEAD]), ("an empty file", b"")):
        known = reader.recognizes(folder / "unknown.dat", head)
        report.require(
            f"recognizes {what}", known is False, known, "a file of no format is not recognized"
        )


def _check_sample(
    report: Report, reader: Reader, sample: Path, folder: Path, nucleus: Nucleus
) -> None:
    content = sample.read_bytes()
    report.require(
        "recognizes the sample",
        reader.recognizes(sample, content[:_HEAD]) is True,
        "it does not",
        "a file of the format is recognized by name and first bytes",
    )
    entries = _read(reader, sample, nucleus)
    records = [entry for entry in entries if isinstance(entry, Record)]
    report.require(
        "reads the sample",
        any(s.nucleus == str(nucleus) for record in records for s in record.spectra),
        f"{len(records)} records and {len(entries) - len(records)} bad ones, none with {nucleus}",
        "a good record is read with its spectra",
    )
    positions = [entry.position for entry in entries]
    report.require(
        "positions",
        len(set(positions)) == len(positions) and all(positions),
        positions[:3],
        "every entry says where it stands, each in another place",
    )
    for record in records:
        _check_record(report, record)
    reasons = [entry.reason for entry in entries if isinstance(entry, BadRecord)]
    report.require("reasons", all(reasons), reasons, "every bad record has a reason")
    packed = folder / f"{sample.name}.gz"
    packed.write_bytes(gzip.compress(content))
    again = _read(reader, packed, nucleus)
    report.require(
        "gzip",
        [(entry.position, entry.id) for entry in again]
        == [(entry.position, entry.id) for entry in entries],
        f"{len(again)} entries instead of {len(entries)}",
        "a gzip file gives what the plain one gives",
    )


def _check_record(report: Report, record: Record) -> None:
    atoms = record.molecule.GetNumAtoms()
    for spectrum in record.spectra:
        sites = set(Nucleus.parse(spectrum.nucleus).sites(record.molecule))
        used = {atom for peak in spectrum.peaks for atom in peak.atoms}
        report.require(
            f"{record.position}: atoms of {spectrum.nucleus}",
            used <= sites,
            f"atoms {sorted(used - sites)} of {atoms}, which give no such line",
            "a peak names 0-based heavy atoms of the molecule that give lines of the nucleus",
        )
    report.require(
        f"{record.position}: molecule",
        atoms > 0 and all(a.GetNumExplicitHs() >= 0 for a in record.molecule.GetAtoms()),
        f"{atoms} atoms",
        "a record has a molecule with atoms",
    )
