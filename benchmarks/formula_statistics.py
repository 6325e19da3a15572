"""Make the statistics that candidate formulas are weighted with, from the train split.

python benchmarks/formula_statistics.py build/13c/c13.h5
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import nmrtk
from nmrtk.dataset import DataSet
from nmrtk.formula import Formula
from nmrtk.formula_checks import unsaturation
from nmrtk.formula_search import (
    CARBON_EDGES,
    ELEMENTS,
    LEAST_UNSATURATION,
    LINE_EDGES,
    STATISTICS,
    UNSATURATED_PPM,
    group_of,
)
from nmrtk.splits import SplitRule

OUTPUT = Path(nmrtk.__file__).parent / "data" / STATISTICS
MOST_EXCESS, MOST_ATOMS, MOST_UNSATURATION = 20, 12, 20


def main() -> None:
    """Count, and write the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="data set of 13C spectra")
    with DataSet(parser.parse_args().data) as data:
        examples = data.examples(SplitRule(), "train")
    groups = len(CARBON_EDGES) + 1
    carbons = [[0] * (MOST_EXCESS + 1) for _ in range(len(LINE_EDGES) + 1)]
    elements = {symbol: [[0] * (MOST_ATOMS + 1) for _ in range(groups)] for symbol in ELEMENTS}
    rings = [[0] * (MOST_UNSATURATION - LEAST_UNSATURATION + 1) for _ in range(groups)]
    used = 0
    for example in examples:
        formula = Formula.of_molecule(example.molecule)
        excess = unsaturation(formula)
        known = {"C", "H", *ELEMENTS}
        if formula.charge or excess is None or excess % 1 or {s for s, _ in formula.counts} - known:
            continue
        used += 1
        shifts = set(example.spectrum.shifts)
        group = group_of(formula["C"], CARBON_EDGES)
        lines = carbons[group_of(len(shifts), LINE_EDGES)]
        lines[min(max(formula["C"] - len(shifts), 0), MOST_EXCESS)] += 1
        for symbol in ELEMENTS:
            elements[symbol][group][min(formula[symbol], MOST_ATOMS)] += 1
        shown = sum(ppm > UNSATURATED_PPM for ppm in shifts) // 2
        place = int(excess) - shown - LEAST_UNSATURATION
        rings[group][min(max(place, 0), len(rings[group]) - 1)] += 1
    source = f"{used} neutral molecules of the train split of nmrshiftdb2's complete 13C spectra"
    document = {
        "source": source, "carbons": carbons, "elements": elements, "unsaturation": rings,
    }  # fmt: skip
    OUTPUT.write_text(json.dumps(document, separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{OUTPUT}: {source}")


if __name__ == "__main__":
    main()
