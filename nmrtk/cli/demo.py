"""`nmrtk demo`: the whole way on what ships with nmrtk."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("demo"),
    show_default=True,
    help="Folder for the results.",
)
@click.option("--epochs", type=click.IntRange(min=1), help="Train for so many epochs instead.")
def demo(output: Path, epochs: int | None) -> None:
    """Import, train, predict and elucidate everyday compounds; ends in a page to look at.

    Takes a few minutes and needs no network.
    """
    from nmrtk.cli.training_display import TrainingDisplay
    from nmrtk.demo import run_demo

    with TrainingDisplay(None, enabled=True) as display:
        result = run_demo(output, display, lambda text: click.echo(text, err=True), epochs)
    click.echo(
        f"Unseen compounds: {result.mae:.2f} ppm mean absolute error (the mean of all lines: "
        f"{result.mean_mae:.2f}); {result.first} of {result.queries} found first by their lines "
        f"alone. {result.seconds:.0f} s."
    )
    click.echo(f"Open {result.page} in a browser.")
