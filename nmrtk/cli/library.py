"""`nmrtk library`: structures made ready to be looked up by their spectra."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from nmrtk.library import BuildReport


@click.group()
def library() -> None:
    """Make libraries of structures for `nmrtk elucidate --library`."""


@library.command()
@click.argument("structures")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="LIBRARY.h5")
@click.option("--model", "model_name", help="Folder of a training, or an installed model.")
@click.option("--strict", is_flag=True, help="Fail if any structure cannot be encoded.")
def build(structures: str, output: Path, model_name: str | None, strict: bool) -> None:
    """Encode STRUCTURES into a library.

    STRUCTURES is a .smi, .csv, .sdf or .jsonl file, also with .gz, or an nmrtk data set. What
    cannot be encoded is listed in LIBRARY.skipped.csv.
    """
    from nmrtk.errors import UsageError
    from nmrtk.library import ENDING, build_library, read_library_structures, skipped_path

    if output.suffix != ENDING:
        raise UsageError(f"-o {output}: end the name of a library in {ENDING}")
    if output.exists() and Path(structures).exists() and output.samefile(structures):
        raise UsageError(f"-o {output} is the input: it would be overwritten")

    from nmrtk.checkpoint import default_model, load_model
    from nmrtk.cli.progress import counting

    rows = read_library_structures(structures)
    loaded = load_model(model_name or default_model())
    with counting("encoding structures") as progress:
        report = build_library(loaded, rows, output, progress)
    click.echo(
        f"{output}: {report.kept} structures; of {report.read} read, {report.duplicates} "
        f"duplicates and {report.skipped} skipped"
    )
    report_build(report, skipped_path(output))
    if strict and report.skipped:
        raise SystemExit(1)


def report_build(report: BuildReport, listed: Path | None = None) -> None:
    """Tell on stderr of structures that are not in a library."""
    if report.skipped:
        place = f"; all are listed in {listed}" if listed else ""
        click.echo(
            f"{report.skipped} of {report.read} structures could not be encoded, the first: "
            f"{report.first_problem}{place}",
            err=True,
        )
