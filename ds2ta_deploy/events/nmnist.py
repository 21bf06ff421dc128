"""The records of N-MNIST and N-Caltech101, ``.bin``: 40 bits an event, no header."""

from collections.abc import Iterator
from functools import partial
from typing import BinaryIO

import numpy as np

from ds2ta_deploy.events.batch import EventBatch, Sensor
from ds2ta_deploy.events.records import Located, record_batches, record_place

#: Part of the sensor that N-MNIST shows; a file does not say its size.
NMNIST_SENSOR = Sensor(34, 34)

#: Microseconds after which its timestamps, 23 bits, begin again.
NMNIST_CLOCK = 2**23

_SIZE = 5

#: Row of a record that is no event: the camera's clock, 13 bits, has run over. Events after it are this much later. Orchard et
#: al., "Converting static image datasets to spiking neuromorphic datasets using saccades", Frontiers in Neuroscience 9:437
#: (2015), and the script Read_Ndataset that comes with the data.
_OVERFLOW_ROW, _OVERFLOW = 240, 2**13

_POLARITY_BIT, _TIME_BITS = 0x80, 0x7F


def read_nmnist(file: BinaryIO, where: str) -> Iterator[Located]:
    """Yield the events of an N-MNIST file, each five bytes, most significant first: x (8), y (8), polarity (1), microseconds (23).

    Raises:
        InputError: DS2TA-181 when the file ends within a record.

    """
    overflows = 0
    for first, records in record_batches(file, _SIZE, 0, where):
        wide = records.astype(np.int64)
        marks = records[:, 1] == _OVERFLOW_ROW
        times = ((wide[:, 2] & _TIME_BITS) << 16) + (wide[:, 3] << 8) + wide[:, 4] + (overflows + np.cumsum(marks)) * _OVERFLOW
        overflows += int(marks.sum())
        numbers = first + np.flatnonzero(~marks)
        events = records[~marks]
        batch = EventBatch(times[~marks], events[:, 0].astype(np.int16), events[:, 1].astype(np.int16), events[:, 2] >> 7)
        yield batch, partial(record_place, numbers, _SIZE, 0)


def nmnist_bytes(events: EventBatch) -> bytes:
    """Return a recording as N-MNIST stores it, without the clock's overflows.

    Raises:
        ValueError: when a coordinate or a timestamp has no room: x and y below 256, y not 240, less than 2^23 microseconds.

    """
    fits = (events.x >= 0) & (events.x < 256) & (events.y >= 0) & (events.y < 256) & (events.y != _OVERFLOW_ROW)
    if not (fits & (events.timestamps >= 0) & (events.timestamps < 2**23)).all():
        raise ValueError("an event has no room in 40 bits")
    polarity_and_time = np.where(events.polarity > 0, _POLARITY_BIT, 0) | (events.timestamps >> 16)
    columns = [events.x, events.y, polarity_and_time, events.timestamps >> 8 & 0xFF, events.timestamps & 0xFF]
    return np.stack([column.astype(np.uint8) for column in columns], axis=1).tobytes()
