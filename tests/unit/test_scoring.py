import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from sklearn.metrics import f1_score

from nmrtk.scoring import (
    Moments,
    best_threshold,
    correlation,
    rank_of,
    score_code,
    score_lines,
    score_ranks,
)

SHAPES = array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=7)


@settings(max_examples=30, deadline=None)  # a busy machine is not a failure
@given(st.data())
def test_code_scores_are_those_of_scikit_learn(data):
    shape = data.draw(SHAPES)
    predicted, observed = (data.draw(arrays(bool, shape)) for _ in range(2))
    score = score_code(predicted, observed)
    for average, value in (("micro", score.micro_f1), ("macro", score.macro_f1)):
        expected = f1_score(observed, predicted, average=average, zero_division=0)
        assert value == pytest.approx(expected)


def test_bins_that_nobody_observes_are_left_out_of_those_seen():
    observed = np.array([[True, False], [True, False]])
    score = score_code(observed, observed)
    assert (score.macro_f1, score.macro_f1_seen) == (0.5, 1.0)


@settings(max_examples=30, deadline=None)  # a busy machine is not a failure
@given(st.data())
def test_no_threshold_is_better_than_the_best(data):
    shape = data.draw(SHAPES)
    # Few values, so that ties are common.
    occupancy = data.draw(arrays(np.float32, shape, elements=st.sampled_from([0, 0.1, 0.3, 1])))
    observed = data.draw(arrays(bool, shape))
    found = score_code(occupancy > best_threshold(occupancy, observed), observed).micro_f1
    for threshold in (-1.0, 0.0, 0.05, 0.1, 0.2, 0.3, 0.9):
        assert found >= score_code(occupancy > threshold, observed).micro_f1


def test_threshold_between_neighbouring_numbers_separates_them():
    low = np.float32(0.3)
    high = np.nextafter(low, np.float32(1))
    threshold = best_threshold(np.array([[low, high]]), np.array([[False, True]]))
    assert (np.array([low, high]) > threshold).tolist() == [False, True]


def test_line_scores_of_known_errors():
    errors = np.array([-0.5, 1.0, 1.5, -4.0])
    score = score_lines(errors, np.ones(4), {0.5: 1.0, 0.95: 4.0})
    assert (score.lines, score.mae, score.median) == (4, 1.75, 1.25)
    assert score.rmse == pytest.approx(np.sqrt((0.25 + 1 + 2.25 + 16) / 4))
    assert (score.within_1, score.within_2) == (0.5, 0.75)
    assert score.coverage == {"0.5": 0.5, "0.95": 1.0}
    assert score_lines(errors).coverage is None


def test_lines_are_counted_within_the_unit():
    score = score_lines(np.array([0.05, 0.15, 0.25]), unit=0.1)
    assert (score.within_1, score.within_2) == (pytest.approx(1 / 3), pytest.approx(2 / 3))


def test_candidates_that_cannot_be_told_from_the_answer_stand_before_it():
    scores = np.array([[1.0, 3.0, 2.0], [1.0, 1.0, 1.0], [0.0, np.nan, -1.0], [np.nan] * 3])
    assert rank_of(scores, np.array([2, 0, 0, 1])).tolist() == [2, 3, 2, 3]


def test_rank_scores():
    score = score_ranks(np.array([1, 2, 10, 11]))
    assert (score.top_1, score.top_10, score.median_rank) == (0.25, 0.75, 6.0)
    assert score.mean_reciprocal_rank == pytest.approx((1 + 1 / 2 + 1 / 10 + 1 / 11) / 4)


def test_correlation_needs_variation():
    ramp = np.arange(5.0)
    assert correlation(ramp, 3 - ramp) == pytest.approx(-1)
    assert correlation(ramp, np.ones(5)) is None
    assert correlation(ramp[:1], ramp[:1]) is None


def test_moments():
    assert Moments.of(np.array([1.0, 3.0])) == Moments(2.0, 1.0)
