"""Events to frames of counts: uint8 ``[H, W, 2]``, channel 0 for darker, channel 1 for brighter, 255 and more as 255."""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.events.batch import EventBatch
from ds2ta_deploy.events.fitting import Fit

#: ``time``: frames of equal duration. ``count``: frames of equally many events.
FrameRule = Literal["time", "count"]

_MOST_COUNT = 255


def count_frames(events: EventBatch, steps: int, fit: Fit, rule: FrameRule = "time") -> NDArray[np.uint8]:
    """Divide a whole recording among ``steps`` frames, uint8 ``[T, H, W, 2]``.

    Event n of N, with first and last timestamps a and z, falls into frame ``(t - a) * T // (z - a + 1)`` for equal
    durations, ``n * T // N`` for equal numbers.

    Args:
        events: at least one, in order of time.
        steps: T, at most 1024.
        fit: where the pixels go.
        rule: what is equal among frames.

    """
    if rule == "time":
        first, last = events.timestamps[0], events.timestamps[-1]
        numbers = (events.timestamps - first) * steps // (last - first + 1)
    else:
        numbers = np.arange(len(events), dtype=np.int64) * steps // len(events)
    return _clipped(_counts(events, numbers, steps, fit))


def interval_frames(batches: Iterable[EventBatch], interval: int, fit: Fit) -> Iterator[NDArray[np.uint8]]:
    """Yield one frame, uint8 ``[H, W, 2]``, for every ``interval`` microseconds since the first event.

    Holds one batch and one frame at a time, and yields a frame as soon as a later event has come; where nothing
    happened the frames are empty. The last one may be of a shorter time.
    """
    start: int | None = None
    done = 0
    counts: NDArray[np.int64] | None = None  # of the frame that is open; None while nothing fell into it
    for batch in batches:
        if start is None:
            start = int(batch.timestamps[0])
        numbers = (batch.timestamps - start) // interval
        begins = np.flatnonzero(np.diff(numbers, prepend=-1))
        for begin, end in pairwise([*begins.tolist(), len(batch)]):
            while done < numbers[begin]:
                yield _finished(counts, fit)
                counts, done = None, done + 1
            part = EventBatch(batch.timestamps[begin:end], batch.x[begin:end], batch.y[begin:end], batch.polarity[begin:end])
            more = _counts(part, np.zeros(end - begin, np.int64), 1, fit)[0]
            counts = more if counts is None else counts + more
    if start is not None:
        yield _finished(counts, fit)


def _finished(counts: NDArray[np.int64] | None, fit: Fit) -> NDArray[np.uint8]:
    """Return a frame that no more events fall into."""
    return np.zeros((fit.height, fit.width, 2), np.uint8) if counts is None else _clipped(counts)


def _counts(events: EventBatch, numbers: NDArray[np.int64], steps: int, fit: Fit) -> NDArray[np.int64]:
    """Count the events of every frame, pixel and polarity, ``[T, H, W, 2]``."""
    places, inside = fit.places(events)
    cells = (numbers * (fit.height * fit.width) + places) * 2 + events.polarity
    shape = (steps, fit.height, fit.width, 2)
    return np.bincount(cells[inside], minlength=int(np.prod(shape))).reshape(shape)


def _clipped(counts: NDArray[np.int64]) -> NDArray[np.uint8]:
    return counts.clip(max=_MOST_COUNT).astype(np.uint8)
