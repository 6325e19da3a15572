"""`nmrtk predict`: structures to spectra."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from nmrtk.rows import StructureRow

COLUMNS = ("id", "smiles", "nucleus", "ppm", "sigma", "multiplicity", "atoms", "error")


@click.command()
@click.argument("smiles", nargs=-1)
@click.option("--input", "source", help="File of structures: .jsonl, .smi, .csv, .sdf, or -.")
@click.option("-o", "--output", help="Write here instead: .jsonl or .csv.")
@click.option("--model", "model_name", help="Folder of a training, or an installed model.")
@click.option("--strict", is_flag=True, help="Fail if any structure cannot be predicted.")
def predict(
    smiles: tuple[str, ...],
    source: str | None,
    output: str | None,
    model_name: str | None,
    strict: bool,
) -> None:
    """Predict the spectra of structures.

    A structure that cannot be predicted becomes a row that says why; the others go on. Without
    -o, rows are shown as a table on a terminal, and are JSON lines otherwise.
    """
    from nmrtk.errors import UsageError
    from nmrtk.row_output import RowWriter, check_output
    from nmrtk.rows import StructureRow, read_structures

    if bool(smiles) == (source is not None):
        raise UsageError("give either SMILES or --input with a file of structures")
    check_output(output, source)
    structures: Iterable[StructureRow] = (
        StructureRow(f"argument {number}", str(number), text)
        for number, text in enumerate(smiles, start=1)
    )
    if source is not None:
        structures = read_structures(source)

    from nmrtk.checkpoint import default_model, load_model
    from nmrtk.cli.progress import counting
    from nmrtk.cli.summary import Summary
    from nmrtk.prediction import predict_rows

    loaded = load_model(model_name or default_model())
    rows = predict_rows(loaded, structures)
    summary = Summary("structures", "predicted")
    if output is None and sys.stdout.isatty():
        for row in summary.watch(rows):
            _show(row)
    else:
        writer = RowWriter(output, source=source, columns=COLUMNS, flatten=_flatten)
        with writer, counting("structures") as progress:
            for row in summary.watch(rows):
                writer.write(row)
                progress(summary.count)
    summary.finish(strict=strict)


def _flatten(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """One line of a table a peak; one line for a row without peaks."""
    for peak in row.get("peaks") or [{"atoms": []}]:
        atoms = " ".join(str(atom) for atom in peak["atoms"])
        yield {**row, **peak, "atoms": atoms}


def _show(row: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if "error" in row:
        return
    # As Text, since brackets of a SMILES such as [nH] would be taken for markup.
    table = Table(title=Text(f"{row['smiles']}  ({row['nucleus']})"), title_justify="left")
    for heading in ("ppm", "sigma", "multiplicity", "atom"):
        table.add_column(heading, justify="right")
    for peak in row["peaks"]:
        sigma = "" if peak["sigma"] is None else f"{peak['sigma']:.2f}"
        atoms = ", ".join(str(atom) for atom in peak["atoms"])
        table.add_row(f"{peak['ppm']:.2f}", sigma, peak["multiplicity"], atoms)
    Console().print(table)
