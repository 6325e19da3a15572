"""Carries out the trainings of a comparison, one after the other, and goes on where it stood."""

from __future__ import annotations

import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from nmrtk.comparison.plan import ComparisonPlan
from nmrtk.comparison.worker import Message, Task, is_done, work

_WAIT = 0.2
"""Seconds between two looks at whether to stop."""


class Watcher(Protocol):
    """Told how a comparison goes. A run is a recipe's name and a seed."""

    def begin(self, run: tuple[str, int], finished: int, total: int) -> None:
        """A training begins, or goes on."""

    def progress(self, share: float, text: str, remaining: float | None) -> None:
        """Share of the running training, and the estimated seconds for all that is left."""

    def note(self, run: tuple[str, int], text: str) -> None:
        """Something that the user should know."""

    def end(self, run: tuple[str, int], seconds: float, remaining: float | None) -> None:
        """A training and its measurement are finished."""


@dataclass(slots=True)
class RunsOutcome:
    """How the trainings went.

    Args:
        interrupted: whether it was asked to stop; called again, it goes on.
        failures: reasons by recipe and seed.
    """

    interrupted: bool = False
    failures: dict[tuple[str, int], str] = field(default_factory=dict)


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
    """
    tasks = {
        (contender.name, seed): Task(
            contender.with_seed(seed),
            Path(plan.data.path),
            plan.run_folder(contender, seed),
            plan.split,
            plan.codec,
            accelerator,
            threads,
        )
        for contender, seed in plan.runs()
    }
    pending = [run for run, task in tasks.items() if not is_done(task)]
    clock = Remaining([name for name, _ in pending])
    outcome = RunsOutcome()
    with _stopping() as stop:
        for index, run in enumerate(pending):
            watcher.begin(run, len(tasks) - len(pending) + index, len(tasks))
            clock.begin(run[0])
            kind, text = _run_process(tasks[run], run, watcher, clock, stop)
            if kind == "interrupted":
                outcome.interrupted = True
                return outcome
            seconds = clock.end(counts=kind == "done")
            if kind == "failed":
                outcome.failures[run] = text
                watcher.note(run, f"failed: {text}")
            else:
                watcher.end(run, seconds, clock.seconds())
    return outcome


class Remaining:
    """Estimates how long a comparison still takes.

    A recipe takes as long as it took before; one that has not finished yet as long as its share
    says, or as the others took on average.

    Args:
        names: of the recipes of all trainings to come, in order.
        now: a clock in seconds.
    """

    def __init__(self, names: list[str], now: Callable[[], float] = time.monotonic) -> None:
        self._names = list(names)
        self._now = now
        self._took: dict[str, list[float]] = {}
        self._started = 0.0
        self._first_share: tuple[float, float] | None = None
        self._running: str | None = None

    def begin(self, name: str) -> None:
        """The next training begins."""
        self._names.remove(name)
        self._running, self._started, self._first_share = name, self._now(), None

    def end(self, *, counts: bool) -> float:
        """It has ended; says how long it took. One that failed or went on does not count."""
        seconds = self._now() - self._started
        resumed = self._first_share is not None and self._first_share[0] > _RESUMED_SHARE
        if counts and not resumed and self._running is not None:
            self._took.setdefault(self._running, []).append(seconds)
        self._running = None
        return seconds

    def seconds(self, share: float = 0.0) -> float | None:
        """For all that is left, with a share of the running one done; None if unknown yet."""
        current = self._current(share)
        known = [sum(times) / len(times) for times in self._took.values()]
        if current is not None and self._running not in self._took:
            known.append(sum(current))
        if not known:
            return None
        usual = sum(known) / len(known)
        left = current[1] if current is not None else 0.0
        for name in self._names:
            times = self._took.get(name)
            if times:
                left += sum(times) / len(times)
            elif name == self._running and current is not None:
                left += sum(current)
            else:
                left += usual
        return left

    def _current(self, share: float) -> tuple[float, float] | None:
        """Seconds that the running one has taken and will take; None if not known yet."""
        if self._running is None:
            return None
        now = self._now()
        if self._first_share is None and share > 0:
            self._first_share = (share, now)
        passed = now - self._started
        if times := self._took.get(self._running):
            return passed, max(sum(times) / len(times) * (1 - share), 0.0)
        if self._first_share is None or share <= self._first_share[0]:
            return None
        done, since = share - self._first_share[0], now - self._first_share[1]
        return passed, since / done * (1 - share)


_RESUMED_SHARE = 0.1
"""A training whose first report says more than this went on where it stood."""


def _run_process(
    task: Task,
    run: tuple[str, int],
    watcher: Watcher,
    clock: Remaining,
    stop: threading.Event,
) -> tuple[str, str]:
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
                watcher.progress(share, text, clock.seconds(share))
            elif kind == "note":
                watcher.note(run, text)
            else:
                result = kind, text
    process.join()
    if result is not None and result[0] != "failed":
        return result
    if stop.is_set():
        return "interrupted", ""
    if result is not None:
        return result
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
