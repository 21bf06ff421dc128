"""Recordings of events for tests: made from a seed, and written as the cameras' software writes them."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.events.batch import EventBatch, Sensor

#: Real recordings; where they are absent, tests of them are skipped.
REAL_EVENTS = Path(__file__).parents[1].resolve().parent / "shared" / "data" / "events"

DAT_HEADER = b"% Data file containing Event2d events.\n% Version 2\n% Width 40\n% Height 30\n\x00\x08"


def make_events(count: int, sensor: Sensor, seed: int = 0, *, most_gap: int = 50) -> EventBatch:
    """Return random events in order of time."""
    generator = np.random.default_rng(seed)
    return EventBatch(
        np.cumsum(generator.integers(0, most_gap, count)).astype(np.int64),
        generator.integers(0, sensor.width, count).astype(np.int16),
        generator.integers(0, sensor.height, count).astype(np.int16),
        generator.integers(0, 2, count).astype(np.uint8),
    )


def dat_bytes(events: EventBatch, header: bytes = DAT_HEADER) -> bytes:
    """Return a Prophesee file: a header, then two words an event."""
    x, y, polarity = (part.astype(np.uint32) for part in (events.x, events.y, events.polarity))
    return header + np.stack([events.timestamps.astype(np.uint32), x | y << 14 | polarity << 28], axis=1).astype("<u4").tobytes()


def write_aedat4(path: Path, events: EventBatch, sensor: Sensor) -> Path:
    """Write an AEDAT4 file with dv-processing."""
    import dv_processing

    config = dv_processing.io.MonoCameraWriter.EventOnlyConfig("test", (sensor.width, sensor.height))
    writer = dv_processing.io.MonoCameraWriter(str(path), config)
    store = dv_processing.EventStore()
    for time, x, y, polarity in zip(events.timestamps, events.x, events.y, events.polarity, strict=True):
        store.push_back(int(time), int(x), int(y), bool(polarity))
    writer.writeEvents(store)
    del writer
    return path


def same(left: EventBatch, right: EventBatch) -> bool:
    """Whether two batches hold the same events, in the same types."""
    pairs: list[tuple[NDArray[np.generic], NDArray[np.generic]]] = [
        (left.timestamps, right.timestamps),
        (left.x, right.x),
        (left.y, right.y),
        (left.polarity, right.polarity),
    ]
    return all(one.dtype == other.dtype and np.array_equal(one, other) for one, other in pairs)
