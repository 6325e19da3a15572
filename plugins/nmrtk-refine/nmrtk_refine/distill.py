"""Distil a model into tables of atom environments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from nmrtk.checkpoint import LoadedModel
from nmrtk.errors import DataError, MoleculeError, UsageError
from nmrtk.molecule import Molecule
from nmrtk.prediction import predict_prepared, prepare_molecules
from nmrtk_refine.codes import RADIUS, Graph, structure_code, write_codes
from nmrtk_refine.compiled import entry_point
from nmrtk_refine.kinds import Isomer, Kind
from nmrtk_refine.statistics import condense
from nmrtk_refine.tables import EnvironmentTables, Pattern, fingerprint, searched_scale

BATCH_SIZE = 128
_LEAST_STRUCTURES = 3  # with a kind of atom, before the search uses it


def distill(
    loaded: LoadedModel,
    molecules: Iterable[Molecule],
    on_progress: Callable[[int], None] = lambda done: None,
) -> EnvironmentTables:
    """Predict structures and gather what environments of atoms have in common.

    Args:
        loaded: a model whose encoder predicts lines.
        molecules: structures; repeated constitutions count once.
        on_progress: is told the number of structures read.

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
    source = iter(molecules)
    done = 0
    while batch := list(islice(source, BATCH_SIZE)):
        usable = list(gathered.usable(batch))
        prepared, refusals = prepare_molecules(model, (molecule for molecule, *_ in usable))
        kept = [one for one, refusal in zip(usable, refusals, strict=True) if not refusal]
        gathered.skipped.update(["the encoder refuses it"] * (len(usable) - len(kept)))
        if kept:
            chosen = [molecule for molecule, *_ in kept]
            lines = predict_prepared(model, [p for p in prepared if p is not None], chosen).lines
            assert lines is not None  # the encoder says that it predicts them
            shifts = lines.shift.cpu().numpy()
            scales = searched_scale(lines.scale.cpu().numpy(), loaded.calibration.score)
            start = 0
            for molecule, isomer, codes in kept:
                sites = model.nucleus.sites(molecule)
                end = start + len(sites)
                gathered.add(isomer, codes, sites, shifts[start:end], scales[start:end])
                start = end
        done += len(batch)
        on_progress(done)
    if not gathered.codes:
        raise DataError("no structure can be used: they need bonds of carbon and the like")
    patterns, usual = gathered.patterns()
    return EnvironmentTables(
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
    )


class _Gathered:
    """What is known of the structures so far."""

    def __init__(self) -> None:
        self.codes: list[NDArray[np.uint64]] = []
        self.shifts: list[NDArray[np.float32]] = []
        self.scales: list[NDArray[np.float32]] = []
        self.skipped: Counter[str] = Counter()
        self._kinds: Counter[tuple[tuple[Kind, int], ...]] = Counter()
        self._known: set[int] = set()

    def usable(
        self, molecules: Iterable[Molecule]
    ) -> Iterator[tuple[Molecule, Isomer, NDArray[np.uint64]]]:
        """Molecules that the search could find, each constitution once, with its codes."""
        for molecule in molecules:
            try:
                isomer = Isomer.of_molecule(molecule)
            except MoleculeError as error:
                self.skipped[str(error)] += 1
                continue
            codes, whole = codes_of(isomer)
            if whole in self._known:
                self.skipped["it was there before"] += 1
                continue
            self._known.add(whole)
            yield molecule, isomer, codes

    def add(
        self,
        isomer: Isomer,
        codes: NDArray[np.uint64],
        sites: list[int],
        shifts: NDArray[np.float32],
        scales: NDArray[np.float32],
    ) -> None:
        """Take one structure with its predicted lines (S,)."""
        shift, scale = (np.full(len(isomer.kinds), np.nan, np.float32) for _ in range(2))
        shift[sites], scale[sites] = shifts, scales
        self.codes.append(codes)
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
    """Codes (RADIUS + 1, A) of a structure's atoms, and the code of the whole."""
    count = len(isomer.kinds)
    codes = np.zeros((RADIUS + 1, count), np.uint64)
    whole = _write_all(isomer.graph(), codes, np.zeros((2, count), np.uint64))
    return codes, int(whole)


@entry_point
def _write_all(graph: Graph, codes: NDArray[np.uint64], scratch: NDArray[np.uint64]) -> np.uint64:
    write_codes(graph, codes)
    return structure_code(graph, codes, scratch)
