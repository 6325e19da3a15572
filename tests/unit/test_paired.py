"""Differences between recipes: what the intervals say is so."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmrtk.comparison.paired import Sums, paired_difference


def sums(values):
    values = np.asarray(values, np.float64)
    return Sums(values, np.ones_like(values))


@given(st.integers(1, 4), st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_a_recipe_does_not_differ_from_itself(seeds, molecules, seed):
    one = sums(np.random.default_rng(seed).random((seeds, molecules)))
    gap = paired_difference(one, one, draws=50)
    assert (gap.mean, gap.low, gap.high) == (0, 0, 0)
    assert not gap.is_clear


@given(st.floats(-5, 5), st.integers(0, 2**32 - 1))
def test_a_constant_gap_is_found_exactly(gap, seed):
    one = np.random.default_rng(seed).random((3, 20))
    found = paired_difference(sums(one), sums(one + gap), draws=50)
    assert found.mean == pytest.approx(gap, abs=1e-9)
    assert (found.low, found.high) == pytest.approx((gap, gap), abs=1e-9)


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        seed_effect = rng.normal(0, 1, (3, 1))
        gap = 0.5 + seed_effect + rng.normal(0, 3, (1, 60)) + rng.normal(0, 0.1, (3, 60))
        found = paired_difference(sums(np.zeros((3, 60))), sums(gap), draws=300)
        held += found.low <= 0.5 <= found.high
    assert 0.91 <= held / 300 <= 0.99
