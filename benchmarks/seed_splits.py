"""The seed system on random 80/20 splits of its hydrocarbons, beside the figures of its paper.

    python benchmarks/seed_splits.py HYDROCARBONS.csv.gz -o seed/ [--splits 10] [--draws 100]

Runs the commands `nmrtk data import`, `train` and `evaluate` for every split; a split whose report
exists is not run again, so that an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nmrtk import seed_paper
from nmrtk.tables import Table

RECIPE = Path(__file__).parent.parent / "examples" / "recipes" / "seed.toml"

Figure = Callable[[dict[str, Any]], float | None]


def code_figure(name: str, field: str, at: str = "at_half") -> Figure:
    """A score of a row of the table of codes."""

    def read(report: dict[str, Any]) -> float | None:
        row = next(row for row in report["code"]["rows"] if row["name"] == name)
        value: float | None = None if row[at] is None else row[at][field]
        return value

    return read


def field_figure(*path: str) -> Figure:
    """A figure by its place in the report; None if a section of the path is missing."""

    def read(report: dict[str, Any]) -> float | None:
        value: Any = report
        for key in path:
            value = None if value is None else value[key]
        figure: float | None = value
        return figure

    return read


ROWS: list[tuple[str, Figure, str]] = [
    ("macro-F1", code_figure("model", "macro_f1"), seed_paper.MACRO_F1),
    ("macro-F1, bins seen", code_figure("model", "macro_f1_seen"), ""),
    ("macro-F1, tuned threshold", code_figure("model", "macro_f1", "tuned"), ""),
    ("micro-F1", code_figure("model", "micro_f1"), ""),
    ("micro-F1, tuned threshold", code_figure("model", "micro_f1", "tuned"), ""),
    ("macro-F1 of chance", code_figure("chance", "macro_f1"), seed_paper.CHANCE_MACRO_F1),
    ("macro-F1 of bin frequency", code_figure("bin-frequency", "macro_f1"), ""),
    (
        "inversion error, largest",
        field_figure("reversibility", "features", "largest"),
        seed_paper.INVERSION_ERROR,
    ),
    ("error of the other order, largest", field_figure("reversibility", "outputs", "largest"), ""),
    ("free part, mean", field_figure("free", "sample_mean", "mean"), seed_paper.FREE_MEAN),
    ("free part, std", field_figure("free", "sample_std", "mean"), seed_paper.FREE_STD),
    (
        "conditional variation",
        field_figure("generation", "variation", "mean"),
        seed_paper.CONDITIONAL_VARIATION,
    ),
    (
        "correlation, bonds",
        field_figure("generation", "bonds", "bonds"),
        seed_paper.BONDS_CORRELATION,
    ),
    (
        "correlation, aromatic bonds",
        field_figure("generation", "bonds", "aromatic"),
        seed_paper.AROMATIC_CORRELATION,
    ),
    ("valid molecules among draws", field_figure("generation", "molecules", "valid"), ""),
    ("exact in all draws", field_figure("generation", "molecules", "exact"), ""),
    ("best Tanimoto of draws", field_figure("generation", "molecules", "best_tanimoto"), ""),
    (
        "exact with the true free part",
        field_figure("generation", "molecules", "exact_with_true_free"),
        "",
    ),
    ("truth first of its split", field_figure("retrieval", "by_likelihood", "top_1"), ""),
]


def run_split(data: Path, output: Path, split: int, draws: int) -> dict[str, Any]:
    """Train and evaluate on one random split, unless its report is there already."""
    run, report = output / f"split-{split}", output / f"split-{split}.json"
    if not report.exists():
        nmrtk("train", "--data", data, "--recipe", RECIPE, "-o", run, "--accelerator", "cpu",
              "--set", f"split.seed={split}", "--set", f"training.seed={split}")  # fmt: skip
        nmrtk("evaluate", "--model", run, "--data", data, "--split", "val",
              "--draws", draws, "-o", report)  # fmt: skip
    figures: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return figures


def nmrtk(*arguments: object) -> None:
    """Run a command, quietly unless it fails."""
    command = [sys.executable, "-m", "nmrtk", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")


def summarize(reports: list[dict[str, Any]]) -> Table:
    """Mean and range of every figure over the splits."""
    rows = []
    for label, figure, paper in ROWS:
        values = [value for report in reports if (value := figure(report)) is not None]
        if values:
            spread = [statistics.mean(values), min(values), max(values)]
            rows.append([label, *(f"{value:.4g}" for value in spread), paper])
    return Table(
        f"The seed system, {len(reports)} random 80/20 splits, on the fifth that did not train",
        ["figure", "mean", "least", "greatest", "paper"],
        rows,
        [f"Paper: {seed_paper.CITATION}."],
    )


def main() -> None:
    """Run all splits and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("hydrocarbons", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--draws", type=int, default=100)
    arguments = parser.parse_args()
    data = arguments.output / "hydrocarbons.h5"
    if not data.exists():
        nmrtk("data", "import", arguments.hydrocarbons, "-o", data)
    reports = []
    for split in range(arguments.splits):
        reports.append(run_split(data, arguments.output, split, arguments.draws))
        print(f"split {split} done", file=sys.stderr)
    print(summarize(reports).to_markdown())


if __name__ == "__main__":
    main()
