from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nmrtk.interfaces import AtomLines
from nmrtk.matching import LineGroups, line_groups, matched_shifts
from nmrtk.molecule import parse_smiles
from nmrtk.nucleus import Nucleus
from nmrtk.spectrum import Peak, Spectrum

CARBON = Nucleus.parse("13C")


def groups(smiles: str, *peaks: tuple[float, str], atoms: int | None = None) -> LineGroups:
    spectrum = Spectrum("13C", tuple(Peak(p, multiplicity=m) for p, m in peaks), atoms)
    return line_groups(parse_smiles(smiles), spectrum, CARBON)


def values(found: LineGroups) -> tuple[list[int], list[int], list[float]]:
    shifts = [round(ppm, 3) for ppm in found.shifts.tolist()]
    return found.site_groups.tolist(), found.line_groups.tolist(), shifts


def matched(
    predicted: list[float], sites: list[int], lines: list[int], observed: list[float]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scales are the numbers of the sites, from 1: they say which site was chosen."""
    scale = torch.arange(1.0, len(predicted) + 1)
    return matched_shifts(
        AtomLines(torch.tensor(predicted), scale, torch.zeros(len(predicted), dtype=torch.int64)),
        torch.tensor(sites, dtype=torch.int64),
        torch.tensor(lines, dtype=torch.int64),
        torch.tensor(observed),
    )


# --- groups


def test_lines_are_grouped_by_multiplicity_where_letters_agree():
    found = groups("CCO", (18.1, "Q"), (57.8, "T"))
    assert values(found) == ([0, 1], [0, 1], [18.1, 57.8])
    assert found.complete


def test_lines_of_a_group_are_ascending_whatever_the_order_of_sites():
    found = groups("OCC(C)C", (19.0, "Q"), (69.5, "T"), (30.8, "D"), (18.9, "Q"))
    # Sites CH2, CH, CH3, CH3: letters in the order of the alphabet are D, Q, T.
    assert values(found) == ([2, 0, 1, 1], [0, 1, 1, 2], [30.8, 18.9, 19.0, 69.5])


@pytest.mark.parametrize("letters", [("Q", ""), ("", ""), ("Q", "Q"), ("T", "D")])
def test_lines_are_one_group_where_letters_disagree(letters):
    found = groups("CCO", (57.8, letters[0]), (18.1, letters[1]))
    assert values(found) == ([0, 0], [0, 0], [18.1, 57.8])
    assert found.complete


def test_a_spectrum_that_lacks_lines_keeps_the_groups_of_its_letters():
    found = groups("OCC(C)C", (69.5, "T"), (18.9, "Q"))
    assert values(found) == ([2, 0, 1, 1], [1, 2], [18.9, 69.5])
    assert not found.complete


@pytest.mark.parametrize("letters", [("S", "Q"), ("T", "T"), ("", "Q")])
def test_letters_that_disagree_join_all_sites_where_lines_lack(letters):
    found = groups("OCC(C)C", (69.5, letters[0]), (18.9, letters[1]))
    assert values(found) == ([0] * 4, [0, 0], [18.9, 69.5])
    assert not found.complete


def test_more_lines_than_sites_are_not_compared():
    found = groups("CO", (50.0, "Q"), (51.0, "Q"))
    assert values(found) == ([0], [], [])
    assert not found.complete


def test_as_many_lines_as_sites_are_not_compared_where_two_are_of_one_atom():
    found = groups("CCO", (18.0, "Q"), (18.2, "Q"), atoms=1)
    assert values(found)[1:] == ([], [])
    assert not found.complete


def test_a_spectrum_without_lines_is_not_complete():
    assert values(groups("CCO")) == ([0, 1], [], [])
    assert not groups("CCO").complete


def test_letters_mean_nothing_for_other_nuclei():
    spectrum = Spectrum("15N", (Peak(-340.0, multiplicity="T"), Peak(-100.0)))
    found = line_groups(parse_smiles("NCCC#N"), spectrum, Nucleus.parse("15N"))
    assert values(found) == ([0, 0], [0, 0], [-340.0, -100.0])
    assert found.complete


# --- matching

# Eighths of a ppm: equal ones occur, and sums are exact.
shift = st.integers(-400, 2000).map(lambda eighths: eighths / 8)


@st.composite
def groups_of_lines(draw: st.DrawFn, *, complete: bool):
    """Sites (group, ppm) in any order, and for each group some observed lines."""
    sites, lines = [], []
    for group in range(draw(st.integers(1, 5))):
        size = draw(st.integers(0, 5))
        count = size if complete else draw(st.integers(0, size))
        sites += [(group, draw(shift)) for _ in range(size)]
        lines += [(group, ppm) for ppm in sorted(draw(shift) for _ in range(count))]
    return draw(st.permutations(sites)), lines


def apart(pairs: list[tuple[int, float]]) -> tuple[list[int], list[float]]:
    return [group for group, _ in pairs], [ppm for _, ppm in pairs]


@given(groups_of_lines(complete=False))
def test_no_other_assignment_has_less_error(drawn):
    sites, lines = drawn
    (site_groups, predicted), (groups_of, observed) = apart(sites), apart(lines)
    found, scale = matched(predicted, site_groups, groups_of, observed)
    chosen = [int(number) - 1 for number in scale.tolist()]
    assert len(set(chosen)) == len(chosen) == len(lines)  # no site has two lines
    assert [site_groups[site] for site in chosen] == groups_of
    assert found.tolist() == [predicted[site] for site in chosen]
    for group in set(groups_of):
        mine = [ppm for other, ppm in lines if other == group]
        candidates = [ppm for other, ppm in sites if other == group]
        best = min(
            sum(abs(a - b) for a, b in zip(mine, order, strict=True))
            for order in permutations(candidates, len(mine))
        )
        error = sum(
            abs(predicted[site] - ppm)
            for site, (other, ppm) in zip(chosen, lines, strict=True)
            if other == group
        )
        assert error == best


@given(groups_of_lines(complete=True))
def test_complete_spectra_are_sorted_within_groups(drawn):
    sites, lines = drawn
    (site_groups, predicted), (groups_of, observed) = apart(sites), apart(lines)
    found, _ = matched(predicted, site_groups, groups_of, observed)
    assert found.tolist() == [ppm for _, ppm in sorted(sites)]


def test_missing_lines_are_those_that_fit_worst():
    found, scale = matched([10.0, 60.0, 30.0, 33.0], [0, 0, 0, 0], [0, 0], [31.0, 58.0])
    assert found.tolist() == [30.0, 60.0]
    assert scale.tolist() == [3.0, 2.0]


def test_the_nearest_site_is_not_always_the_best():
    # 20 is nearest to both lines; one of them has to take another site.
    found, _ = matched([20.0, 40.0, 90.0], [0, 0, 0], [0, 0], [19.0, 22.0])
    assert found.tolist() == [20.0, 40.0]


def test_molecules_with_and_without_missing_lines_stand_side_by_side():
    found, scale = matched(
        [60.0, 10.0, 50.0, 33.0, 190.0, 29.0, 5.0],
        [0, 0, 1, 2, 3, 2, 4],
        [0, 0, 2, 3],
        [18.0, 58.0, 30.0, 200.0],
    )
    assert found.tolist() == [10.0, 60.0, 29.0, 190.0]
    assert scale.tolist() == [2.0, 1.0, 6.0, 5.0]


def test_equal_predictions_are_used_once_each():
    found, scale = matched([30.0] * 4, [0] * 4, [0] * 3, [29.0, 30.0, 31.0])
    assert found.tolist() == [30.0] * 3
    assert len(set(scale.tolist())) == 3


def test_nothing_is_matched_with_nothing():
    assert matched([], [], [], [])[0].shape == (0,)
    assert matched([1.0, 2.0], [0, 1], [], [])[0].shape == (0,)


def test_large_molecules_are_matched():
    generator = np.random.default_rng(0)
    predicted = generator.uniform(0, 200, 300)
    kept = np.sort(predicted)[::2]
    found, _ = matched(predicted.tolist(), [0] * 300, [0] * 150, (kept + 0.001).tolist())
    assert found.numpy() == pytest.approx(kept, abs=0.01)


def test_gradients_reach_the_sites_that_have_a_line():
    predicted = torch.tensor([10.0, 60.0, 30.0], requires_grad=True)
    lines = AtomLines(predicted, torch.ones(3), torch.zeros(3, dtype=torch.int64))
    one = torch.zeros(1, dtype=torch.int64)
    found, _ = matched_shifts(lines, torch.zeros(3, dtype=torch.int64), one, torch.tensor([31.0]))
    found.sum().backward()
    assert predicted.grad.tolist() == [0.0, 0.0, 1.0]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e9])
def test_a_diverged_network_does_not_break_the_matching(bad):
    # Training then says that the loss is not finite.
    found, _ = matched([bad, 60.0, bad, 30.0], [0, 0, 1, 1], [0, 1], [58.0, 31.0])
    assert found.shape == (2,)
