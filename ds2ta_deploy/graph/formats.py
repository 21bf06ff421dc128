"""How narrow weights are stored: codes of fewer than eight bits, packed without a gap.

In a graph weights are int8 whatever their format, so that every engine runs them as they are. A file holds those that allow
it in the narrowest format, which loses nothing:

- ``int4``: two's complement, -8..7; two weights a byte.
- ``power-of-two``: sign and exponent. Code 0 is 0, codes 1..7 are ``2^(code - 1)``, codes 9..15 are ``-2^(code - 9)``; two
  weights a byte. Code 8 means nothing.
- ``int6``: two's complement, -32..31; four weights in three bytes.

Weight i takes the bits ``i b .. (i + 1) b - 1`` of the stored bytes, bit 0 being the lowest one of the first byte; what is left
of the last byte is zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

#: Powers of two that have a code, 2^0 to 2^6.
POWERS = tuple(2**exponent for exponent in range(7))


@dataclass(frozen=True)
class StoredFormat:
    """One way to store weights.

    Attributes:
        name: as files and reports say it.
        bits: of a weight.
        values: the weight that each code stands for; None where it stands for nothing.

    """

    name: str
    bits: int
    values: tuple[int | None, ...]

    def holds(self, weight: NDArray[np.int8]) -> bool:
        """Whether every weight has a code."""
        return bool((self._codes[weight.view(np.uint8)] >= 0).all())

    def stored_bytes(self, weights: int) -> int:
        """Bytes that so many weights take."""
        return -(-weights * self.bits // 8)

    def pack(self, weight: NDArray[np.int8]) -> NDArray[np.uint8]:
        """Return the stored bytes ``[n]`` of weights of any shape, all of which have a code."""
        codes = self._codes[weight.ravel().view(np.uint8)].astype(np.uint8)
        bits = np.unpackbits(codes[:, None], axis=1, count=self.bits, bitorder="little")
        return np.packbits(bits.ravel(), bitorder="little")

    def unpack(self, packed: NDArray[np.uint8], shape: Sequence[int]) -> NDArray[np.int8]:
        """Return weights int8 of a shape from their stored bytes.

        Raises:
            ValueError: when these are not just as many bytes as the shape needs, hold a code that means nothing, or have a
                bit set behind the last weight.

        Example:
            >>> FORMATS["int4"].unpack(np.array([0x21, 0x0F], np.uint8), (3,)).tolist()
            [1, 2, -1]

        """
        size = prod(shape)
        if packed.dtype != np.uint8 or packed.shape != (self.stored_bytes(size),):
            held = f"{packed.dtype} {list(packed.shape)}"
            raise ValueError(f"{size} weights of {self.bits} bits take {self.stored_bytes(size)} bytes, not {held}")
        bits = np.unpackbits(packed, bitorder="little")
        if bits[size * self.bits :].any():
            raise ValueError("a bit behind the last weight is set")
        codes = np.packbits(bits[: size * self.bits].reshape(size, self.bits), axis=1, bitorder="little")[:, 0]
        if any(value is None and (codes == code).any() for code, value in enumerate(self.values)):
            raise ValueError("a weight has a code that means nothing")
        return np.array([value or 0 for value in self.values], np.int8)[codes].reshape(shape)

    @property
    def _codes(self) -> NDArray[np.int16]:
        """The code of each weight, by its byte; -1 for those without."""
        codes = np.full(256, -1, np.int16)
        for code, value in enumerate(self.values):
            if value is not None:
                codes[value % 256] = code
        return codes


def _uniform(bits: int) -> StoredFormat:
    half = 2 ** (bits - 1)
    return StoredFormat(f"int{bits}", bits, (*range(half), *range(-half, 0)))


#: Every packed format by its name, the narrowest first.
FORMATS: dict[str, StoredFormat] = {
    stored.name: stored
    for stored in (
        _uniform(4),
        StoredFormat("power-of-two", 4, (0, *POWERS, None, *(-power for power in POWERS))),
        _uniform(6),
    )
}


def narrowest(weight: NDArray[np.generic]) -> StoredFormat | None:
    """Return the format that weights are stored in; None for those that are stored as they are.

    Example:
        >>> narrowest(np.array([16, -32], np.int8)).name, narrowest(np.array([16, -31], np.int8)).name, narrowest(np.array([33], np.int8))
        ('power-of-two', 'int6', None)

    """
    if weight.dtype != np.int8:
        return None
    integers = weight.astype(np.int8, copy=False)
    return next((stored for stored in FORMATS.values() if stored.holds(integers)), None)


def format_name(weight: NDArray[np.generic]) -> str:
    """Return what the format that weights are stored in is called: the packed one, or their type."""
    stored = narrowest(weight)
    return str(weight.dtype) if stored is None else stored.name


def stored_bytes(weight: NDArray[np.generic]) -> int:
    """Return the bytes that weights take in a file."""
    stored = narrowest(weight)
    return weight.nbytes if stored is None else stored.stored_bytes(weight.size)
