"""Events made up for tests."""

from itertools import pairwise

import numpy as np

from ds2ta_deploy.events.batch import EventBatch


def some_events(times, width=5, height=7, seed=3):
    """Return a batch of events at these times, anywhere on the sensor."""
    random, count = np.random.default_rng(seed), len(times)
    return EventBatch(
        np.sort(np.asarray(times, np.int64)),
        random.integers(0, width, count).astype(np.int16),
        random.integers(0, height, count).astype(np.int16),
        random.integers(0, 2, count).astype(np.uint8),
    )


def cut(batch, places):
    """Return the batch in pieces."""
    edges = [0, *sorted(places), len(batch)]
    return [EventBatch(batch.timestamps[a:b], batch.x[a:b], batch.y[a:b], batch.polarity[a:b]) for a, b in pairwise(edges) if b > a]
