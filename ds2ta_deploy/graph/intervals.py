"""Integer intervals, one a channel: what a value is proven to lie in, for every input."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Interval:
    """Closed integer interval ``[low, high]``, held per channel.

    Attributes:
        low: int64, broadcastable against the trailing axes of the value (``[C]``, ``[H, 1, 1]`` or a scalar).
        high: int64, same shape as ``low``.

    """

    low: IntArray
    high: IntArray

    @classmethod
    def of(cls, low: int | IntArray, high: int | IntArray) -> Self:
        """Make an interval from numbers or arrays."""
        lows, highs = np.broadcast_arrays(np.asarray(low, np.int64), np.asarray(high, np.int64))
        return cls(lows, highs)

    @property
    def minimum(self) -> int:
        """Smallest value of any channel."""
        return int(self.low.min())

    @property
    def maximum(self) -> int:
        """Largest value of any channel."""
        return int(self.high.max())

    @property
    def bits(self) -> int:
        """Two's-complement bits that hold every value (sign bit included)."""
        return bits_needed(self.minimum, self.maximum)

    def hull(self) -> Self:
        """Forget the channels: one interval around all of them."""
        return self.of(self.minimum, self.maximum)

    def over_channels(self) -> Self:
        """Forget the last axis' channels: one interval for each position of the other axes."""
        if self.low.ndim == 0:
            return self
        return self.of(self.low.min(axis=-1, keepdims=True), self.high.max(axis=-1, keepdims=True))

    def clip(self, low: int, high: int) -> Self:
        """Return the part inside ``[low, high]``; what lies outside wholly becomes the nearer end."""
        return self.of(self.low.clip(low, high), self.high.clip(low, high))

    def with_zero(self) -> Self:
        """Widen every channel to contain zero, as padding and silent history do."""
        return self.of(np.minimum(self.low, 0), np.maximum(self.high, 0))

    def per_channel(self, channels: int) -> tuple[IntArray, IntArray]:
        """Return ``(low, high)``, each of shape ``[channels]``."""
        return np.broadcast_to(self.low, (channels,)), np.broadcast_to(self.high, (channels,))

    def __add__(self, other: "Interval") -> Self:
        """Interval of the sum."""
        return self.of(self.low + other.low, self.high + other.high)

    def contains(self, value: IntArray) -> bool:
        """Whether every element of ``value`` lies inside."""
        return bool(((value >= self.low) & (value <= self.high)).all())


def bits_needed(low: int, high: int) -> int:
    """Two's-complement bits, sign included, that hold ``[low, high]``: 8 for [-128, 127].

    Example:
        >>> bits_needed(-128, 127), bits_needed(0, 128)
        (8, 9)

    """
    return max((high if high >= 0 else -high - 1).bit_length(), (low if low >= 0 else -low - 1).bit_length()) + 1
