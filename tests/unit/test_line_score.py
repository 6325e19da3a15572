import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nmrtk.interfaces import AtomLines
from nmrtk.line_score import UNKNOWN, LineScore, hydrogen_counts
from nmrtk.molecule import parse_smiles
from nmrtk.nucleus import Nucleus
from nmrtk.score_settings import ScoreSettings
from nmrtk.spectrum import Peak, Spectrum, spectrum_of_shifts

SETTINGS = ScoreSettings()


def score(spectrum, *candidates, settings=SETTINGS):
    """Scores of candidates, each a list of shift and hydrogens."""
    rows = [(s, h, i) for i, sites in enumerate(candidates) for s, h in sites]
    shift, hydrogens, owner = (np.array(column) for column in zip(*rows, strict=True))
    lines = AtomLines(torch.tensor(shift), torch.ones(len(shift)), torch.tensor(owner))
    return LineScore(spectrum, settings).score(lines, hydrogens)


def spectrum(*peaks, solvent=""):
    return Spectrum("13C", tuple(Peak(p, multiplicity=m) for p, m in peaks), solvent=solvent)


def density(gap):
    s = SETTINGS
    near = (1 - s.outlier_share) * math.exp(-gap / s.scale_factor) / (2 * s.scale_factor)
    wide = s.outlier_scale_ppm
    return math.log(near + s.outlier_share * math.exp(-gap / wide) / (2 * wide))


def test_two_lines_in_order():
    (value,) = score(spectrum_of_shifts("13C", [10, 20]), [(21.0, 3), (9.5, 3)])
    assert value == pytest.approx(density(0.5) + density(1.0))


def test_one_bad_line_does_not_rule_out():
    near, far, farther = (
        score(spectrum_of_shifts("13C", [10, 20]), [(10.0, 3), (20.0 + gap, 3)])[0]
        for gap in (0, 20, 40)
    )
    assert near - far < 10
    assert far - farther == pytest.approx(20 / SETTINGS.outlier_scale_ppm, abs=1e-3)


def test_letters_are_matched_class_by_class_and_contradictions_cost():
    lines = spectrum((30.0, "Q"), (31.0, "T"))
    same = score(lines, [(31.0, 3), (30.0, 2)])[0]
    assert same == pytest.approx(2 * density(1.0))
    other = score(lines, [(31.0, 2), (30.0, 2)])[0]
    assert other == pytest.approx(2 * density(0.0) - SETTINGS.letter_cost)


def test_some_letters_are_used_too():
    lines = spectrum((30.0, "Q"), (31.0, ""))
    assert score(lines, [(31.0, 2), (30.0, 3)])[0] == pytest.approx(2 * density(0))
    assert score(lines, [(31.0, 3), (30.0, 2)])[0] == pytest.approx(2 * density(1))


def test_equivalent_sites_may_be_listed_once_or_repeated():
    benzyl = [(128.0, 1), (128.0, 1), (140.0, 0)]
    once = score(spectrum_of_shifts("13C", [128.0, 140.0]), benzyl)[0]
    repeated = score(spectrum_of_shifts("13C", [128.0, 128.0, 140.0]), benzyl)[0]
    assert once == pytest.approx(repeated) == pytest.approx(2 * density(0))


def test_accidental_overlaps_and_splits_cost():
    s = SETTINGS
    lines = spectrum_of_shifts("13C", [128.0, 128.0])
    assert score(lines, [(128.0, 1), (128.5, 1)])[0] == pytest.approx(
        density(0) + density(0.5) - s.overlap_cost
    )
    lines = spectrum_of_shifts("13C", [128.0, 128.5])
    assert score(lines, [(128.0, 1), (128.0, 1)])[0] == pytest.approx(
        density(0) + density(0.5) - s.split_cost
    )
    once = spectrum_of_shifts("13C", [128.0])
    assert score(once, [(128.0, 1), (128.5, 1)])[0] == pytest.approx(
        density(0) + density(0.5) - s.overlap_cost
    )


def test_a_missing_quaternary_line_costs_less_than_another():
    lines = spectrum_of_shifts("13C", [20.0, 120.0])
    bare, other = score(lines, [(20, 3), (120, 1), (170, 0)], [(20, 3), (120, 1), (170, 1)])
    assert bare == pytest.approx(2 * density(0) - SETTINGS.missing_bare_cost)
    assert other == pytest.approx(2 * density(0) - SETTINGS.missing_cost)


def test_an_extra_line_costs_and_a_solvent_line_costs_less():
    sites = [(20.0, 3), (120.0, 1)]
    extra = score(spectrum_of_shifts("13C", [20.0, 60.0, 120.0]), sites)[0]
    assert extra == pytest.approx(2 * density(0) - SETTINGS.extra_cost)
    solvent = score(spectrum_of_shifts("13C", [20.0, 77.1, 120.0]), sites)[0]
    assert solvent == pytest.approx(2 * density(0) - SETTINGS.solvent_cost)
    named = score(spectrum((20, ""), (77.1, ""), (120, ""), solvent="DMSO-d6"), sites)[0]
    assert named == pytest.approx(2 * density(0) - SETTINGS.extra_cost)


def test_a_solvent_line_beside_equivalent_carbons_listed_once():
    lines = spectrum_of_shifts("13C", [20.0, 77.1, 120.0])
    scorer = LineScore(lines, SETTINGS)
    shift, hydrogens = np.array([20.0, 120.0, 120.0]), np.array([3, 1, 1])
    match = scorer.match(shift, np.ones(3), hydrogens)
    assert match.line_of_site == (0, 2, 2)
    assert match.extra == (1,)
    assert match.mae_ppm == 0
    assert match.log_likelihood == pytest.approx(2 * density(0) - SETTINGS.solvent_cost)


def test_match_says_what_lacks_and_what_differs():
    scorer = LineScore(spectrum((20.0, "T"), (120.0, "D")), SETTINGS)
    match = scorer.match(np.array([20.0, 120.0, 170.0]), np.ones(3), np.array([3, 1, 0]))
    assert match.line_of_site == (0, 1, -1)
    assert match.missing == 1
    assert match.letters_differ == 1


sites = st.lists(
    st.tuples(st.integers(0, 15).map(float), st.integers(0, 3)), min_size=1, max_size=4
)
peaks = st.lists(
    st.tuples(st.integers(0, 15).map(float), st.sampled_from(["", "S", "D", "T", "Q"])),
    min_size=1,
    max_size=4,
)


def slow_score(lines, candidate):
    """The definition for lines given once, by trying all ways."""
    s = SETTINGS
    distinct = sorted({(p.ppm, p.multiplicity) for p in lines.peaks})
    letters = {"S": 0, "D": 1, "T": 2, "Q": 3}

    def fit(line, site):
        wrong = line[1] and letters[line[1]] != site[1]
        return density(abs(line[0] - site[0])) - s.letter_cost * bool(wrong)

    best = -math.inf
    # Sites of one shift and one number of hydrogens are equivalent: all but the first may follow.
    order = sorted(range(len(candidate)), key=lambda i: (candidate[i][0], i))
    choices = [*range(len(distinct)), "follow", "lack"]
    for chosen in itertools.product(choices, repeat=len(candidate)):
        owners, total = {}, 0.0
        for site, choice in enumerate(chosen):
            second = any(
                candidate[other] == candidate[site] and order.index(other) == order.index(site) - 1
                for other in range(len(candidate))
            )
            if choice == "follow":
                total += 0.0 if second else -math.inf
            elif choice == "lack":
                total -= s.missing_bare_cost if candidate[site][1] == 0 else s.missing_cost
            else:
                owners.setdefault(choice, []).append((site, second))
        for line, users in owners.items():
            fits = [
                (fit(distinct[line], candidate[i]), fit(distinct[line], candidate[i]), second)
                for i, second in users
            ]
            best_line = -math.inf
            for first in range(len(fits)):
                value = fits[first][0] - s.split_cost * fits[first][2]
                for place, (other, _, _) in enumerate(fits):
                    if place != first:
                        value += other - s.overlap_cost
                best_line = max(best_line, value)
            total += best_line
        total -= s.extra_cost * (len(distinct) - len(owners))
        best = max(best, total)
    return best


@settings(deadline=None, max_examples=60)
@given(peaks, sites)
def test_the_assignment_is_the_best(given_peaks, candidate):
    lines = spectrum(*given_peaks)
    scorer = LineScore(lines, SETTINGS)
    shift, hydrogens = (np.array(c) for c in zip(*candidate, strict=True))
    costs = -scorer._log_density(scorer._distinct.ppm[:, None], shift, np.ones(len(shift)))
    costs += scorer._letter_costs(scorer._distinct.hydrogens[:, None], hydrogens)
    cost, line_of_site = scorer._assign(costs, shift, hydrogens)
    assert -cost >= slow_score(lines, candidate) - 1e-6
    assert len(line_of_site) == len(candidate)


@settings(deadline=None, max_examples=60)
@given(peaks, st.lists(sites, min_size=1, max_size=4), st.randoms())
def test_candidates_do_not_depend_on_their_neighbours_or_order(given_peaks, candidates, random):
    lines = spectrum(*given_peaks)
    together = score(lines, *candidates)
    alone = [score(lines, candidate)[0] for candidate in candidates]
    np.testing.assert_allclose(together, alone)
    shuffled = [random.sample(candidate, len(candidate)) for candidate in candidates]
    np.testing.assert_allclose(score(lines, *shuffled), alone, atol=1e-9)


@settings(deadline=None, max_examples=60)
@given(peaks, sites)
def test_screening_and_matching_work_on_anything(given_peaks, candidate):
    scorer = LineScore(spectrum(*given_peaks), SETTINGS)
    shift, hydrogens = (np.array(c) for c in zip(*candidate, strict=True))
    rough = scorer.screen(shift, np.ones(len(shift)), np.zeros(len(shift), int), hydrogens)
    assert np.isfinite(rough).all()
    match = scorer.match(shift, np.ones(len(shift)), hydrogens)
    used = {line for line in match.line_of_site if line >= 0}
    assert used | set(match.extra) == set(range(len(scorer.lines)))
    exact = scorer.score_arrays(shift, np.ones(len(shift)), np.zeros(len(shift), int), hydrogens)
    assert match.log_likelihood >= exact[0] - 1e-6


def test_other_nuclei_have_no_letters():
    lines = Spectrum("31P", (Peak(10.0, multiplicity="D"),))
    candidates = [(10.0, UNKNOWN)], [(10.0, UNKNOWN), (50.0, UNKNOWN)]
    one, two = score(lines, *candidates)
    assert one == pytest.approx(density(0))
    assert two == pytest.approx(density(0) - SETTINGS.missing_cost)
    assert list(hydrogen_counts(Nucleus.parse("31P"), [parse_smiles("CP")])) == [UNKNOWN]
    assert list(hydrogen_counts(Nucleus.parse("13C"), [parse_smiles("CC=C")])) == [3, 1, 2]


def test_no_candidates():
    empty = AtomLines(torch.zeros(0), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
    scorer = LineScore(spectrum_of_shifts("13C", [1.0]), replace(SETTINGS))
    assert len(scorer.score(empty, np.zeros(0, int))) == 0
    assert len(scorer.screen(*(np.zeros(0),) * 2, *(np.zeros(0, int),) * 2)) == 0
