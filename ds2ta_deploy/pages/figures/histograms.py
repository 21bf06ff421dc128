"""How often each integer occurs."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.pages.figures.canvas import ROLES, draw
from ds2ta_deploy.pages.parts import Picture, Table, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Most bars of a histogram; integers further apart share one.
_MOST_BARS = 64


def bins(integers: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count integers in bars of equal width, each holding the same number of integers.

    Args:
        integers: of any shape, not empty.

    Returns:
        The counts ``[bars]`` int64, and the bars' first integers with the one behind the last, ``[bars + 1]`` int64.

    Example:
        >>> [array.tolist() for array in bins(np.array([0, 0, 2]))]
        [[2, 0, 1], [0, 1, 2, 3]]

    """
    low, high = int(integers.min()), int(integers.max())
    width = -(-(high - low + 1) // _MOST_BARS)
    bars = -(-(high - low + 1) // width)
    places = (integers.astype(np.int64).ravel() - low) // width
    return np.bincount(places, minlength=bars).astype(np.int64), low + width * np.arange(bars + 1, dtype=np.int64)


def histogram(title: str, integers: NDArray[Any], unit: str, role: str = "accent") -> Picture:
    """Draw a histogram.

    Args:
        title: whose integers they are.
        integers: of any shape, not empty.
        unit: what one of them is, in the singular.
        role: of the colour.

    """
    counts, edges = bins(integers)
    low, high, distinct = int(integers.min()), int(integers.max()), len(np.unique(integers))

    def paint(axes: "Axes") -> None:
        axes.stairs(counts, edges - 0.5, fill=True, color=ROLES[role])
        axes.set_xlabel(unit)
        axes.set_ylim(0, float(counts.max()) * 1.05)
        middle, reach = (low + high) / 2, max(high - low + 1, 5) / 2
        axes.set_xlim(middle - 1.02 * reach, middle + 1.02 * reach)
        axes.locator_params(axis="x", nbins=4, integer=True)
        axes.locator_params(axis="y", nbins=4, integer=True)
        axes.xaxis.set_major_formatter(lambda number, _: short(number))
        axes.yaxis.set_major_formatter(lambda number, _: short(number))

    zeros = float((integers == 0).mean())
    alt = f"Histogram of {integers.size:,} integers ({unit}) between {low:,} and {high:,}; {percent(zeros)} are 0."
    facts = (("integers", integers.size), ("smallest", low), ("largest", high), ("distinct", distinct), ("zero", percent(zeros)))
    middle = (("median", f"{np.median(integers):,.1f}"), ("mean magnitude", f"{np.abs(integers.astype(np.int64)).mean():,.1f}"))
    rows = tuple(
        (f"{first:,}" if first + 1 == behind else f"{first:,} to {behind - 1:,}", int(count))
        for first, behind, count in _bars(counts, edges)
    )
    numbers = Table("Numbers", (unit, "integers"), (*facts, *middle, *rows), folded=True)
    return Picture(title, draw(2.7, 1.6, (0.46, 0.42, 0.14, 0.06), paint), alt, numbers)


def _bars(counts: NDArray[np.int64], edges: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    return [(int(first), int(behind), int(count)) for first, behind, count in zip(edges[:-1], edges[1:], counts, strict=True) if count]


def short(number: float) -> str:
    """Return a number on an axis.

    Example:
        >>> short(-127), short(25000), short(1.5e6)
        ('-127', '25k', '1.5M')

    """
    if abs(number) < 10_000:
        return f"{number:.0f}"
    return f"{number / 1e3:g}k" if abs(number) < 1_000_000 else f"{number / 1e6:g}M"
