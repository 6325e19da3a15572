"""Make the shipped model from the measured data: import, train, distil, evaluate.

Every step whose result is there is left out, and a training that was stopped goes on, so that the
command may be given again after an interruption.

    python plugins/nmrtk-model-13c/build_model.py --data ../shared/data --work build/13c
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from nmrtk.checkpoint import MODEL_FILE, export_model, load_model, load_tensors, recalibrate
from nmrtk.run_folder import STATE_FILE

PACKAGE = Path(__file__).parent / "nmrtk_model_13c"
ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "examples" / "recipes"

ROUNDS = 5
"""Of the first recipe, each from where the one before ended, at the full learning rate again."""

FREE_WEIGHT, STRUCTURE_WEIGHT = 0.025, 0.5
"""Of the density of the free part and of counts of environments beside the lines;
docs/experiments.md, entry 19."""

TEMPERATURE, NONE_PER_LINE, NONE_LOG_ODDS = 1.9, -2.76, -2.54
"""What divides scores, and the weight of what a library lacks, fitted to that of val;
docs/experiments.md, entries 23 and 24."""

NONE_MADE_UP, NONE_MADE_UP_PER_LINE, NONE_RECURRENCE = -10.91, 1.64, 1.14
"""How much searches miss, fitted to those of val; docs/experiments.md, entry 25."""


def main() -> None:
    """Run every step that is left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the measured data")
    parser.add_argument("--work", type=Path, required=True, help="folder for what is in between")
    choices = parser.parse_args()
    work: Path = choices.work
    work.mkdir(parents=True, exist_ok=True)

    table = choices.data / "nmrshiftdb2.jsonl.gz"
    peaks, assigned, structures = work / "c13.h5", work / "assigned.h5", work / "train.smi"
    _import(table, peaks)
    _import(choices.data / "nmrshiftdb2-assigned.sdf.gz", assigned)
    write_structures(table, structures)

    model: Path | None = None
    for number in range(1, ROUNDS + 1):
        model = _train(work / f"start-{number}", peaks, "13c-start.toml", number, model)
    model = _train(work / "finish", peaks, "13c-finish.toml", 1, model)
    model = _train(work / "joined", peaks, "13c.toml", 1, model)
    export_model(str(model), PACKAGE / MODEL_FILE)
    set_score(PACKAGE / MODEL_FILE)

    shipped = str(PACKAGE)
    _run("-m", "nmrtk_refine", "distill", "--model", shipped, "--structures", str(structures))
    _run(
        *(str(ROOT / "benchmarks" / "elucidate.py"), shipped, "--data", str(peaks)),
        *("-o", str(work / "searched"), "--split", "val", "--settings", "a"),
        *("--molecules", "20"),
    )
    report = work / "report.json"
    _run(
        *("-m", "nmrtk", "evaluate", "--model", shipped, "--data", str(peaks)),
        *("--assigned", str(assigned), "--baseline", "hose", "--baseline", "nearest"),
        *("--baseline", "linear", "--baseline", "mean", "-o", str(report)),
    )
    print(f"The figures for {PACKAGE / 'CARD.md'} are in {report} and above")


def set_score(path: Path) -> None:
    """Store the numbers of the score that were fitted to searches."""
    calibration = load_model(path).calibration
    score = replace(
        calibration.score,
        free_weight=FREE_WEIGHT,
        structure_weight=STRUCTURE_WEIGHT,
        temperature=TEMPERATURE,
        none_per_line=NONE_PER_LINE,
        none_log_odds=NONE_LOG_ODDS,
        none_made_up=NONE_MADE_UP,
        none_made_up_per_line=NONE_MADE_UP_PER_LINE,
        none_recurrence=NONE_RECURRENCE,
    )
    recalibrate(path, replace(calibration, score=score))


def write_structures(table: Path, output: Path) -> None:
    """Write all training structures of a table, those without a 13C spectrum too, as SMILES."""
    with (
        gzip.open(table, "rt", encoding="utf-8") as rows,
        output.open("w", encoding="utf-8") as out,
    ):
        for row in map(json.loads, rows):
            if row["split"] == "train":
                print(row["smiles"], row["id"], sep="\t", file=out)


def _import(source: Path, output: Path) -> None:
    if not output.exists():
        _run("-m", "nmrtk", "data", "import", str(source), "-o", str(output))


def _train(run: Path, data: Path, recipe: str, seed: int, start: Path | None) -> Path:
    """Make or finish a training; returns its folder."""
    model = run / MODEL_FILE
    if (run / STATE_FILE).exists():
        if not (model.exists() and load_tensors(model)[1]["training"]["finished"]):
            _run("-m", "nmrtk", "train", "--resume", str(run))
        return run
    words = ["train", "--data", str(data), "--recipe", str(RECIPES / recipe), "-o", str(run)]
    if start is not None:
        words += ["--start", str(start)]
    _run("-m", "nmrtk", *words, "--seed", str(seed))
    return run


def _run(*words: str) -> None:
    print("python", *words, flush=True)
    if subprocess.run([sys.executable, *words], check=False).returncode:
        raise SystemExit("a step failed or was stopped: give the command again to go on")


if __name__ == "__main__":
    main()
