"""What more data would bring: the error of a recipe trained on parts of the training molecules.

    python benchmarks/learning_curve.py --data c13.h5 --recipe recipe.toml -o curve/

Runs the commands `nmrtk train` and `evaluate` for every share. An interrupted run goes on where it
stopped when the command is given again: trainings are resumed, reports that exist are kept.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

from nmrtk.dataset import DataSet
from nmrtk.line_accuracy import ALL, USUAL
from nmrtk.recipe import Recipe, make_recipe, read_recipe
from nmrtk.run_folder import STATE_FILE
from nmrtk.tables import Table, fixed

SHARES = (0.1, 0.3, 1.0)
SPLITS = ("val", "test")

Report = dict[str, Any]


def training_size(recipe: Recipe, data: Path) -> int:
    """How many molecules the recipe learns from without a limit."""
    complete = recipe.training.incomplete == "skip"
    with DataSet(data) as opened:
        return len(opened.examples(recipe.split, "train", complete_only=complete))


def run_share(
    arguments: argparse.Namespace, recipe: Recipe, size: int, share: float
) -> list[Report]:
    """Train on a share of the molecules and evaluate, unless that is done already.

    With less data the recipe gets more epochs, by the square root of the share: with as many
    epochs it would be stopped too early, with as many steps it would learn the few by heart.
    """
    run = arguments.output / f"{100 * share:g}-percent"
    done = run / "done"
    epochs = math.ceil((arguments.epochs or recipe.training.epochs) / math.sqrt(share))
    if not done.exists():
        if (run / STATE_FILE).exists():
            nmrtk("train", "--resume", run, "--threads", arguments.threads)
        else:
            limit = 0 if share == 1 else max(1, round(share * size))
            nmrtk("train", "--data", arguments.data, "--recipe", arguments.recipe, "-o", run,
                  "--threads", arguments.threads, "--epochs", epochs,
                  "--set", f"training.limit={limit}", "--set", f"training.patience={epochs}",
                  "--seed", arguments.seed)  # fmt: skip
        done.touch()
    reports = []
    for split in SPLITS:
        report = run.with_name(f"{run.name}-{split}.json")
        if not report.exists():
            assigned = ["--assigned", arguments.assigned] if arguments.assigned else []
            nmrtk("evaluate", "--model", run, "--data", arguments.data, "--split", split,
                  "--draws", 2, *assigned, "-o", report)  # fmt: skip
        reports.append(json.loads(report.read_text(encoding="utf-8")))
    return reports


def nmrtk(*arguments: object) -> None:
    """Run a command; its progress goes to stderr."""
    command = [sys.executable, "-m", "nmrtk", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed; run this benchmark again to go on")


def summarize(size: int, reports: dict[float, list[Report]]) -> Table:
    """A row a share."""
    columns = ["molecules", "epochs"]
    for split in SPLITS:
        columns += [f"{split}, usual", f"{split}, all", f"{split}, true atoms"]
    rows = []
    for share, of_splits in reports.items():
        row = [str(round(share * size)), str(of_splits[0]["model"]["training"]["epochs"])]
        for report in of_splits:
            row += [fixed(line_mae(report, group), 3) for group in (USUAL, ALL)]
            row.append(fixed(atom_mae(report), 3))
        rows.append(row)
    return Table(
        "Mean absolute error of the lines in ppm, by the number of training molecules",
        columns,
        rows,
        (
            "Complete spectra, lines sorted within multiplicity. Fewer molecules get more epochs: "
            "as many as the whole, divided by the square root of their share.",
        ),
    )


def line_mae(report: Report, group: str) -> float | None:
    """Error of the model on a group of molecules; None where there are none."""
    rows = [] if report["lines"] is None else report["lines"]["rows"]
    found = [r["score"]["mae"] for r in rows if (r["name"], r["group"]) == ("model", group)]
    return found[0] if found else None


def atom_mae(report: Report) -> float | None:
    """Error of the model at the true atoms; None where no line is assigned."""
    rows = [] if report["lines"] is None else report["lines"]["atoms"]
    found = [row["score"]["mae"] for row in rows if row["name"] == "model"]
    return found[0] if found else None


def main() -> None:
    """Run all shares, the smallest first, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--recipe", type=Path, required=True)
    parser.add_argument("--assigned", type=Path, help="data set with assigned lines")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES)
    parser.add_argument("--epochs", type=int, help="for all data; by default the recipe's")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if not all(0 < share <= 1 for share in arguments.shares):
        parser.error("a share lies above 0 and is at most 1")
    recipe = make_recipe(read_recipe(arguments.recipe), f"recipe {arguments.recipe}")
    size = training_size(recipe, arguments.data)
    arguments.output.mkdir(parents=True, exist_ok=True)
    reports: dict[float, list[Report]] = {}
    for share in sorted(arguments.shares):
        reports[share] = run_share(arguments, recipe, size, share)
        table = summarize(size, reports).to_markdown()
        (arguments.output / "curve.md").write_text(table + "\n", encoding="utf-8")
    print(table)


if __name__ == "__main__":
    main()
