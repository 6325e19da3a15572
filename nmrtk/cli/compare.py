"""`nmrtk compare`: recipes side by side, each trained with several seeds."""

from __future__ import annotations

import json
from pathlib import Path

import click


class _Lines:
    """A line on stderr for everything that happens."""

    def begin(self, run: tuple[str, int], finished: int, total: int) -> None:
        click.echo(f"{run[0]}, seed {run[1]}: {finished} of {total} finished", err=True)

    def progress(self, share: float, text: str, remaining: float | None) -> None:
        pass

    def note(self, run: tuple[str, int], text: str) -> None:
        click.echo(f"{run[0]}, seed {run[1]}: {text}", err=True)

    def end(self, run: tuple[str, int], seconds: float, remaining: float | None) -> None:
        left = "" if remaining is None else f", about {remaining / 60:.0f} min left"
        click.echo(f"{run[0]}, seed {run[1]}: done in {seconds:.0f} s{left}", err=True)


@click.command()
@click.argument("recipes", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Data set.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder.")
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--split", default="test", show_default=True, help="val or test.")
@click.option("--codec", help="Of the common bins; that of the first recipe if not given.")
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

    The same command again goes on where a stopped one stood.
    """
    from nmrtk.atomic import write_bytes
    from nmrtk.cli.main import EXIT_FAILURE, EXIT_INTERRUPTED
    from nmrtk.comparison.plan import claim_folder, make_plan
    from nmrtk.comparison.report import read_results, rows, tables
    from nmrtk.comparison.runs import carry_out

    plan = make_plan(recipes, data, output, seeds=seeds, split=split, codec=codec)
    claim_folder(plan)
    outcome = carry_out(plan, _Lines(), accelerator=accelerator, threads=threads)
    if outcome.interrupted:
        click.echo("Stopped. The same command goes on.", err=True)
        raise SystemExit(EXIT_INTERRUPTED)
    results = read_results(plan)
    lines = [json.dumps(row, ensure_ascii=False) for row in rows(plan, results)]
    write_bytes(output / "runs.jsonl", ("\n".join(lines) + "\n").encode())
    text = "\n\n".join(table.to_markdown() for table in tables(plan, results)) + "\n"
    write_bytes(output / "report.md", text.encode())
    click.echo(text, nl=False)
    if outcome.failures:
        raise SystemExit(EXIT_FAILURE)
