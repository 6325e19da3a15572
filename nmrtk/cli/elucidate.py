"""`nmrtk elucidate`: spectra to structures."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from nmrtk.checkpoint import LoadedModel
    from nmrtk.elucidation import Elucidation
    from nmrtk.errors import NmrtkError
    from nmrtk.interfaces import CandidateGenerator
    from nmrtk.library import Library
    from nmrtk.other_lines import OtherLines
    from nmrtk.query import Query
    from nmrtk.rows import QueryRow

    Write = Callable[[dict[str, Any], Query | None, Elucidation | None], None]

_PAGE_ENDINGS = (".html", ".htm")
_SD_ENDINGS = (".sdf", ".sd")


@click.command()
@click.argument("peaks", nargs=-1)
@click.option("--input", "source", help="File of peak lists: .jsonl, .csv, .txt, or -.")
@click.option("--formula", help="Molecular formula; of all peak lists that have none of their own.")
@click.option("--mass", type=float, help="Monoisotopic mass in dalton, where there is no formula.")
@click.option(
    "--mass-tolerance",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    help="Error of the mass, in ppm.",
)
@click.option(
    "--contains", multiple=True, metavar="SMARTS", help="What it has; may be given again."
)
@click.option(
    "--lacks", multiple=True, metavar="SMARTS", help="What it does not have; may be given again."
)
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
@click.option(
    "--also",
    multiple=True,
    metavar="MODEL",
    help="A model for another nucleus, whose lines stand beside the others; may be given again.",
)
@click.option("-o", "--output", help="Write here instead: .jsonl, .csv, .sdf or .html.")
@click.option("--strict", is_flag=True, help="Fail if any peak list cannot be used.")
def elucidate(
    peaks: tuple[str, ...],
    source: str | None,
    formula: str | None,
    mass: float | None,
    mass_tolerance: float,
    contains: tuple[str, ...],
    lacks: tuple[str, ...],
    library_source: str | None,
    names: tuple[str, ...],
    options: tuple[str, ...],
    top: int,
    seconds: float,
    seed: int,
    model_name: str | None,
    also: tuple[str, ...],
    output: str | None,
    strict: bool,
) -> None:
    """Propose structures for spectra, such as "57.8 (T), 18.1 (Q)".

    The lines may also stand as in a paper: "13C NMR (101 MHz, CDCl3) δ 206.9, 30.9". With --also,
    lines of further nuclei in such a text help to decide which candidate is right. Without
    formula and library the most probable formulas are searched, those of the mass if it is given.
    A peak list that cannot be used becomes a row that says why; the others go on. Without -o, rows
    are shown as a table on a terminal, and are JSON lines otherwise.
    """
    from nmrtk.errors import NmrtkError, SpectrumError, UsageError
    from nmrtk.formula import Formula
    from nmrtk.nucleus import DEFAULT_NUCLEUS
    from nmrtk.row_output import RowFormat, output_format
    from nmrtk.substructure import parse_patterns

    if bool(peaks) == (source is not None):
        raise UsageError("give either a peak list or --input with a file of them")
    from nmrtk.candidate_formats import ROW_FORMATS

    others = dict.fromkeys((*_SD_ENDINGS, *_PAGE_ENDINGS), RowFormat(lambda row: ""))
    form = output_format(output, source, {**ROW_FORMATS, **others})
    default_formula = None if formula is None else Formula.parse(formula)
    wanted, unwanted = parse_patterns(contains), parse_patterns(lacks)

    from nmrtk.cli.progress import counting
    from nmrtk.cli.summary import Summary
    from nmrtk.query import Query

    summary = Summary("peak lists", "elucidated")

    def query_of(row: QueryRow, library: Library | None) -> Query | dict[str, Any]:
        try:
            if row.spectrum is None:
                raise SpectrumError(row.error)
            return Query(
                *(row.id, row.spectrum, row.formula or default_formula, library, top, seconds),
                contains=(*wanted, *row.contains),
                lacks=(*unwanted, *row.lacks),
                mass=mass if row.mass is None else row.mass,
                mass_tolerance_ppm=mass_tolerance,
            )
        except NmrtkError as error:
            return _error_row(row, error)

    if peaks and model_name is None and _default_is_usual():
        # What is impossible is told at once, before anything large is loaded.
        early = query_of(_typed_query(peaks, DEFAULT_NUCLEUS), None)
        if isinstance(early, dict):
            with _writing(output, form, None, None) as write:
                write(early, None, None)
            summary.note(early["error"])
            summary.finish(strict=strict)
    generators = _generators(names, options)

    from nmrtk.checkpoint import default_model, load_model
    from nmrtk.elucidation import elucidate as search
    from nmrtk.elucidation import elucidation_row

    loaded = load_model(model_name or default_model())
    nucleus = str(loaded.model.nucleus)
    further = [_further_model(name, nucleus) for name in also]
    queries = [_typed_query(peaks, nucleus)] if source is None else _read(source, nucleus)
    refusals: list[str] = []

    def answer(
        row: QueryRow, library: Library | None
    ) -> tuple[dict[str, Any], Query | None, Elucidation | None]:
        query = query_of(row, library)
        if isinstance(query, dict):
            return query, None, None
        try:
            others = _other_lines(row.text, further)
            result = search(
                loaded, query, generators, seed=seed, require_all=bool(names), others=others
            )
        except NmrtkError as error:
            if isinstance(error, UsageError):
                refusals.append(str(error))
            return _error_row(row, error), None, None
        result = replace(result, notes=(*result.notes, *_lacking(others, further)))
        return elucidation_row(query, result), query, result

    with ExitStack() as stack:
        library = _open_library(library_source, loaded, stack)
        write = stack.enter_context(_writing(output, form, loaded, library))
        progress = stack.enter_context(counting("peak lists"))
        for query_row in queries:
            row, query, result = answer(query_row, library)
            summary.note(row.get("error", ""))
            write(row, query, result)
            progress(summary.count)
    if refusals and len(refusals) == summary.count:
        # Not the peak lists are at fault, but what was asked for.
        raise UsageError(refusals[0])
    summary.finish(strict=strict)


@contextmanager
def _writing(
    output: str | None, form: Any, loaded: LoadedModel | None, library: Library | None
) -> Iterator[Write]:
    """What takes each row with its query and answer."""
    if output is None and sys.stdout.isatty():
        yield lambda row, query, answer: _show(row)
        return
    ending = "" if output is None else Path(output).suffix.lower()
    if ending in _PAGE_ENDINGS:
        from nmrtk.answer_page import AnswerPage

        page = AnswerPage(Path(str(output)))

        def add(row: dict[str, Any], query: Query | None, answer: Elucidation | None) -> None:
            if query is None or answer is None:
                page.add_error(row)
            else:
                page.add(query, answer, _similar(loaded, library, query, answer))

        yield add
        page.save()
        return
    from nmrtk.row_output import RowWriter

    with RowWriter(output, form) as writer:
        if ending in _SD_ENDINGS:
            from nmrtk.candidate_formats import sd_text

            yield lambda row, query, answer: writer.write_text(sd_text(row, query, answer))
        else:
            yield lambda row, query, answer: writer.write(row)


def _similar(
    loaded: LoadedModel | None, library: Library | None, query: Query, answer: Elucidation
) -> list[Any]:
    from nmrtk.similar import similar_structures

    if loaded is None or library is None or not answer.candidates:
        return []
    first = answer.candidates[0].smiles
    return list(similar_structures(library, query.spectrum, loaded.calibration.score, first))


def _generators(names: tuple[str, ...], options: tuple[str, ...]) -> dict[str, CandidateGenerator]:
    from nmrtk.errors import UsageError
    from nmrtk.options import parse_assignments
    from nmrtk.plugins import build, components

    chosen = dict.fromkeys(names or components("candidate_generators"))
    if not chosen:
        raise UsageError("no generator of candidates is installed: `nmrtk plugins` shows what is")
    settings: dict[str, dict[str, Any]] = {name: {} for name in chosen}
    for key, value in parse_assignments(options, "-G").items():
        name, dot, option = key.partition(".")
        if not dot or name not in settings:
            raise UsageError(
                f"-G {key}: write NAME.OPTION=VALUE with one of the generators {', '.join(chosen)}"
            )
        settings[name][option] = value
    return {name: build("candidate_generators", name, settings[name]) for name in chosen}


def _default_is_usual() -> bool:
    """Whether the model that is used by default is for the usual nucleus; looks at names alone."""
    from nmrtk.nucleus import DEFAULT_NUCLEUS
    from nmrtk.plugins import components

    return DEFAULT_NUCLEUS.lower() in components("pretrained_models")


def _typed_query(peaks: tuple[str, ...], nucleus: str) -> QueryRow:
    """The peak list of the command line, where blanks may have cut it into several arguments, and
    texts of other nuclei beside it.
    """
    from nmrtk.acs_reader import nuclei_of
    from nmrtk.nucleus import Nucleus
    from nmrtk.rows import query_row

    also = [text for text in peaks if nuclei_of(text) and nucleus not in nuclei_of(text)]
    # Where nothing is of the nucleus, the error says so.
    parts = [text for text in peaks if text not in also] or list(peaks)
    text = parts[0]
    if len(parts) > 1:
        text = ", ".join(part.strip().rstrip(",;") for part in parts)
    return query_row("peak list", {"peaks": text, "also": also}, Nucleus.parse(nucleus), 1)


def _further_model(name: str, nucleus: str) -> LoadedModel:
    """A model whose lines stand beside those of a nucleus."""
    from nmrtk.checkpoint import load_model
    from nmrtk.errors import UsageError

    loaded = load_model(name)
    if str(loaded.model.nucleus) == nucleus:
        raise UsageError(f"--also {name}: it is for {nucleus} too; name a model of another nucleus")
    return loaded


def _other_lines(text: str, models: Sequence[LoadedModel]) -> list[OtherLines]:
    """Lines of further nuclei that stand in a text."""
    from nmrtk.acs_reader import nuclei_of, parse_acs
    from nmrtk.other_lines import OtherLines

    given = nuclei_of(text)
    return [
        OtherLines(one, parse_acs(text, str(one.model.nucleus)))
        for one in models
        if str(one.model.nucleus) in given
    ]


def _lacking(others: Sequence[OtherLines], models: Sequence[LoadedModel]) -> Iterator[str]:
    """Notes on models that no lines are there for."""
    given = {other.spectrum.nucleus for other in others}
    for nucleus in dict.fromkeys(str(one.model.nucleus) for one in models):
        if nucleus not in given:
            yield f"no {nucleus} lines were given; write them as in a paper: {nucleus} NMR δ ..."


def _read(source: str, nucleus: str) -> Iterable[QueryRow]:
    from nmrtk.nucleus import Nucleus
    from nmrtk.rows import read_queries

    return read_queries(source, Nucleus.parse(nucleus))


def _error_row(row: QueryRow, error: NmrtkError) -> dict[str, Any]:
    return {"id": row.id, "error": f"{row.position}: {error}"}


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
        mae = candidate["mae_ppm"]
        table.add_row(
            str(candidate["rank"]),
            Text(candidate["smiles"]),
            f"{candidate['probability']:.1%}",
            "–" if mae is None else f"{mae:.2f}",
            candidate["source"],
        )
    table.add_row("", "none of these", f"{row['none_of_these']:.1%}", "", "")
    console = Console()
    console.print(table)
    for note in row.get("notes", []):
        console.print(f"Note: {note}", markup=False)
