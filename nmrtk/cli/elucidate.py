"""`nmrtk elucidate`: spectra to structures."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from nmrtk.checkpoint import LoadedModel
    from nmrtk.interfaces import CandidateGenerator
    from nmrtk.library import Library
    from nmrtk.nucleus import Nucleus
    from nmrtk.rows import QueryRow

COLUMNS = (
    *("id", "rank", "smiles", "probability", "mae_ppm", "source"),
    *("none_of_these", "seconds", "notes", "error"),
)


@click.command()
@click.argument("peaks", nargs=-1)
@click.option("--input", "source", help="File of peak lists: .jsonl, .csv, .txt, or -.")
@click.option("--formula", help="Molecular formula; of all peak lists that have none of their own.")
@click.option(
    "--library", "library_source", help="Structures to look through: a library, or a file."
)
@click.option(
    "--generator", "names", multiple=True, help="What proposes candidates; may be repeated."
)
@click.option(
    "-G", "options", multiple=True, metavar="NAME.OPTION=VALUE", help="Options of a generator."
)
@click.option(
    "--top", type=click.IntRange(min=1), default=10, show_default=True, help="Candidates to show."
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    help="Time for one spectrum.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the draws."
)
@click.option("--model", "model_name", help="Folder of a training, or an installed model.")
@click.option("-o", "--output", help="Write here instead: .jsonl or .csv.")
@click.option("--strict", is_flag=True, help="Fail if any peak list cannot be used.")
def elucidate(
    peaks: tuple[str, ...],
    source: str | None,
    formula: str | None,
    library_source: str | None,
    names: tuple[str, ...],
    options: tuple[str, ...],
    top: int,
    seconds: float,
    seed: int,
    model_name: str | None,
    output: str | None,
    strict: bool,
) -> None:
    """Propose structures for spectra, such as "57.8 (T), 18.1 (Q)".

    A peak list that cannot be used becomes a row that says why; the others go on. Without -o,
    rows are shown as a table on a terminal, and are JSON lines otherwise.
    """
    from nmrtk.errors import NmrtkError, SpectrumError, UsageError
    from nmrtk.formula import Formula
    from nmrtk.row_output import JSON_LINES, RowWriter, csv_format, output_format

    if bool(peaks) == (source is not None):
        raise UsageError("give either a peak list or --input with a file of them")
    endings = {".jsonl": JSON_LINES, ".csv": csv_format(COLUMNS, _flatten)}
    form = output_format(output, source, endings)
    default_formula = None if formula is None else Formula.parse(formula)
    generators = _generators(names, options)

    from nmrtk.checkpoint import default_model, load_model
    from nmrtk.cli.progress import counting
    from nmrtk.cli.summary import Summary
    from nmrtk.elucidation import Query, elucidation_row
    from nmrtk.elucidation import elucidate as search

    loaded = load_model(model_name or default_model())
    queries = _queries(peaks, source, loaded.model.nucleus)
    refusals: list[str] = []

    def answer(row: QueryRow, library: Library | None) -> dict[str, Any]:
        try:
            if row.spectrum is None:
                raise SpectrumError(row.error)
            known = row.formula or default_formula
            query = Query(row.id, row.spectrum, known, library, top, seconds)
        except NmrtkError as error:
            return {"id": row.id, "error": f"{row.position}: {error}"}
        try:
            result = search(loaded, query, generators, seed=seed, require_all=bool(names))
        except UsageError as error:
            refusals.append(str(error))
            return {"id": row.id, "error": f"{row.position}: {error}"}
        except NmrtkError as error:
            return {"id": row.id, "error": f"{row.position}: {error}"}
        return elucidation_row(query, result)

    summary = Summary("peak lists", "elucidated")
    with ExitStack() as stack:
        library = _open_library(library_source, loaded, stack)
        rows = summary.watch(answer(row, library) for row in queries)
        if output is None and sys.stdout.isatty():
            for result_row in rows:
                _show(result_row)
        else:
            writer = stack.enter_context(RowWriter(output, form))
            progress = stack.enter_context(counting("peak lists"))
            for result_row in rows:
                writer.write(result_row)
                progress(summary.count)
    if refusals and len(refusals) == summary.count:
        # Not the peak lists are at fault, but what was asked for.
        raise UsageError(refusals[0])
    summary.finish(strict=strict)


def _generators(names: tuple[str, ...], options: tuple[str, ...]) -> dict[str, CandidateGenerator]:
    from nmrtk.errors import UsageError
    from nmrtk.options import parse_assignments
    from nmrtk.plugins import build, components

    chosen = dict.fromkeys(names or components("candidate_generators"))
    if not chosen:
        raise UsageError("no generator of candidates is installed: `pip install nmrtk-search`")
    settings: dict[str, dict[str, Any]] = {name: {} for name in chosen}
    for key, value in parse_assignments(options, "-G").items():
        name, dot, option = key.partition(".")
        if not dot or name not in settings:
            raise UsageError(
                f"-G {key}: write NAME.OPTION=VALUE with one of the generators {', '.join(chosen)}"
            )
        settings[name][option] = value
    return {name: build("candidate_generators", name, settings[name]) for name in chosen}


def _queries(peaks: tuple[str, ...], source: str | None, nucleus: Nucleus) -> Iterable[QueryRow]:
    from nmrtk.rows import query_row, read_queries

    if source is not None:
        return read_queries(source, nucleus)
    text = ", ".join(part.strip().rstrip(",;") for part in peaks)
    return [query_row("peak list", {"peaks": text}, nucleus, 1)]


def _open_library(source: str | None, loaded: LoadedModel, stack: ExitStack) -> Library | None:
    """The library of a file that `nmrtk library build` made, or one made now, for this run."""
    import tempfile

    from nmrtk.cli.library import report_build
    from nmrtk.cli.progress import counting
    from nmrtk.library import Library, build_library, is_library, read_library_structures

    if source is None:
        return None
    path = Path(source)
    if not is_library(path):
        structures = read_library_structures(source)
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="nmrtk-"))
        path = Path(folder) / "library.h5"
        with counting("encoding structures") as progress:
            report = build_library(loaded, structures, path, progress)
        report_build(report)
    return stack.enter_context(Library(path, loaded))


def _flatten(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """One line of a table a candidate; one line for a row without candidates."""
    shared = {**row, "notes": "; ".join(row.get("notes", []))}
    for candidate in row.get("candidates") or [{}]:
        yield {**shared, **candidate}


def _show(row: dict[str, Any]) -> None:
    from rich.console import Console, JustifyMethod
    from rich.table import Table
    from rich.text import Text

    if "error" in row:
        return
    # As Text, since brackets of a SMILES such as [nH] would be taken for markup.
    table = Table(title=Text(f"{row['id']}  ({row['seconds']} s)"), title_justify="left")
    for heading in ("rank", "structure", "probability", "MAE/ppm", "source"):
        justify: JustifyMethod = "left" if heading == "structure" else "right"
        table.add_column(heading, justify=justify, overflow="fold")
    for candidate in row["candidates"]:
        table.add_row(
            str(candidate["rank"]),
            Text(candidate["smiles"]),
            f"{candidate['probability']:.1%}",
            f"{candidate['mae_ppm']:.2f}",
            candidate["source"],
        )
    table.add_row("", "none of these", f"{row['none_of_these']:.1%}", "", "")
    console = Console()
    console.print(table)
    for note in row.get("notes", []):
        console.print(f"Note: {note}", markup=False)
