"""The demo: the whole way on the compounds that ship with nmrtk, ending in a page to look at."""

from __future__ import annotations

import csv
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from rdkit import Chem

import nmrtk
from nmrtk.atomic import write_bytes
from nmrtk.checkpoint import LoadedModel, load_model
from nmrtk.dataset import DataSet
from nmrtk.drawing import curve_svg, mirror_svg, structure_svg
from nmrtk.elucidation import Elucidation, Query, elucidate
from nmrtk.errors import UsageError
from nmrtk.importing import import_files
from nmrtk.interfaces import Example
from nmrtk.library import Library, build_library, read_library_structures
from nmrtk.molecule import canonical_smiles, parse_smiles
from nmrtk.nucleus import DEFAULT_NUCLEUS, Nucleus
from nmrtk.plugins import build
from nmrtk.prediction import predicted_spectra
from nmrtk.recipe import DEFAULT_BACKBONE, DEFAULT_ENCODER, make_recipe
from nmrtk.spectrum import Spectrum
from nmrtk.training import Listener, Outcome, start_training

TABLE = "everyday_13c.csv"
PAGE = "demo.html"
RUN = "run"
DEFAULT_GENERATOR = "library"
SHOWN_FORWARD, SHOWN_BACKWARD = 8, 6

RECIPE: dict[str, Any] = {
    "encoder": {"name": DEFAULT_ENCODER, "hidden_dim": 64, "layers": 4, "descriptor_dim": 64},
    "backbone": {"name": DEFAULT_BACKBONE, "depth": 4, "hidden_dim": 128},
    "training": {"epochs": 60, "batch_size": 16, "patience": 60},
}
"""Small enough for a minute or two on two cores."""


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo found.

    Args:
        page: the report.
        mae: mean absolute error in ppm of the lines of unseen compounds.
        mean_mae: the same for the mean of all training lines.
        first: unseen compounds that were first among the candidates.
        queries: unseen compounds that were looked up.
        seconds: in all.
    """

    page: Path
    mae: float
    mean_mae: float
    first: int
    queries: int
    seconds: float


def run_demo(
    output: Path, listener: Listener, say: Callable[[str], None], epochs: int | None = None
) -> DemoResult:
    """Import, train, predict, elucidate and report.

    Args:
        output: folder for the results; those of an earlier demo are replaced.
        listener: told of the training.
        say: told what happens next.
        epochs: instead of the recipe's.

    Raises:
        UsageError: a plugin that the demo needs is missing.
        DataError: the folder cannot be written.
    """
    started = time.monotonic()
    data, library_file, run = output / "everyday.h5", output / "library.h5", output / RUN
    nucleus = Nucleus.parse(DEFAULT_NUCLEUS)
    with resources.as_file(resources.files("nmrtk") / "data" / TABLE) as table:
        say(f"Importing {table.name}: measured 13C lines of everyday compounds")
        report = import_files([table], data, nucleus)
        names = _names(table)
    say("Training the reversible network")
    outcome = _train(data, run, listener, epochs)
    loaded = load_model(str(run))
    with DataSet(data) as opened:
        train = opened.examples(loaded.recipe.split, "train")
        unseen = opened.examples(loaded.recipe.split, "test")
    say(f"Forward: predicting {len(unseen)} compounds that it has not seen")
    predicted = _predict(loaded, unseen)
    say(f"Backward: looking up their spectra among {report.kept} structures")
    build_library(loaded, read_library_structures(str(data)), library_file)
    with Library(library_file, loaded) as library:
        answers = [_look_up(loaded, example, library) for example in unseen]
    mean = float(np.mean([ppm for example in train for ppm in example.spectrum.shifts]))
    errors = [_mae(e.spectrum.shifts, p.shifts) for e, p in zip(unseen, predicted, strict=True)]
    ranks = [_is_first(e, a) for e, a in zip(unseen, answers, strict=True)]
    result = DemoResult(
        output / PAGE,
        _mean_by_line(unseen, errors),
        float(np.mean([abs(ppm - mean) for e in unseen for ppm in e.spectrum.shifts])),
        sum(ranks),
        len(ranks),
        time.monotonic() - started,
    )
    page = _render(result, loaded, outcome, names, unseen, predicted, answers, errors, report.kept)
    write_bytes(result.page, page.encode())
    return result


def _train(data: Path, run: Path, listener: Listener, epochs: int | None) -> Outcome:
    tables = dict(RECIPE)
    if epochs is not None:
        tables["training"] = {**RECIPE["training"], "epochs": epochs}
    fabric = Fabric(accelerator="cpu", devices=1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so small a network is faster on one
    # Into a new folder first: an earlier demo is replaced only by a finished one.
    with tempfile.TemporaryDirectory(dir=data.parent) as folder:
        new = Path(folder) / RUN
        try:
            outcome = start_training(make_recipe(tables, "demo"), data, new, fabric, listener)
        finally:
            torch.set_num_threads(threads)
        if outcome.interrupted:
            raise UsageError("the demo was interrupted: start it again, it takes a few minutes")
        if run.exists():
            shutil.rmtree(run)
        new.replace(run)
    return outcome


@torch.no_grad()
def _predict(loaded: LoadedModel, examples: list[Example]) -> list[Spectrum]:
    molecules = [example.molecule for example in examples]
    return predicted_spectra(loaded, loaded.model.predict(molecules), molecules)


def _look_up(loaded: LoadedModel, example: Example, library: Library) -> Elucidation:
    query = Query(example.id, example.spectrum, library=library, top=SHOWN_BACKWARD)
    return elucidate(
        loaded, query, {DEFAULT_GENERATOR: build("candidate_generators", DEFAULT_GENERATOR)}
    )


def _is_first(example: Example, answer: Elucidation) -> bool:
    return bool(answer.candidates) and _same(example, answer.candidates[0].smiles)


def _same(example: Example, smiles: str) -> bool:
    return canonical_smiles(parse_smiles(smiles)) == canonical_smiles(example.molecule)


def _mae(observed: list[float], predicted: list[float]) -> float:
    return float(np.abs(np.array(observed) - np.array(predicted)).mean())


def _mean_by_line(examples: list[Example], errors: list[float]) -> float:
    return float(np.average(errors, weights=[len(e.spectrum.peaks) for e in examples]))


def _names(table: Path) -> dict[str, str]:
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {canonical_smiles(parse_smiles(row["smiles"])): row["name"] for row in rows}


def _render(
    result: DemoResult,
    loaded: LoadedModel,
    outcome: Outcome,
    names: dict[str, str],
    unseen: list[Example],
    predicted: list[Spectrum],
    answers: list[Elucidation],
    errors: list[float],
    table_size: int,
) -> str:
    history = outcome.progress.history
    largest = sorted(range(len(unseen)), key=lambda i: -len(unseen[i].spectrum.peaks))
    # Of the more complex half, in the order of the table: chosen by size, not by success.
    shown = sorted(largest[: max(len(largest) // 2, SHOWN_FORWARD)])[:SHOWN_FORWARD]
    text: str = _template().render(
        version=nmrtk.__version__,
        summary=(
            f"{table_size} everyday compounds, one reversible network, both directions. "
            f"Of {result.queries} compounds it had never seen, {result.first} came first among "
            f"{table_size} structures by their 13C lines alone."
        ),
        training_text=(
            f"{loaded.training['train_molecules']} compounds to learn from, "
            f"{loaded.training['val_molecules']} to select the best epoch by "
            f"({outcome.progress.best_epoch} of {outcome.progress.epoch}), {len(unseen)} unseen."
        ),
        loss_curve=curve_svg(
            history, {"train_code": "training", "val_code": "validation"}, "loss of the code"
        ),
        error_curve=curve_svg(history, {"val_mae_ppm": "validation"}, "mean error / ppm"),
        mae=result.mae,
        mean_mae=result.mean_mae,
        compounds=[
            {
                "name": _name(unseen[i], names),
                "smiles": canonical_smiles(unseen[i].molecule, stereo=True),
                "mae": errors[i],
                "structure": structure_svg(
                    unseen[i].molecule,
                    {atom: peak.ppm for peak in predicted[i].peaks for atom in peak.atoms},
                ),
                "spectrum": mirror_svg(unseen[i].spectrum, predicted[i]),
            }
            for i in shown
        ],
        queries=[_query(unseen[i], answers[i], names) for i in shown[:SHOWN_BACKWARD]],
        library_size=table_size,
        table_size=table_size,
        total_seconds=result.seconds,
    )
    return text


def _query(example: Example, answer: Elucidation, names: dict[str, str]) -> dict[str, Any]:
    return {
        "name": _name(example, names),
        "lines": ", ".join(f"{ppm:.1f}" for ppm in reversed(example.spectrum.shifts)),
        "seconds": f"{answer.seconds:.1f}",
        "none_of_these": answer.none_of_these,
        "candidates": [
            {
                "rank": rank,
                "right": _same(example, candidate.smiles),
                "probability": candidate.probability,
                "mae_ppm": candidate.mae_ppm,
                "structure": structure_svg(parse_smiles(candidate.smiles), width=160, height=120),
            }
            for rank, candidate in enumerate(answer.candidates[:SHOWN_BACKWARD], start=1)
        ],
    }


def _name(example: Example, names: dict[str, str]) -> str:
    key = canonical_smiles(example.molecule)
    return names.get(key, Chem.MolToSmiles(example.molecule))


def _template() -> Any:
    try:
        import jinja2
    except ImportError as error:
        raise UsageError("the report needs jinja2: pip install nmrtk[report]") from error
    text = (resources.files("nmrtk") / "templates" / "demo.html").read_text(encoding="utf-8")
    return jinja2.Environment(autoescape=True).from_string(text)
