"""One head's denoiser: the function that was trained, the integers it became, and where the gate stands."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.pages.figures.canvas import ROLES, draw
from ds2ta_deploy.pages.parts import Picture, Table, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class HeadCurve:
    """What is known of one head.

    Attributes:
        head: its number.
        table: int64 ``[entries]``, AD_h[s].
        scores: int64 ``[entries]``, how often each score occurred.
        function: float64 ``[entries]``, f_h(s) before rounding; None without the checkpoint.
        gate: u_h; None without the checkpoint.

    """

    head: int
    table: NDArray[np.int64]
    scores: NDArray[np.int64]
    function: NDArray[np.float64] | None = None
    gate: float | None = None

    @property
    def last_zero(self) -> int | None:
        """The largest s up to which every entry is 0; None when the first one is not."""
        filled = np.flatnonzero(self.table)
        last = int(filled[0]) - 1 if filled.size else len(self.table) - 1
        return last if last >= 0 else None


def denoiser_curve(curve: HeadCurve) -> Picture:
    """Draw table, function and gate over the scores that occurred."""
    places = np.arange(len(curve.table))

    def paint(axes: "Axes") -> None:
        height = max(int(curve.table.max()), 1)
        often = curve.scores / max(int(curve.scores.max()), 1) * height
        axes.bar(places, often, width=0.92, color=ROLES["line"])
        axes.step(places, curve.table, where="mid", color=ROLES["accent"], linewidth=1.6)
        axes.plot(places, curve.table, "o", color=ROLES["accent"], markersize=2.6)
        if curve.function is not None:
            axes.plot(places, curve.function, color=ROLES["second"], linewidth=1.1)
        if curve.gate is not None:
            axes.axvline(curve.gate, color=ROLES["ink"], linewidth=0.9, linestyle=(0, (3, 2)))
        elif curve.last_zero is not None:
            axes.axvline(curve.last_zero + 0.5, color=ROLES["ink"], linewidth=0.9, linestyle=(0, (3, 2)))
        axes.set_xlabel("score s")
        axes.locator_params(axis="both", nbins=5, integer=True)

    drawing = draw(2.7, 1.9, (0.36, 0.42, 0.08, 0.06), paint)
    return Picture(f"head {curve.head}", drawing, _alt(curve), _numbers(curve))


def _alt(curve: HeadCurve) -> str:
    gate = f"the gate u is {curve.gate:.3f}" if curve.gate is not None else "the checkpoint, and with it u, was not given"
    zero = "no leading zeros" if curve.last_zero is None else f"0 up to s = {curve.last_zero}"
    span = f"between {int(curve.table.min())} and {int(curve.table.max())}"
    return f"Table of head {curve.head} over scores 0 to {len(curve.table) - 1}: {zero}, entries {span}; {gate}."


def _numbers(curve: HeadCurve) -> Table:
    columns = ("score s", "table", *(() if curve.function is None else ("f(s)",)), "occurred", "share")
    total = max(int(curve.scores.sum()), 1)
    rows = tuple(
        (
            str(score),
            int(entry),
            *(() if curve.function is None else (f"{curve.function[score]:.3f}",)),
            int(curve.scores[score]),
            percent(int(curve.scores[score]) / total),
        )
        for score, entry in enumerate(curve.table)
    )
    return Table("Numbers", columns, rows, folded=True)
