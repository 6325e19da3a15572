"""Make the shipped model from the measured data: import, train, join, export, evaluate.

Every step whose result is there is left out, and a training that was stopped goes on, so that the
command may be given again after an interruption.

    python plugins/nmrtk-model-13c/build_model.py --data ../shared/data --work build/13c
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from nmrtk.checkpoint import MODEL_FILE, export_model, load_tensors
from nmrtk.run_folder import STATE_FILE

PACKAGE = Path(__file__).parent / "nmrtk_model_13c"
RECIPES = Path(__file__).parents[2] / "examples" / "recipes"

SEEDS = (1, 2)
"""Of the members, which train side by side, one thread each."""


def main() -> None:
    """Run every step that is left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the measured data")
    parser.add_argument("--work", type=Path, required=True, help="folder for what is in between")
    choices = parser.parse_args()
    work: Path = choices.work
    work.mkdir(parents=True, exist_ok=True)

    peaks, assigned = work / "c13.h5", work / "assigned.h5"
    _import(choices.data / "nmrshiftdb2.jsonl.gz", peaks)
    _import(choices.data / "nmrshiftdb2-assigned.sdf.gz", assigned)

    started = [work / f"start-{seed}" for seed in SEEDS]
    finished = [work / f"finish-{seed}" for seed in SEEDS]
    _run(
        *[
            _training(run, peaks, "13c-start.toml", seed)
            for run, seed in zip(started, SEEDS, strict=True)
        ]
    )
    _run(
        *[
            _training(run, peaks, "13c-finish.toml", seed, start)
            for run, seed, start in zip(finished, SEEDS, started, strict=True)
        ]
    )
    joined = work / "joined"
    _run(_training(joined, peaks, "13c.toml", 0, *finished))
    export_model(str(joined), PACKAGE / MODEL_FILE)

    report = work / "report.json"
    words = ["evaluate", "--model", "13c", "--data", str(peaks), "--assigned", str(assigned)]
    _run([*words, "--baseline", "hose", "--baseline", "nearest", "-o", str(report)])
    print(f"The figures for {PACKAGE / 'CARD.md'} are in {report} and above")


def _import(source: Path, output: Path) -> None:
    if not output.exists():
        _run(["data", "import", str(source), "-o", str(output)])


def _training(run: Path, data: Path, recipe: str, seed: int, *starts: Path) -> list[str]:
    """The words of a command that makes or finishes a training; none if it is finished."""
    model = run / MODEL_FILE
    if model.exists() and load_tensors(model)[1]["training"]["finished"]:
        return []
    if (run / STATE_FILE).exists():
        return ["train", "--resume", str(run), "--threads", "1"]
    words = ["train", "--data", str(data), "--recipe", str(RECIPES / recipe), "-o", str(run)]
    for start in starts:
        words += ["--start", str(start)]
    return [*words, "--seed", str(seed), "--threads", "1"]


def _run(*commands: list[str]) -> None:
    """Run commands side by side."""
    running = []
    for words in filter(None, commands):
        print("nmrtk", *words, flush=True)
        running.append(subprocess.Popen([sys.executable, "-m", "nmrtk", *words]))
    codes = [process.wait() for process in running]
    if any(codes):
        raise SystemExit("a step failed or was stopped: give the command again to go on")


if __name__ == "__main__":
    main()
