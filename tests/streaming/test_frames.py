"""Events on the grid of time, against counting each of them by hand."""

import numpy as np
import pytest
from event_support import cut, some_events
from hypothesis import given
from hypothesis import strategies as st

from ds2ta_deploy.events.batch import Sensor
from ds2ta_deploy.events.fitting import Fit, fit_sensor
from ds2ta_deploy.streaming.frames import FrameGrid, Gap, StreamFrame

FIT = fit_sensor(Sensor(5, 7), 7, 5)


@given(
    times=st.lists(st.integers(0, 400), min_size=1, max_size=60),
    interval=st.integers(1, 90),
    begin=st.integers(0, 5),
    cuts=st.lists(st.integers(0, 60), max_size=4),
)
def test_every_event_is_in_its_frame_however_the_batches_are_cut(times, interval, begin, cuts):
    batch = some_events(times)
    grid = FrameGrid(interval, FIT, longest_silence=10**6, begin=begin)
    frames = list(grid.frames(cut(batch, [place for place in cuts if place <= len(batch)])))
    numbers = batch.timestamps // interval
    seen = numbers >= begin
    assert grid.early == int((~seen).sum())
    if not seen.any():
        assert frames == []
        return
    first = begin or int(numbers.min())
    assert [frame.number for frame in frames] == list(range(first, int(numbers.max()) + 1))
    for frame in frames:
        expected = np.zeros((7, 5, 2), np.int64)
        for index in np.flatnonzero(numbers == frame.number):
            expected[batch.y[index], batch.x[index], batch.polarity[index]] += 1
        assert (frame.counts == expected).all()
        assert frame.events == expected.sum()


def test_a_long_silence_is_a_gap():
    frames = list(FrameGrid(10, FIT, longest_silence=3).frames([some_events([5, 47, 99])]))
    assert [frame.number for frame in frames] == [0, 1, 2, 3, 4, 9, 9]
    assert frames[5] == Gap(9, 4)
    assert [frame.events for frame in frames if isinstance(frame, StreamFrame)] == [1, 0, 0, 0, 1, 1]


def test_what_a_frame_cannot_hold_is_counted():
    batch = some_events([1] * 600, width=1, height=1)
    (frame,) = FrameGrid(10, FIT, 3).frames([batch])
    assert frame.counts.max() == 255
    assert frame.events == 600
    assert int(frame.counts.sum()) + frame.clipped == 600
    (beside,) = FrameGrid(10, Fit(2, 2, 1, 5, 5), 3).frames([batch])
    assert (beside.outside, beside.counts.sum()) == (600, 0)


@pytest.mark.parametrize("events", [3, 3000])
def test_few_events_and_many_are_counted_alike(events):
    batch = some_events([4] * events)
    (frame,) = FrameGrid(10, FIT, 3).frames([batch])
    expected = np.zeros((7, 5, 2), np.int64)
    np.add.at(expected, (batch.y, batch.x, batch.polarity), 1)
    assert (frame.counts == expected.clip(max=255)).all()


def test_events_are_told_as_soon_as_a_later_one_has_come():
    def feed():
        yield some_events([1, 2])
        yield some_events([12])
        raise AssertionError("read too far")

    frames = FrameGrid(10, FIT, 3).frames(feed())
    assert next(frames).events == 2
