"""Many structures to rendered rows, in processes of their own, each with the whole model.

Processes are spawned, not forked, since torch does not survive a fork on every system. Each reads,
predicts and writes whole batches on one thread: nothing large passes between them, all cores have
the same work, and the process that starts them never imports torch.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING

from nmrtk.errors import NmrtkError
from nmrtk.memory import keep_freed_memory

if TYPE_CHECKING:
    from nmrtk.checkpoint import LoadedModel
    from nmrtk.recipe import Precision
    from nmrtk.rows import StructureRow

LEAST_STRUCTURES = 1000
"""For fewer, one process is done before others have started."""

MOST_WORKERS = 8
"""Each takes some hundred megabytes."""

_BATCH_SIZE = 256
_BATCHES_AHEAD = 2

Rendered = tuple[str, str]
"""Text of a row, and its error or an empty string."""


def usual_workers() -> int:
    """As many processes as there are cores for this one, within bounds."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return min(cores, MOST_WORKERS)


def render_in_workers(
    model: str | None,
    structures: Iterable[StructureRow],
    form: str,
    workers: int,
    precision: Precision = "float32",
) -> Iterator[Rendered]:
    """Predict and render rows, in order, in bounded memory.

    Args:
        model: as `nmrtk.checkpoint.load_model` takes it; None for the default one.
        structures: read as the workers get on.
        form: name of a format of `nmrtk.prediction_formats`.
        workers: number of processes, at least 1.
        precision: as `nmrtk.checkpoint.load_model` takes it.

    Raises:
        NmrtkError: the model cannot be loaded, or a process died.
    """
    rows = iter(structures)
    waiting: deque[Future[list[Rendered]]] = deque()
    pool = ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker
    )
    try:
        while batch := list(islice(rows, _BATCH_SIZE)):
            waiting.append(pool.submit(_render_batch, model, precision, batch, form))
            if len(waiting) >= workers * _BATCHES_AHEAD:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    except BrokenProcessPool as error:
        raise NmrtkError(
            "a process that predicts was ended by the system, perhaps for want of memory: try "
            "again with fewer --workers"
        ) from error
    finally:
        # Whoever stops reading does not wait for what is left.
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    # Ctrl-C reaches all processes of a terminal: the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Before torch is imported: every core has its worker already.
    os.environ["OMP_NUM_THREADS"] = "1"
    keep_freed_memory()


@lru_cache(maxsize=1)
def _loaded(model: str | None, precision: Precision) -> LoadedModel:
    from nmrtk.checkpoint import default_model, load_model

    loaded = load_model(model or default_model(), precision)
    # All of it stays: a sixth of the time went into looking whether it is garbage.
    gc.freeze()
    return loaded


def _render_batch(
    model: str | None, precision: Precision, batch: list[StructureRow], form: str
) -> list[Rendered]:
    from nmrtk.prediction import predict_rows
    from nmrtk.prediction_formats import FORMATS

    loaded = _loaded(model, precision)
    render = FORMATS[form].render
    return [(render(row), row.get("error", "")) for row in predict_rows(loaded, batch)]
