"""Distil a model into tables of atom environments, a small network and a prior."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import islice
from typing import TypeVar

import numpy as np

from nmrtk.checkpoint import LoadedModel
from nmrtk.errors import DataError, UsageError
from nmrtk.molecule import Molecule
from nmrtk.prediction import predict_prepared, prepare_molecules
from nmrtk_refine.gathered import Gathered
from nmrtk_refine.graphs import BondGraph
from nmrtk_refine.kinds import Isomer
from nmrtk_refine.network import Network
from nmrtk_refine.prior_training import train_prior
from nmrtk_refine.rivals import rival_sets
from nmrtk_refine.student import EPOCHS, Lesson, train_network
from nmrtk_refine.tables import EnvironmentTables, fingerprint, searched_scale
from nmrtk_refine.wrong import wrong_isomers

BATCH_SIZE = 128

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
    """Predict structures, gather what environments of atoms have in common, teach a small network
    what the model says of these structures and of wrong ones that look as likely by their
    environments, and a prior what tells structures from those that the search finds beside them.

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
    gathered = Gathered()
    lessons = []
    with counting("predicting structures") as progress:
        done = 0
        for batch in _batches(molecules):
            usable = list(gathered.usable(batch))
            taught = lessons_of(loaded, usable)
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
        *gathered.condensed(),
        patterns,
        usual,
        str(model.nucleus),
        fingerprint(model),
        {
            "structures": len(gathered.codes),
            "skipped": dict(gathered.skipped.most_common()),
        },
    )
    network = _taught_network(loaded, tables, lessons, counting, epochs)
    tables = replace(tables, network=network)
    with counting("searching rivals of structures") as progress:
        sets = rival_sets(gathered, lessons, tables, on_progress=progress)
    with counting("training the prior, steps") as progress:
        prior = train_prior(sets, on_progress=progress)
    return replace(tables, prior=prior)


def _taught_network(
    loaded: LoadedModel,
    tables: EnvironmentTables,
    lessons: Sequence[Lesson],
    counting: Counting,
    epochs: int,
) -> Network:
    with counting("searching wrong structures") as progress:
        isomers = wrong_isomers(lessons, tables, progress)
    wrong = []
    with counting("predicting wrong structures") as progress:
        done = 0
        for part in _batches(isomers):
            pairs = [(isomer.molecule(), isomer) for isomer in part]
            sound = [(molecule, isomer) for molecule, isomer in pairs if molecule is not None]
            wrong += [lesson for _, lesson in lessons_of(loaded, sound)]
            done += len(part)
            progress(done)
    with counting("training the small network, steps") as progress:
        return train_network([*lessons, *wrong], epochs, on_progress=progress)


def _batches(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    source = iter(items)
    while batch := list(islice(source, BATCH_SIZE)):
        yield batch


def lessons_of(
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
        lesson = Lesson(
            *(BondGraph.of(isomer), np.array(sites, np.int64), shifts[span], scales[span])
        )
        lessons.append((isomer, lesson))
        start = span.stop
    return lessons
