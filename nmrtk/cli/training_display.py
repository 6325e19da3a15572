"""What a user sees of a training: a progress bar on a terminal, a line an epoch, TensorBoard."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import TracebackType
from typing import Any

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from nmrtk.run_folder import Row

_COLUMNS = {
    "train_code": "train code",
    "val_code": "val code",
    "val_micro_f1": "micro-F1",
    "val_mae_ppm": "MAE/ppm",
    "val_loss": "val loss",
}


class TrainingDisplay:
    """Listens to a training. Progress goes to stderr, and only to a terminal.

    Args:
        run: folder of the training; TensorBoard's files go below it. None writes none.
        enabled: False in all processes but the first.
    """

    def __init__(self, run: Path | None, *, enabled: bool) -> None:
        self._enabled = enabled
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[detail]}"),
            console=console,
            transient=True,
            disable=not (enabled and console.is_terminal),
        )
        self._tasks: dict[str, TaskID] = {}
        self._writer: Any = None
        self._run = run

    def __enter__(self) -> TrainingDisplay:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()
        if self._writer is not None:
            self._writer.close()

    def preparing(self, split: str, done: int, total: int) -> None:
        """Show how many molecules are ready."""
        self._show(f"preparing {split}", done, total)

    def step(self, epoch: int, batch: int, batches: int, loss: float) -> None:
        """Show the place in the epoch and the loss of the step."""
        self._show(f"epoch {epoch}", batch, batches, f"loss {loss:.3f}")

    def epoch(self, row: Row, best: bool) -> None:
        """Print the figures of an epoch."""
        if not self._enabled:
            return
        figures = "  ".join(
            f"{label} {row[name]:.4f}" for name, label in _COLUMNS.items() if name in row
        )
        click.echo(
            f"epoch {row['epoch']:>3}  {row['seconds']:6.1f} s  {figures}{'  *' if best else ''}",
            err=True,
        )
        self._write_events(row)

    def note(self, text: str) -> None:
        """Print a remark."""
        if self._enabled:
            click.echo(text, err=True)

    def _show(self, name: str, done: int, total: int, detail: str = "") -> None:
        if name not in self._tasks:
            for task in self._tasks.values():
                self._progress.remove_task(task)
            self._tasks = {name: self._progress.add_task(name, total=total, detail="")}
        self._progress.update(self._tasks[name], completed=done, detail=detail)

    def _write_events(self, row: Row) -> None:
        if self._run is None:
            return
        if self._writer is None:
            if importlib.util.find_spec("tensorboard") is None:
                return
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(
                str(self._run / "tensorboard"), purge_step=int(row["epoch"])
            )
        for name, value in row.items():
            self._writer.add_scalar(name, value, int(row["epoch"]))
