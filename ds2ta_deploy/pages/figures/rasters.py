"""Spikes of one sample: a row a time step, a column a neuron."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.pages.figures.canvas import ROLES, draw
from ds2ta_deploy.pages.parts import Picture, Table, percent, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Most neurons and time steps that are drawn; of more, evenly spread ones.
MOST_NEURONS, MOST_STEPS = 360, 64

#: Reads well on light and on dark paper.
_SPIKE = (0x1F, 0x8F, 0x86)


def raster(title: str, spikes: NDArray[np.integer]) -> Picture:
    """Draw the spikes of one layer.

    Args:
        title: dotted name of the layer.
        spikes: 0 or 1, ``[T, ...]``, of one sample.

    """
    flat = spikes.reshape(len(spikes), -1)
    steps, neurons = flat.shape
    shown_steps, shown = spread(steps, MOST_STEPS), spread(neurons, MOST_NEURONS)
    dots = flat[np.ix_(shown_steps, shown)] != 0
    image = np.zeros((*dots.shape, 4), np.uint8)
    image[dots] = (*_SPIKE, 255)

    def paint(axes: "Axes") -> None:
        axes.imshow(image, aspect="auto", interpolation="none", origin="upper")
        axes.set_yticks(
            range(len(shown_steps)), [f"t={step}" for step in shown_steps] if len(shown_steps) <= 8 else [""] * len(shown_steps)
        )
        axes.set_xticks([])
        axes.tick_params(length=0)
        axes.set_xlabel("neurons" if len(shown) == neurons else f"{len(shown)} of {neurons:,} neurons, evenly spread", color=ROLES["muted"])

    height = min(0.16 * len(shown_steps), 2.4)
    drawing = draw(6.2, height + 0.34, (0.36, 0.26, 0.06, 0.08), paint)
    fired, total = int((flat != 0).sum()), flat.size
    alt = f"{fired:,} spikes of {neurons:,} neurons over {steps} time steps, {percent(fired / total)} of all places."
    rows = tuple((f"t = {step}", int((flat[step] != 0).sum()), percent(float((flat[step] != 0).mean()))) for step in range(steps))
    return Picture(title, drawing, alt, Table("Numbers", ("time step", "spikes", "rate"), rows, folded=True))
