"""What a user sees of a comparison: a bar on a terminal, a line for what happens."""

from __future__ import annotations

from types import TracebackType

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from nmrtk.comparison.runs import Run

_LOOK_BACK = 1800.0
"""Seconds whose pace foretells the rest: recipes differ in theirs."""


class ComparisonDisplay:
    """Watches a comparison. The bar is for all trainings together; it goes to stderr, and only to a
    terminal.
    """

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.completed:.1f}/{task.total:.0f} trainings"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[detail]}", markup=False),
            console=console,
            transient=True,
            speed_estimate_period=_LOOK_BACK,
            disable=not console.is_terminal,
        )
        self._bar = self._progress.add_task("", detail="", start=False)
        self._finished = 0

    def __enter__(self) -> ComparisonDisplay:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def begin(self, run: Run, finished: int, total: int) -> None:
        """Show the training that begins."""
        self._finished = finished
        self._progress.start_task(self._bar)
        self._progress.update(
            self._bar, description=_title(run), completed=finished, total=total, detail=""
        )
        if self._progress.disable:
            click.echo(f"{_title(run)}: begins, {finished} of {total} finished", err=True)

    def progress(self, share: float, text: str) -> None:
        """Move the bar."""
        self._progress.update(self._bar, completed=self._finished + share, detail=text)

    def note(self, run: Run, text: str) -> None:
        """Print a remark."""
        self._print(f"{_title(run)}: {text}")

    def end(self, run: Run, seconds: float) -> None:
        """Print how long a training took."""
        self._print(f"{_title(run)}: done in {seconds:.0f} s")

    def _print(self, text: str) -> None:
        if self._progress.disable:
            click.echo(text, err=True)
        else:
            self._progress.console.print(text, markup=False, highlight=False)


def _title(run: Run) -> str:
    return f"{run[0]}, seed {run[1]}"
