"""`nmrtk evaluate`: both directions of a trained model, beside baselines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from nmrtk.evaluation import Evaluation, Progress

_FORMATS = (".json", ".md")


@click.command()
@click.option("--model", help="Folder of a training, model file, or name of an installed model.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help="Data set made by `nmrtk data import`.",
)
@click.option("--split", default="test", show_default=True, help="train, val or test.")
@click.option(
    "--baseline",
    "baselines",
    multiple=True,
    metavar="NAME",
    help="Baseline to measure on the same molecules; may be given again.",
)
@click.option(
    "--assigned",
    type=click.Path(path_type=Path),
    help="Data set with assigned lines. Its molecules of the split show the errors at the true "
    "atoms; baselines that can use them learn from those of train. The splits are those of "
    "--data, by skeleton.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Evaluate so many molecules, at random.")
@click.option(
    "--draws",
    type=click.IntRange(min=2),
    default=100,
    show_default=True,
    help="Random free parts for each spectrum, run backwards.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of everything random.")
@click.option(
    "-o",
    "--output",
    "outputs",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Report: .json for all figures, .md for the tables; may be given again.",
)
def evaluate(
    model: str | None,
    data: Path,
    split: str,
    baselines: tuple[str, ...],
    assigned: Path | None,
    limit: int | None,
    draws: int,
    seed: int,
    outputs: tuple[Path, ...],
) -> None:
    """Measure a trained model on molecules that it has not seen.

    The split is made by the rule that the model was trained with. Molecules that the model cannot
    represent are left out and counted, for all competitors alike.
    """
    from nmrtk.errors import UsageError

    for path in outputs:
        if path.suffix.lower() not in _FORMATS:
            raise UsageError(f"-o {path}: the report ends in {' or '.join(_FORMATS)}")

    from nmrtk.atomic import atomic_path
    from nmrtk.checkpoint import default_model, load_model
    from nmrtk.evaluation import evaluate
    from nmrtk.evaluation_data import Plan

    with ExitStack() as files:
        # Opened before the work, so that a folder that cannot be written is found at once.
        opened = [(path, files.enter_context(atomic_path(path))) for path in outputs]
        loaded = load_model(model or default_model())
        plan = Plan(data, split, baselines, assigned, limit or 0, draws, seed)
        with _progress() as on_progress:
            evaluation = evaluate(loaded, plan, on_progress)
        for path, temporary in opened:
            as_json = path.suffix.lower() == ".json"
            text = evaluation.to_json() if as_json else evaluation.to_markdown()
            temporary.write_text(text, encoding="utf-8")
    _show(evaluation)


def _show(evaluation: Evaluation) -> None:
    """Tables on a terminal, Markdown elsewhere."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        click.echo(evaluation.to_markdown(), nl=False)
        return
    console.print(evaluation.heading(), highlight=False, markup=False)
    console.print()
    for table in evaluation.tables():
        table.print(console)
    for note in evaluation.notes:
        console.print(f"Note: {note}", highlight=False, markup=False)


@contextmanager
def _progress() -> Iterator[Progress]:
    """A bar on stderr for the running stage, if that is a terminal."""
    from rich.console import Console
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    with Bars(console=console, transient=True, disable=not console.is_terminal) as bars:
        running = bars.add_task("", total=1)

        def show(stage: str, done: int, total: int) -> None:
            bars.update(running, description=stage, completed=done, total=total)

        yield show
