"""Carries out the trainings of a comparison, one after the other, and goes on where it stood."""

from __future__ import annotations

import multiprocessing
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any, Protocol

from nmrtk.comparison.plan import ComparisonPlan
from nmrtk.comparison.worker import Message, Task, is_done, work

_WAIT = 0.2
"""Seconds between two looks at whether to stop."""

Run = tuple[str, int]
"""A training: the name of its recipe, and its seed."""


class Watcher(Protocol):
    """Told how a comparison goes."""

    def begin(self, run: Run, finished: int, total: int) -> None:
        """A training begins, or goes on."""

    def progress(self, share: float, text: str) -> None:
        """Share of the running training and its measurement that is done."""

    def note(self, run: Run, text: str) -> None:
        """Something that the user should know."""

    def end(self, run: Run, seconds: float) -> None:
        """A training and its measurement are finished."""


@dataclass(slots=True)
class RunsOutcome:
    """How the trainings went.

    Args:
        interrupted: whether it was asked to stop; called again, it goes on.
        failures: why some are missing.
    """

    interrupted: bool = False
    failures: dict[Run, str] = field(default_factory=dict)


def carry_out(
    plan: ComparisonPlan, watcher: Watcher, *, accelerator: str = "auto", threads: int | None = None
) -> RunsOutcome:
    """Train and measure what is not finished yet.

    A training that fails is noted, and the others go on. Ctrl-C and termination save the state of
    the running one.

    Args:
        plan: checked; its folder is claimed.
        watcher: told of the progress.
        accelerator: `auto`, `cpu`, `cuda` or `mps`.
        threads: of the CPU; None for torch's choice.

    Raises:
        UsageError: a model in the folder came from another recipe or data set.
        CheckpointError: a model in the folder is damaged.
    """
    tasks = {
        (contender.name, seed): Task(
            contender.with_seed(seed),
            plan.data,
            plan.run_folder(contender, seed),
            plan.split,
            plan.codec,
            accelerator,
            threads,
        )
        for contender, seed in plan.runs()
    }
    pending = [run for run, task in tasks.items() if not is_done(task)]
    outcome = RunsOutcome()
    with _stopping() as stop:
        for index, run in enumerate(pending):
            watcher.begin(run, len(tasks) - len(pending) + index, len(tasks))
            started = time.monotonic()
            kind, text = _run_process(tasks[run], run, watcher, stop)
            if kind == "interrupted":
                outcome.interrupted = True
                break
            if kind == "failed":
                outcome.failures[run] = text
                watcher.note(run, f"failed: {text}")
            else:
                watcher.end(run, time.monotonic() - started)
    return outcome


def _run_process(task: Task, run: Run, watcher: Watcher, stop: threading.Event) -> tuple[str, str]:
    """How it ended: done, failed or interrupted, and why."""
    # Spawned, not forked: torch does not survive a fork on every system.
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(task, sender), daemon=True)
    process.start()
    sender.close()
    result: tuple[str, str] | None = None
    told = False
    with receiver:
        for message in _messages(receiver):
            if stop.is_set() and not told:
                process.terminate()
                told = True
            if message is None:
                continue
            kind, share, text = message
            if kind == "progress":
                watcher.progress(share, text)
            elif kind == "note":
                watcher.note(run, text)
            else:
                result = kind, text
    process.join()
    if result is not None and (result[0] != "failed" or not stop.is_set()):
        return result
    if stop.is_set():
        return "interrupted", ""
    return "failed", (
        f"its process was ended by the system (exit code {process.exitcode}), perhaps for want of "
        "memory"
    )


def _messages(receiver: Connection) -> Iterator[Message | None]:
    """What comes until the other side closes; None from time to time."""
    while True:
        try:
            yield receiver.recv() if receiver.poll(_WAIT) else None
        except EOFError:
            return


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """Set by the first Ctrl-C or termination; a second one ends everything at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(number, before[number])

    before: dict[int, Any] = {
        number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)
    }
    for number in before:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
