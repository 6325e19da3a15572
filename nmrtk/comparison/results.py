"""What the finished trainings of a comparison found, read from its folder."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

from nmrtk.atomic import write_bytes
from nmrtk.checkpoint import MODEL_FILE, load_tensors
from nmrtk.comparison.figures import FIGURES, Figure
from nmrtk.comparison.measurement import Measurement
from nmrtk.comparison.paired import Sums
from nmrtk.comparison.plan import ComparisonPlan, Contender
from nmrtk.comparison.runs import Run
from nmrtk.comparison.worker import TrainingCost, measurement_file
from nmrtk.errors import CheckpointError, UsageError


@dataclass(frozen=True, slots=True)
class Results:
    """Of the finished trainings of one recipe.

    Args:
        contender: the recipe.
        seeds: S, those that are finished.
        measurements: of each.
        costs: of each.
        headers: of each, what the model file says of itself.
    """

    contender: Contender
    seeds: list[int]
    measurements: list[Measurement]
    costs: list[TrainingCost]
    headers: list[dict[str, Any]]

    @property
    def name(self) -> str:
        """The recipe's."""
        return self.contender.name

    def sums(self, figure: Figure, places: Sequence[int], seeds: Sequence[int]) -> Sums | None:
        """A figure on some molecules and seeds; None where the recipe does not have it."""
        above, below = [], []
        for seed, one in zip(self.seeds, self.measurements, strict=True):
            if seed not in seeds:
                continue
            if figure.name not in one.parts:
                return None
            chosen = np.isin(one.places, places)
            above.append(one.parts[figure.name][0][chosen])
            below.append(one.parts[figure.name][1][chosen])
        return Sums(np.stack(above), np.stack(below))


def read_results(plan: ComparisonPlan, failures: Collection[Run]) -> list[Results]:
    """Of every recipe with a finished training.

    Args:
        plan: what was trained and measured.
        failures: all but these.

    Raises:
        UsageError: there is no molecule that all can represent.
        CheckpointError: no training is finished, or a file is damaged.
    """
    found = []
    for contender in plan.contenders:
        done = {
            seed: plan.run_folder(contender, seed)
            for seed in range(plan.seeds)
            if (contender.name, seed) not in failures
        }
        if done:
            found.append(
                Results(
                    contender,
                    list(done),
                    [Measurement.load(measurement_file(run, plan.split)) for run in done.values()],
                    [TrainingCost.load(run) for run in done.values()],
                    [load_tensors(run / MODEL_FILE)[1] for run in done.values()],
                )
            )
    if not found:
        raise CheckpointError(f"no training of {plan.folder} is finished")
    common_places(found)
    return found


def common_places(results: Sequence[Results]) -> list[int]:
    """The molecules, by place in the split, that all of some recipes can represent.

    Raises:
        UsageError: there is none.
    """
    measured = [one.places for result in results for one in result.measurements]
    places: list[int] = reduce(np.intersect1d, measured).tolist()
    if not places:
        raise UsageError("there is no molecule that all recipes can represent")
    return places


def result_rows(plan: ComparisonPlan, results: Sequence[Results]) -> list[dict[str, Any]]:
    """A row a training: figures on the molecules that all can represent, and cost."""
    common = common_places(results)
    found = []
    for result in results:
        runs = zip(result.seeds, result.measurements, result.costs, result.headers, strict=True)
        for seed, one, cost, header in runs:
            row: dict[str, Any] = {"recipe": result.name, "seed": seed, "split": plan.split}
            row |= {"in_split": one.in_split, "handled": len(one.places), "common": len(common)}
            for figure in FIGURES:
                sums = result.sums(figure, common, [seed])
                value = None if sums is None else float(sums.values()[0])
                row[figure.name] = value if value is None or np.isfinite(value) else None
            row |= {"round_trip": one.round_trip}
            row |= {"free_mean": one.free_mean, "free_std": one.free_std}
            row |= {"parameters": result.contender.parameters}
            row |= {"train_molecules": header["training"]["train_molecules"]}
            row |= {"best_epoch": header["training"]["best_epoch"]}
            row |= {"molecules_per_second": one.molecules_per_second, **asdict(cost)}
            found.append(row)
    return found


def write_rows(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write rows as CSV; what a training does not have stays empty.

    Raises:
        DataError: the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(path, text.getvalue().encode())
