"""`nmrtk compare`: recipes side by side, each trained with several seeds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from nmrtk.comparison.report import ComparisonReport


@click.command()
@click.argument("recipes", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help="Data set made by `nmrtk data import`.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder for trainings and results.",
)
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Trainings of each recipe, with seeds 0, 1, ...",
)
@click.option(
    "--split",
    default="test",
    show_default=True,
    help="val or test: to measure on. To choose a recipe take val.",
)
@click.option(
    "--codec",
    help="Codec into whose bins the lines of all go; that of the first recipe if not given.",
)
@click.option("--accelerator", default="auto", help="auto, cpu, cuda or mps.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.")
def compare(
    recipes: tuple[Path, ...],
    data: Path,
    output: Path,
    seeds: int,
    split: str,
    codec: str | None,
    accelerator: str,
    threads: int | None,
) -> None:
    """Train recipes with several seeds and compare them on the same molecules.

    A recipe goes by the name of its file; the first is what the others are compared with. Ctrl-C
    saves the state and stops, and the same command goes on from it. More seeds and further recipes
    may be added to a folder. It then holds report.md, runs.csv and comparison.svg and .png.
    """
    from nmrtk.atomic import write_bytes
    from nmrtk.cli.comparison_display import ComparisonDisplay
    from nmrtk.cli.main import EXIT_FAILURE, EXIT_INTERRUPTED
    from nmrtk.comparison.picture import save_picture
    from nmrtk.comparison.plan import claim_folder, make_plan
    from nmrtk.comparison.report import make_report
    from nmrtk.comparison.results import read_results, result_rows, write_rows
    from nmrtk.comparison.runs import carry_out
    from nmrtk.drawing import require_matplotlib

    require_matplotlib()
    plan = make_plan(recipes, data, output, seeds=seeds, split=split, codec=codec)
    claim_folder(plan)
    with ComparisonDisplay() as display:
        outcome = carry_out(plan, display, accelerator=accelerator, threads=threads)
    if outcome.interrupted:
        click.echo("Stopped. The same command goes on.", err=True)
        raise SystemExit(EXIT_INTERRUPTED)
    results = read_results(plan, outcome.failures)
    report = make_report(plan, results, outcome.failures)
    rows = result_rows(plan, results)
    write_bytes(output / "report.md", report.to_markdown().encode())
    write_rows(rows, output / "runs.csv")
    for name in ("comparison.svg", "comparison.png"):
        save_picture(rows, output / name)
    _show(report)
    if outcome.failures:
        raise SystemExit(EXIT_FAILURE)


def _show(report: ComparisonReport) -> None:
    """Tables on a terminal, Markdown elsewhere."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        click.echo(report.to_markdown(), nl=False)
        return
    for table in report.tables:
        table.print(console)
    for note in report.notes:
        console.print(f"Note: {note}", highlight=False, markup=False)
