"""Packed weights, read a second time: as ``certificate_check`` does everything, without the code that wrote them."""

from math import prod
from typing import Any

import numpy as np

_BITS = {"int4": 4, "int6": 6, "power-of-two": 4}


def unpacked(tensors: dict[str, Any], packed: dict[str, Any]) -> dict[str, Any]:
    """Return a graph file's tensors with int8 weights in the place of packed ones.

    Raises:
        LookupError, ValueError: when they are not packed as the header says.

    """
    return {name: _weights(tensor, packed[name]) if name in packed else tensor for name, tensor in tensors.items()}


def _weights(stored: Any, how: dict[str, Any]) -> Any:
    """Cut codes out of words of two bytes, then say what each one means by arithmetic on its bits."""
    bits, shape = _BITS[how["format"]], how["shape"]
    first = np.arange(prod(shape)) * bits
    if stored.shape != (-(-prod(shape) * bits // 8),):
        raise ValueError(f"{shape} weights of {bits} bits do not take {stored.shape} bytes")
    ends = np.append(stored.astype(np.int64), 0)
    codes = ((ends[first >> 3] | ends[(first >> 3) + 1] << 8) >> (first & 7)) & ((1 << bits) - 1)
    if how["format"] == "power-of-two":
        magnitude = np.where(codes & 7, 1 << np.maximum((codes & 7) - 1, 0), 0)
        integers = np.where(codes & 8, -magnitude, magnitude)
    else:
        integers = codes - ((codes >> (bits - 1)) << bits)
    return integers.astype(np.int8).reshape(shape)
