"""Lines of nmrtk, of baselines and of csp5, on the same molecules and in one run.

    python benchmarks/forward.py MODEL --data c13.h5 --assigned assigned.h5 -o forward.json

nmrtk and csp5 are measured as a user has them: by their commands, on a file. csp5 predicts from
geometries in three dimensions and gets an environment of its own; it is slow, so that it takes a
random part of the molecules, on which the others stand beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from forward_baselines import run_baselines
from forward_runs import CSP5, CSP5_NUCLEUS, Run, Unavailable, limit_cores, run_csp5, run_nmrtk
from rdkit import Chem

from nmrtk.checkpoint import LoadedModel, load_model
from nmrtk.dataset import DataSet
from nmrtk.errors import NmrtkError
from nmrtk.evaluation_data import Plan, read_material
from nmrtk.interfaces import Example
from nmrtk.line_accuracy import ALL, USUAL, LinePredictions, LineRow, evaluate_lines
from nmrtk.molecule import parse_smiles
from nmrtk.nucleus import Nucleus
from nmrtk.recipe import Precision
from nmrtk.spectrum import Peak, Spectrum
from nmrtk.tables import Table, fixed, percent

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "nmrtk"


def main() -> None:
    """Run all predictors, print the tables and write the reports."""
    arguments = _arguments()
    limit_cores(arguments.cores)
    try:
        comparison = compare(arguments)
    except NmrtkError as error:
        raise SystemExit(f"Error: {error}") from error
    text = comparison.to_markdown()
    print(text, end="")
    for path in arguments.output:
        as_json = path.suffix == ".json"
        path.write_text(comparison.to_json() if as_json else text, encoding="utf-8")


@dataclass(slots=True)
class Comparison:
    """All figures of a run.

    Args:
        about: what was compared, ready for JSON.
        cores: on which all ran.
        accuracy: rows of each set of molecules.
        runs: of the predictors.
        notes: what a reader of the figures must know.
    """

    about: dict[str, Any]
    cores: int
    accuracy: dict[str, list[LineRow]] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_markdown(self) -> str:
        """The tables and notes."""
        tables = [accuracy_table(title, rows) for title, rows in self.accuracy.items()]
        tables.append(speed_table(self.runs, self.cores))
        return "\n\n".join([*(table.to_markdown() for table in tables), *self.notes]) + "\n"

    def to_json(self) -> str:
        """All figures."""
        rows = {title: [asdict(row) for row in rows] for title, rows in self.accuracy.items()}
        speed = [speed_row(run) for run in self.runs]
        document = {**self.about, "accuracy": rows, "speed": speed, "notes": self.notes}
        return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def compare(arguments: argparse.Namespace) -> Comparison:
    """Run all predictors, one after the other."""
    loaded = load_model(arguments.model)
    nucleus, path = loaded.model.nucleus, str(loaded.path)
    plan = Plan(
        *(arguments.data, arguments.split, (), arguments.assigned),
        limit=arguments.molecules,
        seed=arguments.seed,
    )
    about = {"model": path, "data": str(plan.data), "split": plan.split, "seed": plan.seed}
    found = Comparison({**about, "cores": arguments.cores}, arguments.cores)
    examples = _examples(loaded, plan)
    smiles = [example.id for example in examples]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        others = _others(loaded, plan, arguments.timed_molecules - len(smiles))
        found.runs += [
            run_nmrtk(path, nucleus, smiles, others, folder, precision)
            for precision in get_args(Precision)
        ]
        names = ["nearest"] if plan.assigned is None else ["nearest", "hose"]
        if plan.assigned is None:
            found.notes.append("hose learns from assigned lines: name a data set with --assigned.")
        found.runs += run_baselines(path, plan, names, smiles)
        found.accuracy[f"{plan.split} split"] = accuracy(nucleus, examples, found.runs)
        if arguments.csp5_molecules and str(nucleus) == CSP5_NUCLEUS:
            order = np.random.default_rng(plan.seed).permutation(len(smiles))
            part = np.sort(order[: arguments.csp5_molecules]).tolist()
            try:
                csp5 = run_csp5(arguments.cache, [smiles[i] for i in part], arguments.cores, folder)
            except Unavailable as error:
                found.notes.append(f"{error}. Its figures are missing.")
            else:
                _stand_beside(found, nucleus, [examples[i] for i in part], part, csp5)
        # In turns: the speed of a machine changes from minute to minute.
        for _ in range(arguments.rounds - 1):
            for run in found.runs:
                run.repeat()
    _compare_rates(found)
    return found


def _stand_beside(
    found: Comparison, nucleus: Nucleus, examples: Sequence[Example], part: Sequence[int], csp5: Run
) -> None:
    """Add csp5, and the others on its part of the molecules."""
    others = [replace(run, spectra=[run.spectra[i] for i in part]) for run in found.runs]
    title = f"{len(part)} molecules of it at random, for {CSP5}"
    found.accuracy[title] = accuracy(nucleus, examples, [*others, csp5])
    found.notes.append("The model of csp5 probably learned from these molecules, nmrtk's did not.")
    found.runs.append(csp5)


def _compare_rates(found: Comparison) -> None:
    """Note how much faster the commands of nmrtk are than csp5."""
    ours = found.runs[: len(get_args(Precision))]
    found.notes += [
        f"{run.name}: {run.rate / csp5.rate:.0f} times as many molecules a second as csp5."
        for csp5 in found.runs
        if csp5.name == "csp5"
        for run in ours
    ]


def accuracy(nucleus: Nucleus, examples: Sequence[Example], runs: Sequence[Run]) -> list[LineRow]:
    """Errors on the molecules that every predictor answers; usual molecules, then all."""
    answered = [i for i in range(len(examples)) if all(run.spectra[i] for run in runs)]
    predictions = [
        LinePredictions(run.name, [s for i in answered if (s := run.spectra[i])]) for run in runs
    ]
    section = evaluate_lines(nucleus, [examples[i] for i in answered], predictions)
    rows = [] if section is None else section.rows
    return [row for row in rows if row.group in (USUAL, ALL)]


def accuracy_table(title: str, rows: Sequence[LineRow]) -> Table:
    """Errors in ppm."""
    columns = ["predictor", "of", "molecules", "lines", "MAE", "MAE over molecule", "median"]
    cells = [
        [row.name, row.group, str(row.molecules), str(row.score.lines)]
        + [fixed(v, 2) for v in (row.score.mae, row.mae_over_molecule, row.score.median)]
        + [percent(row.score.within_1), percent(row.score.within_2)]
        for row in rows
    ]
    return Table(
        f"Accuracy, {title}: errors in ppm",
        [*columns, "≤ 1 ppm", "≤ 2 ppm"],
        cells,
        (
            "Complete spectra of the molecules that every predictor answers; lines sorted within "
            "multiplicity, or over the molecule.",
        ),
    )


def speed_row(run: Run) -> dict[str, Any]:
    """Figures of a run, and how many of the molecules got no spectrum."""
    return {
        "name": run.name,
        "timed": run.timed,
        "seconds": run.usage.seconds,
        "start_seconds": run.start_seconds,
        "molecules_per_second": run.rate,
        "peak_mib": run.usage.peak_mib,
        "unanswered": sum(spectrum is None for spectrum in run.spectra),
    }


def speed_table(runs: Sequence[Run], cores: int) -> Table:
    """Time and memory."""
    columns = ["predictor", "molecules", "without answer", "seconds", "start-up / s"]
    rows = []
    for run in runs:
        row = speed_row(run)
        counts = [str(run.timed), str(row["unanswered"])]
        times = [fixed(run.usage.seconds, 1), fixed(run.start_seconds, 2)]
        rate = f"{run.rate:,.0f}" if run.rate >= 100 else f"{run.rate:.1f}"
        rows.append([run.name, *counts, *times, rate, f"{run.usage.peak_mib:,.0f}"])
    return Table(
        f"Speed on {cores} cores",
        [*columns, "molecules / s", "memory / MiB"],
        rows,
        (
            "Start-up: one molecule from a cold start; for baselines, reading the data and "
            "fitting. Molecules a second: the rest of the time, parsing included. Times are "
            "medians of all rounds. "
            "Memory: the peak of all processes together. Baselines run on one core. csp5 is timed "
            "on the molecules that it answers.",
        ),
    )


def _examples(loaded: LoadedModel, plan: Plan) -> list[Example]:
    """Molecules as their SMILES give them, which is their id: all predictors start from it."""
    examples = {}
    for example in read_material(loaded, plan, learns_lines=False).chosen:
        text = Chem.MolToSmiles(example.molecule)
        peaks = tuple(Peak(p.ppm, multiplicity=p.multiplicity) for p in example.spectrum.peaks)
        count = example.spectrum.atom_count
        spectrum = Spectrum(example.spectrum.nucleus, peaks, count)
        examples[text] = Example(text, parse_smiles(text), spectrum)
    return list(examples.values())


def _others(loaded: LoadedModel, plan: Plan, count: int) -> list[str]:
    """SMILES of so many molecules of train at random, for the time alone.

    They have complete spectra, as those of the split do: others are larger on average.
    """
    with DataSet(plan.data) as data:
        train = data.examples(loaded.recipe.split, "train", complete_only=True)
    order = np.random.default_rng(plan.seed).permutation(len(train))[: max(count, 0)]
    return [Chem.MolToSmiles(train[index].molecule) for index in order]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="folder of a training, model file, or installed model")
    parser.add_argument("--data", type=Path, required=True, help="data set")
    parser.add_argument("--assigned", type=Path, help="data set with assigned lines, for hose")
    parser.add_argument("--split", default="test")
    parser.add_argument("--molecules", type=int, default=0, help="at random; 0 for all")
    parser.add_argument("--csp5-molecules", type=int, default=200, help="at random; 0 for none")
    parser.add_argument("--timed-molecules", type=int, default=10_000, help="for nmrtk's speed")
    parser.add_argument("--rounds", type=int, default=3, help="in which commands are timed")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--cache", type=Path, default=CACHE, help="for the environment of csp5")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, action="append", default=[], help=".json, .md")
    arguments = parser.parse_args()
    for path in arguments.output:
        if path.suffix not in (".json", ".md") or not path.parent.is_dir():
            parser.error(
                f"{path}: a report ends in .json or .md and goes into a folder that exists"
            )
    return arguments


if __name__ == "__main__":
    main()
