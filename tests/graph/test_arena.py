from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from ds2ta_deploy.graph.arena import Lifetime, arrange

ALIGNMENT = 64


@st.composite
def lifetimes(draw, largest=40):
    first = draw(st.integers(0, 12))
    return Lifetime(draw(st.integers(1, largest)) * draw(st.sampled_from([1, ALIGNMENT])), first, first + draw(st.integers(0, 5)))


def at_once(one, other):
    """Whether there is an operation during which both are needed."""
    return bool(set(range(one.first, one.last + 1)) & set(range(other.first, other.last + 1)))


def assert_sound(entries, offsets, total):
    assert len(offsets) == len(entries)
    assert all(offset >= 0 and offset % ALIGNMENT == 0 for offset in offsets)
    assert total % ALIGNMENT == 0
    assert all(offset + entry.size <= total for offset, entry in zip(offsets, entries, strict=True))
    for (one, begin), (other, start) in combinations(zip(entries, offsets, strict=True), 2):
        bytes_of_one, bytes_of_other = range(begin, begin + one.size), range(start, start + other.size)
        apart = bytes_of_one.stop <= bytes_of_other.start or bytes_of_other.stop <= bytes_of_one.start
        assert apart or not at_once(one, other), (one, begin, other, start)


@given(st.lists(lifetimes(), max_size=20))
def test_values_that_live_at_the_same_time_never_overlap(entries):
    assert_sound(entries, *arrange(entries, ALIGNMENT))


@given(st.lists(lifetimes(), min_size=1, max_size=20))
def test_the_arena_is_no_smaller_than_what_is_needed_at_once_and_no_larger_than_all(entries):
    _, total = arrange(entries, ALIGNMENT)
    busiest = max(sum(entry.size for entry in entries if entry.first <= moment <= entry.last) for moment in range(20))
    assert busiest <= total <= sum(-(-entry.size // ALIGNMENT) * ALIGNMENT for entry in entries)


def test_a_chain_takes_two_places():
    chain = [Lifetime(640, index, index + 1) for index in range(9)]
    offsets, total = arrange(chain, ALIGNMENT)
    assert total == 2 * 640
    assert offsets == [0, 640] * 4 + [0]


def test_a_value_that_is_needed_to_the_end_keeps_its_place():
    entries = [Lifetime(64, 0, 9), *(Lifetime(64, index, index) for index in range(1, 9))]
    offsets, total = arrange(entries, ALIGNMENT)
    assert (offsets, total) == ([0, *[64] * 8], 128)


def test_a_gap_between_two_values_is_used_when_it_is_large_enough():
    # Two large values leave a gap of 64 bytes at their side once the one in the middle is gone.
    entries = [Lifetime(256, 0, 3), Lifetime(128, 0, 1), Lifetime(64, 0, 3), Lifetime(128, 2, 3)]
    offsets, total = arrange(entries, ALIGNMENT)
    assert offsets[3] == offsets[1]
    assert total == 256 + 128 + 64


def test_nothing_takes_nothing():
    assert arrange([], ALIGNMENT) == ([], 0)
