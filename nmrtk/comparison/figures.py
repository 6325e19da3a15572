"""The figures by which recipes are compared."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure that is a ratio of sums over molecules.

    Args:
        name: in rows.
        label: in tables.
        lower_is_better: None where neither is.
        meaning: a sentence.
        own_bins: whether it counts a recipe's own bins, so that only recipes with the same bins
            can be compared.
    """

    name: str
    label: str
    lower_is_better: bool | None
    meaning: str
    own_bins: bool = False


FIGURES = (
    Figure(
        "mae_ppm",
        "MAE/ppm",
        True,
        "of the lines of the atoms, sorted within multiplicities",
    ),
    Figure(
        "mae_over_molecule_ppm",
        "MAE over molecule/ppm",
        True,
        "of the lines of the atoms, all of a molecule sorted together",
    ),
    Figure(
        "decoded_mae_ppm",
        "MAE of the code/ppm",
        True,
        "of the lines that the code is decoded to, all of a molecule sorted together",
    ),
    Figure(
        "code_f1",
        "F1 of the code",
        False,
        "micro-F1 of the recipe's own bins at the threshold that val gave",
        own_bins=True,
    ),
    Figure(
        "decoded_f1",
        "F1 of the decoded code",
        False,
        "micro-F1 of the lines that the code is decoded to, in common bins",
    ),
    Figure(
        "lines_f1",
        "F1 of the lines",
        False,
        "micro-F1 of the lines of the atoms, in common bins",
    ),
    Figure(
        "coverage_80",
        "in 80 %",
        None,
        "share of the lines of the atoms within 1.28 sigma",
    ),
)
