"""Events without an end become frames on a grid of time; gaps are told, and nothing is lost without being counted."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.events.batch import EventBatch
from ds2ta_deploy.events.fitting import Fit

#: Most that a pixel of a frame counts.
_MOST_COUNT = 255


@dataclass(frozen=True, eq=False)
class StreamFrame:
    """The events of one interval.

    Attributes:
        number: of the interval since time zero: it covers ``[number * interval, (number + 1) * interval)`` microseconds.
        counts: uint8 ``[H, W, 2]``, darker and brighter.
        events: of the recording in this interval.
        outside: those of them that fell beside the network's input.
        clipped: those that a pixel which had counted 255 could not count.

    """

    number: int
    counts: NDArray[np.uint8]
    events: int
    outside: int
    clipped: int


@dataclass(frozen=True)
class Gap:
    """A silence longer than is computed frame by frame.

    Attributes:
        number: of the first interval behind it.
        frames: intervals that it lasted.

    """

    number: int
    frames: int


@dataclass
class FrameGrid:
    """Puts events on the grid.

    Attributes:
        interval: microseconds of a frame.
        fit: where the sensor's pixels go.
        longest_silence: empty frames that are made in a row; a longer silence is a :class:`Gap`.
        begin: number of the first interval of interest; earlier events are counted as ``early`` and not looked at.
        early: events before ``begin``.

    """

    interval: int
    fit: Fit
    longest_silence: int
    begin: int = 0
    early: int = 0

    def frames(self, batches: Iterable[EventBatch]) -> Iterator[StreamFrame | Gap]:
        """Yield every frame as soon as an event of a later interval has come, the last one when the events end.

        Holds one batch and one frame at a time. The first frame is that of the first event, or ``begin`` if that is set.
        """
        open_frame, present = self._empty(), self.begin or None
        counted = np.zeros(2, np.int64)  # events, and those outside
        for batch in batches:
            numbers = batch.timestamps // self.interval
            late = int(np.searchsorted(numbers, self.begin))
            self.early += late
            edges = [late, *(np.flatnonzero(np.diff(numbers[late:])) + late + 1).tolist(), len(batch)] if late < len(batch) else []
            for first, last in pairwise(edges):
                number = int(numbers[first])
                if present is not None and number > present:
                    yield self._closed(present, open_frame, counted)
                    open_frame, counted[:] = self._empty(), 0
                    yield from self._silence(present + 1, number)
                present = number
                counted += self._count(open_frame, batch, first, last)
        if present is not None and counted[0]:
            yield self._closed(present, open_frame, counted)

    def _silence(self, first: int, last: int) -> Iterator[StreamFrame | Gap]:
        """Yield what lies between two intervals with events."""
        if last - first > self.longest_silence:
            yield Gap(last, last - first)
            return
        for number in range(first, last):
            yield self._closed(number, self._empty(), np.zeros(2, np.int64))

    def _empty(self) -> NDArray[np.int64]:
        return np.zeros(self.fit.height * self.fit.width * 2, np.int64)

    def _count(self, cells: NDArray[np.int64], batch: EventBatch, first: int, last: int) -> tuple[int, int]:
        """Count events ``first..last`` of a batch into the cells; return their number and that of those outside."""
        part = EventBatch(batch.timestamps[first:last], batch.x[first:last], batch.y[first:last], batch.polarity[first:last])
        places, inside = self.fit.places(part)
        seen = (places * 2 + part.polarity)[inside]
        if len(seen) < len(cells) // 16:
            np.add.at(cells, seen, 1)
        else:
            cells += np.bincount(seen, minlength=len(cells))
        return len(part), len(part) - len(seen)

    def _closed(self, number: int, cells: NDArray[np.int64], counted: NDArray[np.int64]) -> StreamFrame:
        clipped = int((cells - _MOST_COUNT).clip(min=0).sum())
        counts = cells.clip(max=_MOST_COUNT).astype(np.uint8).reshape(self.fit.height, self.fit.width, 2)
        return StreamFrame(number, counts, int(counted[0]), int(counted[1]), clipped)
