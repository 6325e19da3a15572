"""Compiles the inner loops before their time counts."""

from __future__ import annotations

import logging
import time

import numpy as np

from nmrtk_refine.annealing import anneal, new_kept, new_workplace, random_structure
from nmrtk_refine.energy import Target
from nmrtk_refine.kinds import Isomer, Kind, write_bond_kinds
from nmrtk_refine.states import estimate_all, prior_energy, score_values
from nmrtk_refine.tables import EnvironmentTables

_LOG = logging.getLogger(__name__)
_SLOW_S = 3.0


def compile_all() -> None:
    """Compile what a query runs; takes up to a minute in a new installation, no time later on."""
    start = time.monotonic()
    tiny = EnvironmentTables(
        np.zeros(0, np.uint64),
        np.zeros(0, np.uint8),
        np.zeros(0, np.float32),
        np.zeros(0, np.float32),
        np.zeros((0, 3), np.float32),
        np.zeros(0, np.float32),
        (),
        {},
        "",
        "",
        {},
    )
    table = tiny.table()
    isomer = Isomer(
        (Kind("C", 0, 4),) * 2, np.array([3, 3], np.int8), np.array([[0, 1], [1, 0]], np.int8)
    )
    graph = isomer.graph()
    target = Target(
        np.zeros(1),
        np.zeros(1, np.int64),
        np.array([0, 1]),
        np.arange(2),
        np.ones(2, np.bool_),
        1,
        1.0,
        1.0,
        1.0,
        1.0,
    )
    work, kept = new_workplace(2, 1, 0, tiny.network), new_kept(2, 4)
    random_structure(graph, isomer.hydrogens, work.random)
    anneal(graph, np.arange(2), table, target, work, kept, 1, 1.0, 1.0)
    score_values(graph, table, target, work, np.ones((2, 4), np.float32))
    estimate_all(
        *(graph, isomer.bonds[None], isomer.hydrogens[None], table, target, work, np.zeros(1))
    )
    prior_energy(graph, table)
    write_bond_kinds(graph)
    seconds = time.monotonic() - start
    if seconds > _SLOW_S:
        _LOG.warning("compiled the search in %.0f s; this is done once and kept", seconds)
