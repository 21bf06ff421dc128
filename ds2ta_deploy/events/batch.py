"""Events as plain arrays, and the sensor they come from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Sensor:
    """Size of an event camera's pixel array.

    Attributes:
        width: number of columns; x lies in 0..width-1.
        height: number of rows; y lies in 0..height-1.

    """

    width: int
    height: int

    def __str__(self) -> str:
        """Return the size as the option ``--event-sensor`` takes it."""
        return f"{self.width}x{self.height}"


@dataclass(frozen=True)
class EventBatch:
    """Events in the order of the recording; the arrays have one length.

    Attributes:
        timestamps: int64 ``[N]``, microseconds.
        x: int16 ``[N]``, column.
        y: int16 ``[N]``, row.
        polarity: uint8 ``[N]``, 1 where the pixel became brighter, 0 where it became darker.

    """

    timestamps: NDArray[np.int64]
    x: NDArray[np.int16]
    y: NDArray[np.int16]
    polarity: NDArray[np.uint8]

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.timestamps)


def joined(batches: Sequence[EventBatch]) -> EventBatch:
    """Return the events of one or more batches as one batch."""
    return EventBatch(
        np.concatenate([batch.timestamps for batch in batches]),
        np.concatenate([batch.x for batch in batches]),
        np.concatenate([batch.y for batch in batches]),
        np.concatenate([batch.polarity for batch in batches]),
    )
