"""Fit temperature and "none of these" of a trained model on the val molecules of a data set, among
random isomers, and store them in its file.

    python benchmarks/fit_score.py build/13c/joined/model.safetensors build/13c/c13.h5
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from nmrtk.batch import prepare_examples
from nmrtk.calibration import calibrate
from nmrtk.candidates import line_posterior
from nmrtk.checkpoint import load_model, recalibrate
from nmrtk.dataset import DataSet
from nmrtk.reliability import measure_reliability
from nmrtk.score_fit import fit_posterior, isomer_sets
from nmrtk.tables import Table


def main() -> None:
    """Fit, show, store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="model file, which is changed")
    parser.add_argument("data", type=Path, help="data set")
    parser.add_argument("--lines", action="store_true", help="fit the errors of lines first")
    parser.add_argument("--dry-run", action="store_true", help="change nothing")
    choices = parser.parse_args()
    loaded = load_model(choices.model)
    with DataSet(choices.data) as data:
        examples = data.examples(loaded.recipe.split, "val")
    settings = loaded.calibration.score
    if choices.lines:
        prepared, _ = prepare_examples(loaded.model, examples)
        errors = calibrate(loaded.model, prepared).score
        settings = replace(
            settings,
            scale_factor=errors.scale_factor,
            outlier_share=errors.outlier_share,
            outlier_scale_ppm=errors.outlier_scale_ppm,
        )
    sets = isomer_sets(loaded, examples, settings)
    fitted = fit_posterior(sets, settings)
    stated, right = [], []
    for one in sets:
        row = line_posterior(one.scores[None], one.coverage, fitted)[0, :-1]
        stated.append(float(row.max()))
        right.append(int(row.argmax()) == one.answer)
    found = measure_reliability(stated, np.array(right))
    note = f"{found.note} {fitted}"
    columns = ["first candidate", "queries", "stated", "right"]
    print(Table("Among random isomers", columns, found.rows(), (note,)).to_markdown())
    if not choices.dry_run:
        recalibrate(choices.model, replace(loaded.calibration, score=fitted))


if __name__ == "__main__":
    main()
