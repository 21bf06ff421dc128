"""Where values lie in the arena: two share a place when no operation needs both."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Lifetime:
    """When a value is needed, and how large it is.

    Attributes:
        size: bytes.
        first: index of the operation that makes it.
        last: index of the last operation that reads it.

    """

    size: int
    first: int
    last: int


def arrange(lifetimes: Sequence[Lifetime], alignment: int) -> tuple[list[int], int]:
    """Return an offset for every value, and the size of the arena.

    Large values choose first, each the lowest gap among those that live at the same time.

    Ensures: values whose lifetimes meet do not overlap; offsets are multiples of ``alignment``.

    Example:
        >>> arrange([Lifetime(64, 0, 1), Lifetime(64, 1, 2), Lifetime(64, 2, 3)], 64)
        ([0, 64, 0], 128)

    """
    offsets = [0] * len(lifetimes)
    placed: list[int] = []
    for index in sorted(range(len(lifetimes)), key=lambda index: (-lifetimes[index].size, index)):
        mine = lifetimes[index]
        beside = [other for other in placed if lifetimes[other].first <= mine.last and mine.first <= lifetimes[other].last]
        offset = 0
        for other in sorted(beside, key=lambda other: offsets[other]):
            if offset + mine.size <= offsets[other]:
                break
            end = offsets[other] + lifetimes[other].size
            offset = max(offset, -(-end // alignment) * alignment)
        offsets[index] = offset
        placed.append(index)
    total = max((offset + entry.size for offset, entry in zip(offsets, lifetimes, strict=True)), default=0)
    return offsets, -(-total // alignment) * alignment
