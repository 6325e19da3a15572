"""What a comparison found, to read: figures side by side, differences, cost, and notes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nmrtk.comparison.figures import FIGURES, Figure
from nmrtk.comparison.paired import paired_difference
from nmrtk.comparison.plan import ComparisonPlan, differing_choices
from nmrtk.comparison.results import Results, common_places
from nmrtk.comparison.runs import Run
from nmrtk.scoring import FloatArray
from nmrtk.tables import Table, fixed, scientific

_DIGITS = 3
"""Decimals of figures."""

_TRUSTED_SEEDS = 3
"""With fewer, the spread over seeds is hardly known."""


@dataclass(frozen=True, slots=True)
class ComparisonReport:
    """Tables, and what a reader of them must know."""

    tables: list[Table]
    notes: list[str]

    def to_markdown(self) -> str:
        """The whole as a page."""
        parts = [table.to_markdown() for table in self.tables]
        parts.append("\n".join(["### Notes", "", *(f"- {note}" for note in self.notes)]))
        return "\n\n".join(parts) + "\n"


def make_report(
    plan: ComparisonPlan, results: Sequence[Results], failures: Mapping[Run, str]
) -> ComparisonReport:
    """Put results side by side.

    Args:
        plan: what was compared.
        results: of the finished trainings.
        failures: why others are missing.
    """
    tables = [_figures(plan, results), *_differences(results), _cost(results)]
    return ComparisonReport(tables, list(_notes(plan, results, failures)))


# --- tables


def _figures(plan: ComparisonPlan, results: Sequence[Results]) -> Table:
    common = common_places(results)
    rows = []
    for result in results:
        one = result.measurements[0]
        cells = [result.name, str(len(result.seeds)), str(one.in_split - len(one.places))]
        for figure in FIGURES:
            sums = result.sums(figure, common, result.seeds)
            cells.append("–" if sums is None else _spread(sums.values(), _DIGITS))
        cells.append(scientific(max(one.round_trip for one in result.measurements)))
        rows.append(cells)
    labels = [figure.label for figure in FIGURES]
    return Table(
        f"Recipes on {len(common)} molecules of {plan.split} that all can represent",
        ["recipe", "seeds", "cannot handle", *labels, "round trip"],
        rows,
        (
            "Mean ± standard deviation over seeds; the largest error of a round trip. Models and "
            "thresholds were chosen on val.",
            *(f"{figure.label}: {figure.meaning}." for figure in FIGURES),
        ),
    )


def _differences(results: Sequence[Results]) -> Iterator[Table]:
    first = results[0]
    for figure in FIGURES:
        if figure.lower_is_better is None:
            continue
        rows = [row for other in results[1:] if (row := _difference(figure, first, other))]
        if rows:
            columns = ["recipe", "molecules", "difference", "95 % interval", "verdict"]
            yield Table(f"{figure.label}: difference from {first.name}", columns, rows)


def _difference(figure: Figure, first: Results, other: Results) -> list[str] | None:
    """Of two recipes, on the seeds and molecules that both have; None where there is nothing."""
    seeds = [seed for seed in first.seeds if seed in other.seeds]
    if not seeds:
        return None
    places = common_places([first, other])
    if figure.own_bins and not _same_bins(first, other, places):
        return [other.name, str(len(places)), "other bins", "–", "–"]
    ours, theirs = (one.sums(figure, places, seeds) for one in (first, other))
    if ours is None or theirs is None:
        return None
    gap = paired_difference(ours, theirs)
    if gap.is_clear:
        verdict = "better" if (gap.mean < 0) == figure.lower_is_better else "worse"
    elif gap.spread is not None and abs(gap.mean) <= gap.spread:
        verdict = "within the spread of seeds"
    else:
        verdict = "undecided"
    mean, low, high = (f"{value:+.{_DIGITS}f}" for value in (gap.mean, gap.low, gap.high))
    return [other.name, str(len(places)), mean, f"{low} to {high}", verdict]


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
        seconds = np.array([cost.seconds for cost in result.costs])
        cpu_seconds = np.array([cost.cpu_seconds for cost in result.costs])
        rows.append(
            [
                result.name,
                str(result.contender.parameters),
                _numbers(header["training"]["train_molecules"] for header in result.headers),
                _spread(seconds, 1),
                _spread(cpu_seconds, 1),
                _spread(speed, 0),
                fixed(max(memory), 0) if memory else "–",
            ]
        )
    columns = ["recipe", "parameters", "molecules", "training/s", "processor/s"]
    return Table(
        "Cost",
        [*columns, "predicted/s", "peak memory/MiB"],
        rows,
        (
            "Parameters of the whole model; molecules that it learned from; time of all epochs, "
            "without preparation and validation, and the same in time of the processor; "
            "molecules predicted in a second, from SMILES.",
        ),
    )


def _spread(values: FloatArray, digits: int) -> str:
    if len(values) < 2:
        return fixed(float(values.mean()), digits)
    return f"{fixed(float(values.mean()), digits)} ± {fixed(float(values.std(ddof=1)), digits)}"


def _numbers(values: Iterator[int]) -> str:
    low, *rest = sorted(set(values))
    return f"{low} to {rest[-1]}" if rest else str(low)


# --- notes


def _notes(
    plan: ComparisonPlan, results: Sequence[Results], failures: Mapping[Run, str]
) -> Iterator[str]:
    first = plan.contenders[0]
    for other in plan.contenders[1:]:
        changes = [
            f"{name} {_choice(ours)} → {_choice(theirs)}"
            for name, (ours, theirs) in differing_choices(first, other).items()
        ]
        yield f"{other.name} beside {first.name}: {', '.join(changes) or 'the same choices'}."
    for (name, seed), reason in failures.items():
        yield f"{name}, seed {seed} failed: {reason}"
    if results[0].name != first.name:
        yield f"No training of {first.name} is finished: differences are from {results[0].name}."
    for result in results:
        one = result.measurements[0]
        if one.first_left_out:
            yield (
                f"{result.name} cannot handle {one.in_split - len(one.places)} of {one.in_split} "
                f"molecules of {plan.split}, the first: {one.first_left_out.rstrip('.')}."
            )
    yield from _cautions(plan, results)
    yield from _provenance(results)


def _cautions(plan: ComparisonPlan, results: Sequence[Results]) -> Iterator[str]:
    if plan.split == "val":
        yield (
            "On val, which also chose each model's epoch and its thresholds: figures are better "
            "than on new molecules."
        )
    else:
        yield (
            "On test: whoever now chooses a recipe by these figures has used up test for it. To "
            "choose, compare on val."
        )
    fewest = min(len(result.seeds) for result in results)
    if fewest == 1:
        yield (
            "With one seed the spread over seeds is unknown: no difference can be called clear, "
            "and intervals are those of the molecules alone."
        )
    elif fewest < _TRUSTED_SEEDS:
        yield (
            f"With {fewest} seeds the spread over seeds is hardly known, and intervals are wide: "
            f"{_TRUSTED_SEEDS} or more tell more."
        )
    learned = {
        result.name: header["training"]["train_molecules"]
        for result in results
        for header in result.headers
    }
    if len(set(learned.values())) > 1:
        texts = ", ".join(f"{name} {count}" for name, count in learned.items())
        yield f"The recipes learned from different numbers of molecules: {texts}."


def _provenance(results: Sequence[Results]) -> Iterator[str]:
    """Versions and devices; several of one kind make trainings differ for another reason."""
    made_with = [header["versions"] for result in results for header in result.headers]
    costs = [cost for result in results for cost in result.costs]
    programs = dict.fromkeys(
        f"{name} {one[name]}" for name in ("nmrtk", "torch") for one in made_with
    )
    plugins = dict.fromkeys(owner for one in made_with for owner in one["parts"].values())
    versions = [*programs, *plugins]
    yield f"Trained with {', '.join(versions)}."
    if len({version.rpartition(" ")[0] for version in versions}) < len(versions):
        yield "Not all with the same versions: a difference may come from there."
    devices = dict.fromkeys(f"{cost.device}, threads: {cost.threads}" for cost in costs)
    yield f"Device: {'; '.join(devices)}."
    if len(devices) > 1:
        yield "Not all on the same device with the same threads: times cannot be compared."


def _choice(value: Any) -> str:
    return "unsaid" if value is None else str(value)
