import numpy as np
import pytest
from event_files import make_events
from hypothesis import assume, given
from hypothesis import strategies as st

from ds2ta_deploy.events.batch import EventBatch, Sensor, joined
from ds2ta_deploy.events.binning import count_frames, interval_frames
from ds2ta_deploy.events.fitting import fit_sensor

SENSOR = Sensor(7, 5)
WHOLE = fit_sensor(SENSOR, 5, 7)
HALF = fit_sensor(SENSOR, 3, 4)
EVENTS = st.builds(
    lambda count, seed, gap: make_events(count, SENSOR, seed, most_gap=gap), st.integers(1, 80), st.integers(0, 99), st.integers(1, 400)
)


def definition(events: EventBatch, numbers: list[int], steps: int, fit) -> np.ndarray:
    """Count event by event."""
    frames = np.zeros((steps, fit.height, fit.width, 2), np.int64)
    for number, x, y, polarity in zip(numbers, events.x.tolist(), events.y.tolist(), events.polarity.tolist(), strict=True):
        row, column = y // fit.factor + fit.row_offset, x // fit.factor + fit.column_offset
        if 0 <= row < fit.height and 0 <= column < fit.width:
            frames[number, row, column, polarity] += 1
    return np.minimum(frames, 255)


def pieces(events: EventBatch, sizes: list[int]) -> list[EventBatch]:
    """Cut a recording into batches."""
    cuts = np.cumsum(sizes)[np.cumsum(sizes) < len(events)].tolist()
    parts = []
    for begin, end in zip([0, *cuts], [*cuts, len(events)], strict=True):
        here = slice(begin, end)
        parts.append(EventBatch(events.timestamps[here], events.x[here], events.y[here], events.polarity[here]))
    return parts


@pytest.mark.parametrize("fit", [WHOLE, HALF, fit_sensor(SENSOR, 2, 3, "crop")])
@given(EVENTS, st.integers(1, 12))
def test_frames_of_equal_duration(fit, events, steps):
    first, last = int(events.timestamps[0]), int(events.timestamps[-1])
    numbers = [(time - first) * steps // (last - first + 1) for time in events.timestamps.tolist()]
    frames = count_frames(events, steps, fit)
    assert frames.dtype == np.uint8
    assert (frames == definition(events, numbers, steps, fit)).all()


@given(EVENTS, st.integers(1, 12))
def test_frames_of_equally_many_events(events, steps):
    frames = count_frames(events, steps, WHOLE, "count")
    assert (frames == definition(events, [number * steps // len(events) for number in range(len(events))], steps, WHOLE)).all()
    counts = frames.sum(axis=(1, 2, 3), dtype=np.int64)
    assert counts.max() - counts.min() <= 1


@given(EVENTS, st.integers(1, 3000), st.lists(st.integers(1, 30), max_size=5))
def test_frames_of_a_fixed_duration_do_not_depend_on_batches(events, interval, sizes):
    first = int(events.timestamps[0])
    numbers = [(time - first) // interval for time in events.timestamps.tolist()]
    assume(numbers[-1] < 500)
    frames = list(interval_frames(pieces(events, sizes), interval, HALF))
    assert (np.stack(frames) == definition(events, numbers, numbers[-1] + 1, HALF)).all()


def test_counts_end_at_255():
    many = joined([make_events(1, SENSOR)] * 256)
    for frames in (count_frames(many, 1, WHOLE), list(interval_frames([many, many], 10, WHOLE))):
        assert np.max(frames) == 255
        assert np.count_nonzero(frames) == 1


def test_channel_one_is_brighter():
    zero = np.zeros(1, np.int16)
    brighter = EventBatch(np.zeros(1, np.int64), zero, zero, np.ones(1, np.uint8))
    assert count_frames(brighter, 1, WHOLE)[0, 0, 0].tolist() == [0, 1]


def test_times_since_1970_are_divided_exactly():
    events = make_events(50, SENSOR)
    later = EventBatch(events.timestamps + 2**52 - 10_000, events.x, events.y, events.polarity)
    assert (count_frames(later, 1024, HALF) == count_frames(events, 1024, HALF)).all()
    far = EventBatch(np.array([0, 2**52]), events.x[:2], events.y[:2], events.polarity[:2])
    assert count_frames(far, 1024, WHOLE).sum(axis=(1, 2, 3)).nonzero()[0].tolist() == [0, 1023]


def test_a_frame_is_there_as_soon_as_a_later_event_is():
    events = make_events(40, SENSOR, most_gap=30)

    def endless():
        yield events
        raise AssertionError("asked for more than was needed")

    frames = interval_frames(endless(), 100, WHOLE)
    assert int(events.timestamps[-1] - events.timestamps[0]) > 200
    assert np.array([next(frames), next(frames)]).any(axis=(1, 2, 3)).all()
