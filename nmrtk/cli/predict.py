"""`nmrtk predict`: structures to spectra."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from nmrtk.recipe import Precision
    from nmrtk.rows import Row, StructureRow

FORMAT_NAMES = ("jsonl", "csv", "sdf", "acs")
PRECISIONS = ("float32", "bfloat16")


@click.command()
@click.argument("smiles", nargs=-1)
@click.option("--input", "source", help="File of structures: .jsonl, .smi, .csv, .sdf, or -.")
@click.option("-o", "--output", help="Write here instead: .jsonl, .csv, .sdf, or .txt for acs.")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMAT_NAMES),
    help="Write this, whatever the ending of -o; acs is the text of journals.",
)
@click.option(
    "--plot",
    metavar="FILE",
    help="Draw structure and spectrum: .png, .svg or .pdf. Several structures become FILE-1.png, "
    "FILE-2.png and so on, or pages of one .pdf.",
)
@click.option("--model", "model_name", help="Folder of a training, or an installed model.")
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    help="Processes that predict; 0 for none but this one. By default one for each core where "
    "there are many structures.",
)
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default=PRECISIONS[0],
    show_default=True,
    help="Of the encoder's matrix products; bfloat16 is faster where the processor has it, and "
    "changes shifts by some hundredths of a ppm.",
)
@click.option("--strict", is_flag=True, help="Fail if any structure cannot be predicted.")
def predict(
    smiles: tuple[str, ...],
    source: str | None,
    output: str | None,
    form: str | None,
    plot: str | None,
    model_name: str | None,
    workers: int | None,
    precision: Precision,
    strict: bool,
) -> None:
    """Predict the spectra of structures.

    A structure that cannot be predicted becomes a row that says why; the others go on. Without
    -o and --format, rows are shown as a table on a terminal, and are JSON lines otherwise.
    """
    from nmrtk.cli.progress import counting
    from nmrtk.cli.summary import Summary
    from nmrtk.errors import UsageError
    from nmrtk.prediction_formats import ENDINGS, FORMATS
    from nmrtk.row_output import RowWriter, output_format
    from nmrtk.rows import StructureRow, read_structures

    if bool(smiles) == (source is not None):
        raise UsageError("give either SMILES or --input with a file of structures")
    chosen = output_format(output, source, ENDINGS, FORMATS[form] if form else None)
    structures: Iterable[StructureRow] = (
        StructureRow(f"argument {number}", str(number), text)
        for number, text in enumerate(smiles, start=1)
    )
    if source is not None:
        structures = read_structures(source)
    on_terminal = output is None and form is None and sys.stdout.isatty()

    summary = Summary("structures", "predicted")
    with ExitStack() as stack:
        take: list[Callable[[Row], object]] = []
        if plot is not None:
            from nmrtk.plotting import Pictures

            take.append(stack.enter_context(Pictures(plot)).add)
        if on_terminal or plot is not None:
            # Both take longer than the prediction.
            workers = 0
        workers, structures = _choose_workers(workers, structures)
        if workers:
            from nmrtk.prediction_workers import render_in_workers

            name = next(name for name, known in FORMATS.items() if known is chosen)
            rendered = _started(render_in_workers(model_name, structures, name, workers, precision))
            writer = stack.enter_context(RowWriter(output, chosen))
            progress = stack.enter_context(counting("structures"))
            for text, error in rendered:
                summary.note(error)
                writer.write_text(text)
                progress(summary.count)
        else:
            rows = _predict_here(model_name, structures, precision)
            if on_terminal:
                take.append(_show)
            else:
                take.append(stack.enter_context(RowWriter(output, chosen)).write)
                progress = stack.enter_context(counting("structures"))
                take.append(lambda row: progress(summary.count))
            for row in summary.watch(rows):
                for use in take:
                    use(row)
    summary.finish(strict=strict)


def _choose_workers(
    wanted: int | None, structures: Iterable[StructureRow]
) -> tuple[int, Iterable[StructureRow]]:
    """Number of processes, and the structures, of which the first have been counted."""
    from nmrtk.prediction_workers import LEAST_STRUCTURES, usual_workers

    if wanted is not None:
        return wanted, structures
    workers = usual_workers()
    if workers == 1:
        return 0, structures
    rest = iter(structures)
    first = list(islice(rest, LEAST_STRUCTURES))
    return workers if len(first) == LEAST_STRUCTURES else 0, chain(first, rest)


def _started(rendered: Iterator[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """The same, the first at hand: a model that is missing must not cost an existing output."""
    first = list(islice(rendered, 1))
    return chain(first, rendered)


def _predict_here(
    model_name: str | None, structures: Iterable[StructureRow], precision: Precision
) -> Iterator[Row]:
    from nmrtk.checkpoint import default_model, load_model
    from nmrtk.prediction import predict_rows

    return predict_rows(load_model(model_name or default_model(), precision), structures)


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
