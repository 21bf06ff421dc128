import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds2ta_deploy.graph.intervals import Interval, bits_needed

BOUNDS = st.tuples(st.integers(-(2**40), 2**40), st.integers(-(2**40), 2**40)).map(sorted)
SMALL = st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)).map(sorted), min_size=1, max_size=4)


def interval(bounds):
    return Interval.of(np.array([low for low, _ in bounds]), np.array([high for _, high in bounds]))


@given(BOUNDS)
def test_bits_are_the_fewest_that_hold_both_bounds(bounds):
    low, high = bounds
    bits = bits_needed(low, high)

    def holds(width):
        return -(2 ** (width - 1)) <= low and high <= 2 ** (width - 1) - 1

    assert holds(bits)
    assert bits == 1 or not holds(bits - 1)


@pytest.mark.parametrize(
    ("low", "high", "bits"),
    [
        (0, 0, 1),
        (-1, 0, 1),
        (0, 1, 2),
        (-2, 1, 2),
        (-128, 127, 8),
        (-129, 0, 9),
        (0, 128, 9),
        (0, 255, 9),
        (-(2**31), 2**31 - 1, 32),
        (0, 2**31, 33),
    ],
)
def test_bits_of_known_ranges(low, high, bits):
    assert bits_needed(low, high) == bits
    assert Interval.of(low, high).bits == bits


def test_bits_are_those_of_the_widest_channel():
    assert Interval.of(np.array([0, -300, 5]), np.array([100, 2, 6])).bits == 10


def test_numbers_and_arrays_are_broadcast_together():
    made = Interval.of(0, np.array([1, 2, 3]))
    assert made.low.tolist() == [0, 0, 0]
    assert made.high.tolist() == [1, 2, 3]
    assert made.low.dtype == made.high.dtype == np.int64
    assert (made.minimum, made.maximum) == (0, 3)


@given(SMALL)
def test_hull_is_one_interval_around_all_channels(bounds):
    hull = interval(bounds).hull()
    assert hull.low.shape == ()
    assert int(hull.low) == min(low for low, _ in bounds)
    assert int(hull.high) == max(high for _, high in bounds)


@given(SMALL)
def test_with_zero_widens_each_channel_only_as_far_as_zero(bounds):
    widened = interval(bounds).with_zero()
    assert widened.low.tolist() == [min(low, 0) for low, _ in bounds]
    assert widened.high.tolist() == [max(high, 0) for _, high in bounds]


@given(SMALL, st.integers(-9, 9), st.integers(0, 9))
def test_a_sum_has_the_sums_of_the_bounds(bounds, low, size):
    total = interval(bounds) + Interval.of(low, low + size)
    assert total.low.tolist() == [other + low for other, _ in bounds]
    assert total.high.tolist() == [other + low + size for _, other in bounds]


def test_per_channel_repeats_a_single_bound():
    low, high = Interval.of(-1, 4).per_channel(3)
    assert low.tolist() == [-1, -1, -1]
    assert high.tolist() == [4, 4, 4]
    low, high = Interval.of(np.array([1, 2]), np.array([3, 4])).per_channel(2)
    assert (low.tolist(), high.tolist()) == ([1, 2], [3, 4])


@given(SMALL, st.data())
def test_contains_looks_at_every_channel_and_both_bounds(bounds, data):
    values = [data.draw(st.integers(-10, 10)) for _ in bounds]
    expected = all(low <= value <= high for value, (low, high) in zip(values, bounds, strict=True))
    assert interval(bounds).contains(np.array([values])) == expected


def test_contains_bounds_of_heads():
    heads = Interval.of(np.array([0, 10])[:, None, None], np.array([1, 11])[:, None, None])
    assert heads.contains(np.array([[[0, 1]], [[10, 11]]]))
    assert not heads.contains(np.array([[[0, 1]], [[1, 11]]]))
