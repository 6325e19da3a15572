"""Progress of work whose length nobody knows beforehand, on stderr if that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def counting(label: str) -> Iterator[Callable[[int], None]]:
    """Give a function that is told how many rows are done, and shows it."""
    if not sys.stderr.isatty():
        # To import rich takes longer than a short prediction.
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description} {task.completed:.0f}"),
        TimeElapsedColumn(),
    )
    progress = Progress(*columns, console=Console(stderr=True), transient=True)
    with progress:
        task = progress.add_task(label, total=None)
        yield lambda done: progress.update(task, completed=done)
