"""`nmrtk data`: make data sets, and look at them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nmrtk.nucleus import DEFAULT_NUCLEUS

if TYPE_CHECKING:
    from nmrtk.importing import ImportReport

_MANY = 12
"""Lines of a list that `info` prints; --json has all."""


@click.group()
def data() -> None:
    """Make data sets of molecules with measured spectra, and look at them."""


@data.command("import")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="Data set to make (.h5)."
)
@click.option("--nucleus", default=DEFAULT_NUCLEUS, show_default=True, help="Nucleus to keep.")
@click.option("--format", "format_name", help="Format of the sources; recognized if not given.")
@click.option("--strict", is_flag=True, help="End with exit code 1 if anything was skipped.")
def import_sources(
    sources: tuple[str, ...],
    output: Path,
    nucleus: str,
    format_name: str | None,
    strict: bool,
) -> None:
    """Read files into one data set.

    A SOURCE is a file, plain or gzip, or - for standard input; `nmrtk list` shows the formats.
    Whatever is not kept is listed, with place and reason, in DATA.skipped.csv beside the data set.
    """
    from nmrtk.errors import DataError
    from nmrtk.importing import import_files
    from nmrtk.nucleus import Nucleus

    with _ImportProgress() as progress:
        report = import_files(
            [Path(source) for source in sources],
            output,
            Nucleus.parse(nucleus),
            format_name,
            progress.update,
        )
    _echo_report(report, nucleus)
    if strict and report.skipped_anything:
        raise DataError(
            f"--strict: {report.skipped.total()} entries and {report.spectra_skipped.total()} "
            f"spectra of kept entries were skipped; {report.skipped_file} lists them"
        )


@data.command()
@click.argument("path", type=click.Path(path_type=Path), metavar="DATA.h5")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(path: Path, as_json: bool) -> None:
    """Show sizes, nucleus, elements, splits and provenance of a data set."""
    from nmrtk.dataset import DataSet

    with DataSet(path) as dataset:
        summary = dataset.summary()
    if as_json:
        click.echo(json.dumps(summary, indent=1))
    else:
        _echo_summary(summary)


class _ImportProgress:
    """A bar on stderr, by the bytes of the sources, if that is a terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("importing"),
            BarColumn(),
            TextColumn("{task.percentage:3.0f} %"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[counts]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=None, counts="")

    def __enter__(self) -> _ImportProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def update(self, done: int, total: int, report: ImportReport) -> None:
        """Show how far it is."""
        counts = f"{report.read} read, {report.kept} kept"
        self._bar.update(self._task, completed=done, total=total, counts=counts)


def _echo_report(report: ImportReport, nucleus: str) -> None:
    spectra = report.spectra_kept + report.spectra_skipped.total()
    rows: list[tuple[str, int]] = [
        ("entries read", report.read),
        ("kept", report.kept),
        ("skipped", report.skipped.total()),
        *_by_number("  ", report.skipped),
        (f"{nucleus} spectra of kept entries", spectra),
        ("kept", report.spectra_kept),
        ("skipped", report.spectra_skipped.total()),
        *_by_number("  ", report.spectra_skipped),
    ]
    _echo_rows(rows)
    click.echo(f"The data set is {report.output}")
    if report.skipped_anything:
        click.echo(f"What was skipped is listed in {report.skipped_file}", err=True)


def _echo_summary(summary: Mapping[str, Any]) -> None:
    provenance = summary["provenance"]
    click.echo(f"{summary['path']}: {summary['nucleus']} spectra")
    names = ("molecules", "distinct_molecules", "distinct_skeletons", "spectra")
    more = ("complete_spectra", "peaks", "assigned_peaks")
    _echo_rows([(name.replace("_", " "), summary[name]) for name in (*names, *more)])
    low, high = summary["shift_range_ppm"]
    click.echo(f"shifts from {low:g} to {high:g} ppm")
    low, high = summary["heavy_atoms_range"]
    click.echo(f"structures of {low} to {high} heavy atoms")
    click.echo("splits (molecules, of these with a complete spectrum)")
    for split, counts in summary["splits"].items():
        click.echo(f"  {split:<5}  {counts['molecules']}  {counts['with_complete_spectrum']}")
    for name in ("elements", "solvents"):
        click.echo(f"{name} ({'molecules' if name == 'elements' else 'spectra'})")
        _echo_rows(list(_by_number("  ", summary[name]))[:_MANY])
        if len(summary[name]) > _MANY:
            click.echo(f"  and {len(summary[name]) - _MANY} more (--json shows all)")
    click.echo(f"made {provenance['created']} with {_pairs(provenance['versions'])}")
    for source in provenance.get("sources", ()):
        click.echo(
            f"from {source['path']} ({source['format']}, {source['bytes']} bytes, "
            f"sha256 {source['sha256']})"
        )
    if "import" in provenance:
        counts = provenance["import"]
        click.echo(f"entries read {counts['read']}, kept {counts['kept']}")
        _echo_rows(list(_by_number("  skipped: ", counts["skipped"])))


def _by_number(indent: str, counts: Mapping[str, int]) -> Iterable[tuple[str, int]]:
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return ((f"{indent}{name}", number) for name, number in ordered)


def _echo_rows(rows: list[tuple[str, int]]) -> None:
    width = max((len(label) for label, _ in rows), default=0)
    digits = max((len(str(number)) for _, number in rows), default=0)
    for label, number in rows:
        click.echo(f"{label:<{width}}  {number:>{digits}}")


def _pairs(values: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
