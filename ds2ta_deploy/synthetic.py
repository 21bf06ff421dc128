"""Inputs made from a seed: for calibration, and for verification when no real ones are given."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

#: Cells along one side of the random pattern that pictures are blown up from.
_CELLS = 8

#: Mean number of events in one pixel, polarity and time step.
_EVENT_RATE = 0.25


def synthetic_pixels(kind: Literal["images", "frames"], shape: tuple[int, ...], seed: int = 0) -> NDArray[np.uint8]:
    """Return smooth random pictures ``[B, H, W, C]`` or sparse random event counts ``[T, B, H, W, C]``, uint8.

    The same arguments give the same pixels on every machine.

    Example:
        >>> synthetic_pixels("images", (2, 28, 28, 1)).shape
        (2, 28, 28, 1)

    """
    generator = np.random.default_rng(seed)
    if kind == "frames":
        return generator.poisson(_EVENT_RATE, shape).clip(0, 255).astype(np.uint8)
    batch, height, width, channels = shape
    cells = generator.integers(0, 256, (batch, _CELLS, _CELLS, channels))
    rows, columns = (np.linspace(0, _CELLS - 1, size) for size in (height, width))
    top, left = rows.astype(int).clip(0, _CELLS - 2), columns.astype(int).clip(0, _CELLS - 2)
    down, right = (rows - top)[:, None, None], (columns - left)[None, :, None]
    upper = cells[:, top][:, :, left] * (1 - right) + cells[:, top][:, :, left + 1] * right
    lower = cells[:, top + 1][:, :, left] * (1 - right) + cells[:, top + 1][:, :, left + 1] * right
    noise = generator.integers(-12, 13, shape)
    pixels: NDArray[np.uint8] = (upper * (1 - down) + lower * down + noise).clip(0, 255).astype(np.uint8)
    return pixels
