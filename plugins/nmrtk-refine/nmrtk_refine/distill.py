"""Distil a model into tables of atom environments and a small network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import islice
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from nmrtk.checkpoint import LoadedModel
from nmrtk.errors import DataError, MoleculeError, UsageError
from nmrtk.molecule import Molecule
from nmrtk.prediction import predict_prepared, prepare_molecules
from nmrtk_refine.codes import DEPTH, RADIUS, Graph, structure_code, write_codes
from nmrtk_refine.compiled import entry_point
from nmrtk_refine.kinds import Isomer, Kind
from nmrtk_refine.network import no_network
from nmrtk_refine.statistics import condense
from nmrtk_refine.student import EPOCHS, Lesson, train_network
from nmrtk_refine.tables import EnvironmentTables, Pattern, fingerprint, searched_scale
from nmrtk_refine.wrong import wrong_isomers

BATCH_SIZE = 128
_LEAST_STRUCTURES = 3  # with a kind of atom, before the search uses it

_Item = TypeVar("_Item")

Counting = Callable[[str], AbstractContextManager[Callable[[int], None]]]
"""Shows how far something is: what is counted, then how many are done."""


def _silent(what: str) -> AbstractContextManager[Callable[[int], None]]:
    return nullcontext(lambda done: None)


def distill(
    loaded: LoadedModel,
    molecules: Iterable[Molecule],
    counting: Counting = _silent,
    epochs: int = EPOCHS,
) -> EnvironmentTables:
    """Predict structures, gather what environments of atoms have in common, and teach a small
    network what the model says of these structures and of wrong ones that look as likely by their
    environments.

    Args:
        loaded: a model whose encoder predicts lines.
        molecules: structures; repeated constitutions count once.
        counting: shows how far it is.
        epochs: times that the small network sees each structure.

    Raises:
        UsageError: the encoder predicts no lines.
        DataError: no structure can be used.
    """
    model = loaded.model
    if not model.encoder.predicts_lines:
        raise UsageError(
            f"{type(model.encoder).__name__} predicts no lines: tables are made from an encoder "
            "that does, such as mpnn"
        )
    gathered = _Gathered()
    lessons = []
    with counting("predicting structures") as progress:
        done = 0
        for batch in _batches(molecules):
            usable = list(gathered.usable(batch))
            taught = _lessons(loaded, usable)
            for isomer, lesson in taught:
                gathered.add(isomer, lesson)
            lessons += [lesson for _, lesson in taught]
            gathered.skipped.update(["the encoder refuses it"] * (len(usable) - len(taught)))
            done += len(batch)
            progress(done)
    if not gathered.codes:
        raise DataError("no structure can be used: they need bonds of carbon and the like")
    patterns, usual = gathered.patterns()
    tables = EnvironmentTables(
        *condense(
            np.concatenate(gathered.codes, axis=1),
            np.concatenate(gathered.shifts),
            np.concatenate(gathered.scales),
        ),
        patterns,
        usual,
        str(model.nucleus),
        fingerprint(model),
        {
            "structures": len(gathered.codes),
            "skipped": dict(gathered.skipped.most_common()),
        },
        no_network(),
    )
    with counting("searching wrong structures") as progress:
        isomers = wrong_isomers(lessons, tables, progress)
    with counting("predicting wrong structures") as progress:
        done = 0
        for part in _batches(isomers):
            pairs = [(isomer.molecule(), isomer) for isomer in part]
            sound = [(molecule, isomer) for molecule, isomer in pairs if molecule is not None]
            lessons += [lesson for _, lesson in _lessons(loaded, sound)]
            done += len(part)
            progress(done)
    with counting("training the small network, steps") as progress:
        network = train_network(lessons, epochs, on_progress=progress)
    return replace(tables, network=network)


def _batches(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    source = iter(items)
    while batch := list(islice(source, BATCH_SIZE)):
        yield batch


def _lessons(
    loaded: LoadedModel, pairs: Sequence[tuple[Molecule, Isomer]]
) -> list[tuple[Isomer, Lesson]]:
    """What the model says of structures; without those that its encoder refuses."""
    model = loaded.model
    prepared, _ = prepare_molecules(model, (molecule for molecule, _ in pairs))
    kept = [pair for pair, one in zip(pairs, prepared, strict=True) if one is not None]
    if not kept:
        return []
    inputs = [one for one in prepared if one is not None]
    lines = predict_prepared(model, inputs, [molecule for molecule, _ in kept]).lines
    assert lines is not None  # the encoder says that it predicts them
    shifts = lines.shift.cpu().numpy()
    scales = searched_scale(lines.scale.cpu().numpy(), loaded.calibration.score)
    lessons = []
    start = 0
    for molecule, isomer in kept:
        sites = model.nucleus.sites(molecule)
        span = slice(start, start + len(sites))
        lessons.append((isomer, Lesson.of(isomer, sites, shifts[span], scales[span])))
        start = span.stop
    return lessons


class _Gathered:
    """What is known of the structures so far."""

    def __init__(self) -> None:
        self.codes: list[NDArray[np.uint64]] = []
        self.shifts: list[NDArray[np.float32]] = []
        self.scales: list[NDArray[np.float32]] = []
        self.skipped: Counter[str] = Counter()
        self._kinds: Counter[tuple[tuple[Kind, int], ...]] = Counter()
        self._known: set[int] = set()

    def usable(self, molecules: Iterable[Molecule]) -> Iterator[tuple[Molecule, Isomer]]:
        """Molecules that the search could find, each constitution once."""
        for molecule in molecules:
            try:
                isomer = Isomer.of_molecule(molecule)
            except MoleculeError as error:
                self.skipped[str(error)] += 1
                continue
            _, whole = codes_of(isomer)
            if whole in self._known:
                self.skipped["it was there before"] += 1
                continue
            self._known.add(whole)
            yield molecule, isomer

    def add(self, isomer: Isomer, lesson: Lesson) -> None:
        """Take one structure with its predicted lines."""
        shift, scale = (np.full(len(isomer.kinds), np.nan, np.float32) for _ in range(2))
        shift[lesson.sites], scale[lesson.sites] = lesson.shifts, lesson.scales
        self.codes.append(codes_of(isomer)[0][: RADIUS + 1])
        self.shifts.append(shift)
        self.scales.append(scale)
        self._kinds[tuple(sorted(Counter(isomer.kinds).items()))] += 1

    def patterns(self) -> tuple[tuple[Pattern, ...], dict[str, Kind]]:
        """Unusual kinds that occur together, and the usual kind of each element."""
        totals: Counter[Kind] = Counter()
        for kinds, structures in self._kinds.items():
            for kind, _ in kinds:
                totals[kind] += structures
        usual: dict[str, Kind] = {}
        for kind, structures in totals.most_common():
            if structures >= _LEAST_STRUCTURES:
                usual.setdefault(kind.element, kind)
        counts: Counter[tuple[tuple[Kind, int], ...]] = Counter()
        elements: Counter[tuple[tuple[str, int], ...]] = Counter()
        for kinds, structures in self._kinds.items():
            unusual = tuple(pair for pair in kinds if usual.get(pair[0].element) != pair[0])
            counts[unusual] += structures
            needed: Counter[str] = Counter()
            for kind, number in kinds:
                needed[kind.element] += number
            elements[tuple(sorted(needed.items()))] += structures
        patterns = []
        for unusual, count in counts.most_common():
            if any(totals[kind] < _LEAST_STRUCTURES for kind, _ in unusual):
                continue
            wanted: Counter[str] = Counter()
            for kind, number in unusual:
                wanted[kind.element] += number
            hosts = sum(
                structures
                for available, structures in elements.items()
                if wanted <= Counter(dict(available))
            )
            patterns.append(Pattern(unusual, count, hosts))
        return tuple(patterns), usual


def codes_of(isomer: Isomer) -> tuple[NDArray[np.uint64], int]:
    """Codes (DEPTH + 1, A) of a structure's atoms, and the code of the whole."""
    count = len(isomer.kinds)
    codes = np.zeros((DEPTH + 1, count), np.uint64)
    whole = _write_all(isomer.graph(), codes, np.zeros((2, count), np.uint64))
    return codes, int(whole)


@entry_point
def _write_all(graph: Graph, codes: NDArray[np.uint64], scratch: NDArray[np.uint64]) -> np.uint64:
    write_codes(graph, codes)
    return structure_code(graph, codes, scratch)
