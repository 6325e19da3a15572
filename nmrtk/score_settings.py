"""What the score of a candidate is made of: numbers that were fitted on val."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ScoreSettings:
    """Numbers of the score of a candidate, and of the probabilities that follow from it.

    All costs are in nats: how much the log-likelihood of the lines falls. The defaults were fitted
    on the validation molecules of the measured 13C data; a checkpoint holds its own.

    Args:
        scale_factor: Laplace scale of a line in ppm per unit of its predicted scale.
        outlier_share: share of the lines that lie far from where they are predicted.
        outlier_scale_ppm: Laplace scale of those.
        letter_cost: a line and its site differ in attached hydrogens.
        overlap_cost: two sites that are not equivalent have one line.
        split_cost: two sites that symmetry seems to make equivalent have two lines.
        missing_cost: a site has no line.
        missing_bare_cost: a site without hydrogen, whose lines are weak, has no line.
        extra_cost: a line belongs to no site.
        solvent_cost: a line where the solvent has one belongs to no site.
        code_weight: of the log-likelihood of the code beside that of the lines.
        free_weight: of the log-density of the free part beside it.
        structure_weight: of the log-probability of the structure, where a generator tells it.
        temperature: divides scores before candidates are compared.
        none_per_line: score of what was not found, for each distinct line.
        none_log_odds: added to that, for each query.
        none_made_up: added to that where structures were made up: a search seldom misses a small
            compound.
        none_made_up_per_line: added to `none_per_line` there: it often misses a large one.
        none_recurrence: how that weight grows where few attempts of a search come upon the first
            candidate, with the negative logarithm of their share.
        none_per_candidate: how the weight of what was not found grows with the logarithm of the
            number of candidates.
    """

    scale_factor: float = 1.02
    outlier_share: float = 0.023
    outlier_scale_ppm: float = 4.6
    letter_cost: float = 6.0
    overlap_cost: float = 2.0
    split_cost: float = 1.5
    missing_cost: float = 8.0
    missing_bare_cost: float = 5.0
    extra_cost: float = 10.0
    solvent_cost: float = 4.0
    code_weight: float = 0.0
    free_weight: float = 0.0
    structure_weight: float = 0.0
    temperature: float = 2.1
    none_per_line: float = -2.27
    none_log_odds: float = -1.63
    none_made_up: float = 0.0
    none_made_up_per_line: float = 0.0
    none_recurrence: float = 0.0
    none_per_candidate: float = 0.25
