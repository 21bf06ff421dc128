"""How a sensor's pixels come to lie on the pixels of a network's input."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.events.batch import EventBatch, Sensor

#: ``downsample``: squares of pixels become one, the whole sensor is seen. ``crop``: pixels stay, the centre is seen.
FitRule = Literal["downsample", "crop"]


@dataclass(frozen=True)
class Fit:
    """Sends sensor pixel (x, y) to input pixel (row, column) = (y // factor + row_offset, x // factor + column_offset).

    Where the result is smaller than the input, the offsets put it in the centre (an odd rest goes to the right and the
    bottom) and zeros surround it. Pixels that fall outside the input are dropped.

    Attributes:
        height: rows of the input.
        width: columns of the input.
        factor: sensor pixels along the side of one input pixel, whose events are counted together.
        row_offset: row of the input where row 0 of the sensor falls.
        column_offset: column of the input where column 0 of the sensor falls.

    """

    height: int
    width: int
    factor: int
    row_offset: int
    column_offset: int

    def places(self, events: EventBatch) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return ``row * width + column`` for every event, ``[N]``, and whether it falls on the input at all."""
        rows = events.y.astype(np.int64) // self.factor + self.row_offset
        columns = events.x.astype(np.int64) // self.factor + self.column_offset
        return rows * self.width + columns, (rows >= 0) & (rows < self.height) & (columns >= 0) & (columns < self.width)


def fit_sensor(sensor: Sensor, height: int, width: int, rule: FitRule = "downsample") -> Fit:
    """Fit a sensor to an input of ``height`` by ``width`` pixels.

    With ``downsample`` the factor is the smallest integer for which the whole sensor fits, with ``crop`` it is 1.

    Example:
        >>> fit_sensor(Sensor(320, 240), 128, 128)
        Fit(height=128, width=128, factor=3, row_offset=24, column_offset=10)

    """
    factor = max(1, _quotient(sensor.width, width), _quotient(sensor.height, height)) if rule == "downsample" else 1
    rows, columns = _quotient(sensor.height, factor), _quotient(sensor.width, factor)
    return Fit(height, width, factor, (height - rows) // 2, (width - columns) // 2)


def _quotient(whole: int, part: int) -> int:
    """``whole / part`` rounded up."""
    return -(-whole // part)
