"""A recording played at the speed it was made at, so that latency and backlog are those of a camera."""

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise

import numpy as np

from ds2ta_deploy.events.batch import EventBatch

#: Microseconds of events that are handed on together.
_SLICE = 1000


def paced(
    batches: Iterable[EventBatch], clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
) -> Iterator[EventBatch]:
    """Yield the events when they are due: as long after the first one as their timestamps say, to the millisecond.

    Who is late is not waited for: what is due is yielded at once.
    """
    begin: tuple[int, float] | None = None
    for batch in batches:
        if begin is None:
            begin = int(batch.timestamps[0]), clock()
        slices = (batch.timestamps - begin[0]) // _SLICE
        edges = [0, *(np.flatnonzero(np.diff(slices)) + 1).tolist(), len(batch)]
        for first, last in pairwise(edges):
            due = begin[1] + (int(batch.timestamps[last - 1]) - begin[0]) / 1e6
            if (early := due - clock()) > 0:
                sleep(early)
            yield EventBatch(batch.timestamps[first:last], batch.x[first:last], batch.y[first:last], batch.polarity[first:last])
