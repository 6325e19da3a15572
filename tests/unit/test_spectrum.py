"""Peaks and spectra."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmrtk.errors import SpectrumError
from nmrtk.spectrum import PPM_LIMIT, Peak, Spectrum, spectrum_of_shifts


@pytest.mark.parametrize("ppm", [1e9, -1e9, float("nan"), float("inf"), PPM_LIMIT * 1.001])
def test_impossible_shifts_are_refused(ppm):
    with pytest.raises(SpectrumError, match=r"ppm is impossible \(allowed: -10000 to 10000\)"):
        Peak(ppm)


@given(st.lists(st.floats(-PPM_LIMIT, PPM_LIMIT), max_size=20))
def test_peaks_ascend_and_none_is_lost(shifts):
    assert spectrum_of_shifts("13C", shifts).shifts == sorted(shifts)


def test_sorting_keeps_what_belongs_to_a_peak():
    peaks = (Peak(57.8, multiplicity="T", atoms=(1,)), Peak(18.1, multiplicity="Q", atoms=(0,)))
    assert [p.multiplicity for p in Spectrum("13C", peaks).peaks] == ["Q", "T"]


@pytest.mark.parametrize(
    ("line_count", "atom_count", "complete"),
    [(3, None, True), (2, None, False), (4, None, False), (3, 3, True), (3, 2, False)],
)
def test_a_spectrum_is_complete_with_one_line_for_every_site(line_count, atom_count, complete):
    peaks = tuple(Peak(float(ppm)) for ppm in range(line_count))
    assert Spectrum("13C", peaks, atom_count=atom_count).is_complete(3) is complete
