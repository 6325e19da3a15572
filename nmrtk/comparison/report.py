"""What a comparison found: figures side by side, differences, cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from typing import Any

import numpy as np

from nmrtk.comparison.figures import FIGURES, Figure
from nmrtk.comparison.measurement import Measurement
from nmrtk.comparison.paired import Sums, paired_difference
from nmrtk.comparison.plan import ComparisonPlan
from nmrtk.comparison.worker import TrainingCost, measurement_file
from nmrtk.errors import UsageError
from nmrtk.scoring import FloatArray
from nmrtk.tables import Table, fixed


@dataclass(frozen=True, slots=True)
class Results:
    """Of the finished trainings of one recipe.

    Args:
        name: the recipe's.
        seeds: S, those that are finished.
        measurements: of each.
        costs: of each.
    """

    name: str
    seeds: list[int]
    measurements: list[Measurement]
    costs: list[TrainingCost]

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


def read_results(plan: ComparisonPlan) -> list[Results]:
    """Of every recipe with a finished training.

    Raises:
        UsageError: there is none.
        CheckpointError: a file is damaged.
    """
    found = []
    for contender in plan.contenders:
        runs = [(seed, plan.run_folder(contender, seed)) for seed in range(plan.seeds)]
        done = [(s, run) for s, run in runs if measurement_file(run, plan.split).is_file()]
        if done:
            found.append(
                Results(
                    contender.name,
                    [seed for seed, _ in done],
                    [Measurement.load(measurement_file(run, plan.split)) for _, run in done],
                    [TrainingCost.load(run) for _, run in done],
                )
            )
    if not found:
        raise UsageError(f"no training of {plan.folder} is finished")
    return found


def tables(plan: ComparisonPlan, results: Sequence[Results]) -> list[Table]:
    """Figures on the common molecules, differences from the first recipe, and cost."""
    common = _common([one for result in results for one in result.measurements])
    return [_figures(plan, results, common), *_differences(results), _cost(results)]


def rows(plan: ComparisonPlan, results: Sequence[Results]) -> list[dict[str, Any]]:
    """A row a training, ready for JSON: figures on the common molecules, and cost."""
    common = _common([one for result in results for one in result.measurements])
    found = []
    for result in results:
        runs = zip(result.seeds, result.measurements, result.costs, strict=True)
        for seed, one, cost in runs:
            row: dict[str, Any] = {"recipe": result.name, "seed": seed, "split": plan.split}
            row |= {"in_split": one.in_split, "handled": len(one.places), "common": len(common)}
            for figure in FIGURES:
                sums = result.sums(figure, common, [seed])
                value = None if sums is None else float(sums.values()[0])
                row[figure.name] = value if value is None or np.isfinite(value) else None
            row |= {"round_trip": one.round_trip, "free_std": one.free_std}
            row |= {"molecules_per_second": one.molecules_per_second, **asdict(cost)}
            found.append(row)
    return found


def _common(measurements: Sequence[Measurement]) -> list[int]:
    places: list[int] = reduce(np.intersect1d, [one.places for one in measurements]).tolist()
    if not places:
        raise UsageError("there is no molecule that all recipes can represent")
    return places


def _figures(plan: ComparisonPlan, results: Sequence[Results], common: list[int]) -> Table:
    rows = []
    for result in results:
        one = result.measurements[0]
        cells = [result.name, str(len(result.seeds)), str(one.in_split - len(one.places))]
        for figure in FIGURES:
            sums = result.sums(figure, common, result.seeds)
            cells.append("–" if sums is None else _spread(sums.values(), figure.digits))
        rows.append(cells)
    return Table(
        f"Recipes on {len(common)} molecules of {plan.split} that all can represent",
        ["recipe", "seeds", "cannot handle", *(figure.label for figure in FIGURES)],
        rows,
        (
            "Mean ± standard deviation over seeds. Models and thresholds were chosen on val.",
            *(f"{figure.label}: {figure.meaning}." for figure in FIGURES),
        ),
    )


def _differences(results: Sequence[Results]) -> list[Table]:
    first, found = results[0], []
    for figure in FIGURES:
        rows = []
        for other in results[1:]:
            seeds = [seed for seed in first.seeds if seed in other.seeds]
            if figure.lower_is_better is None or not seeds:
                continue
            places = _common([*first.measurements, *other.measurements])
            if figure.needs == "bins" and not _same_bins(first, other, places):
                rows.append([other.name, str(len(places)), "other bins", "–", "–"])
                continue
            pair = [one.sums(figure, places, seeds) for one in (first, other)]
            if pair[0] is None or pair[1] is None:
                continue
            gap = paired_difference(pair[0], pair[1])
            if gap.is_clear:
                verdict = "better" if (gap.mean < 0) == figure.lower_is_better else "worse"
            elif gap.spread is not None and abs(gap.mean) <= gap.spread:
                verdict = "within the spread of seeds"
            else:
                verdict = "undecided"
            interval = f"{gap.low:+.{figure.digits}f} to {gap.high:+.{figure.digits}f}"
            mean = f"{gap.mean:+.{figure.digits}f}"
            rows.append([other.name, str(len(places)), mean, interval, verdict])
        if rows:
            columns = ["recipe", "molecules", "difference", "95 % interval", "verdict"]
            found.append(Table(f"{figure.label}: difference from {first.name}", columns, rows))
    return found


def _same_bins(one: Results, other: Results, places: list[int]) -> bool:
    ours, theirs = (
        m.bins[np.isin(m.places, places)] for m in (one.measurements[0], other.measurements[0])
    )
    return bool(np.array_equal(ours, theirs))


def _cost(results: Sequence[Results]) -> Table:
    rows = []
    for result in results:
        memory = [cost.peak_memory_mib for cost in result.costs if cost.peak_memory_mib is not None]
        speed = np.array([one.molecules_per_second for one in result.measurements])
        times = ([getattr(c, name) for c in result.costs] for name in ("seconds", "cpu_seconds"))
        cells = [*(_spread(np.array(some), 1) for some in times), _spread(speed, 0)]
        rows.append([result.name, *cells, fixed(max(memory), 0) if memory else "–"])
    columns = ["recipe", "training/s", "processor/s", "molecules/s", "peak memory/MiB"]
    return Table("Cost", columns, rows)


def _spread(values: FloatArray, digits: int) -> str:
    if len(values) < 2:
        return fixed(float(values.mean()), digits)
    return f"{fixed(float(values.mean()), digits)} ± {fixed(float(values.std(ddof=1)), digits)}"
