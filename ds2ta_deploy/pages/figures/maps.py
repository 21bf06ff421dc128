"""Where a head looks: the attention that each place of the picture receives, laid over the picture."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.pages.figures.canvas import ROLES, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Scalar = TypeVar("Scalar", bound=np.generic)

#: Pixels that a picture has at least on each side once it is laid out, and at most.
_SMALLEST, _LARGEST = 56, 128

_GAP = 3


def show_input(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture as people see it.

    Args:
        pixels: ``[H, W, C]``, or event counts ``[T, H, W, C]``, which are summed up. One channel is grey, three are
            colours; two are events of both signs, red and blue; of more, the mean.

    Returns:
        uint8 ``[H, W, 3]``.

    """
    if pixels.ndim == 4:
        counts = pixels.sum(axis=0, dtype=np.int64)
        pixels = (counts * 255 // max(int(counts.max()), 1)).astype(np.uint8)
    channels = pixels.shape[-1]
    if channels == 3:
        return pixels
    if channels == 2:
        return np.stack([pixels[..., 0], pixels.max(axis=-1) // 3, pixels[..., 1]], axis=-1)
    grey = pixels.mean(axis=-1).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)


def enlarge(array: NDArray[Scalar], height: int, width: int) -> NDArray[Scalar]:
    """Repeat the nearest element, ``[h, w, ...] -> [height, width, ...]``."""
    rows = np.arange(height) * array.shape[0] // height
    columns = np.arange(width) * array.shape[1] // width
    large: NDArray[Scalar] = array[rows][:, columns]
    return large


def overlay(picture: NDArray[np.uint8], heat: NDArray[np.float64], most: float) -> NDArray[np.uint8]:
    """Lay a map over a picture: warm where it is positive, cold where it is negative, the dimmed picture where it is 0.

    Args:
        picture: uint8 ``[H, W, 3]``.
        heat: of a coarser grid, ``[h, w]``.
        most: what the strongest colour stands for.

    Returns:
        uint8 ``[H, W, 3]``.

    """
    from matplotlib import colormaps

    height, width = picture.shape[:2]
    strength = np.clip(heat / (most or 1.0), -1, 1)
    warm, cold = colormaps["inferno"], colormaps["Blues"]
    colours = np.where((strength >= 0)[..., None], warm(0.25 + 0.7 * np.abs(strength)), cold(0.35 + 0.3 * np.abs(strength)))[..., :3]
    weight = enlarge(0.85 * np.abs(strength) ** 0.7, height, width)[..., None]
    mixed = (1 - weight) * picture * 0.62 + weight * enlarge(colours, height, width) * 255
    return np.asarray(mixed.round(), np.uint8)


def mosaic(picture: NDArray[np.uint8], heats: NDArray[np.float64], heads: Sequence[int], steps: Sequence[str]) -> str:
    """Draw a grid of overlays, a row a head, a column a time step; the picture itself stands at the left. Every head has its own scale.

    Args:
        picture: uint8 ``[H, W, 3]``.
        heats: ``[heads, steps, h, w]``.
        heads: their numbers.
        steps: their names.

    """
    side = max(picture.shape[:2])
    factor = max(-(-_SMALLEST // side), 1) if side < _LARGEST else _LARGEST / side
    height, width = (max(round(size * factor), 1) for size in picture.shape[:2])
    large = enlarge(picture, height, width)
    image = np.zeros((len(heads) * (height + _GAP) - _GAP, (len(steps) + 1) * (width + _GAP) - _GAP, 4), np.uint8)
    for row in range(len(heads)):
        most = float(np.abs(heats[row]).max())
        cells = [large, *(overlay(large, heats[row, column], most) for column in range(len(steps)))]
        for column, cell in enumerate(cells):
            top, left = row * (height + _GAP), column * (width + _GAP)
            image[top : top + height, left : left + width, :3] = cell
            image[top : top + height, left : left + width, 3] = 255

    def paint(axes: "Axes") -> None:
        axes.imshow(image, interpolation="none")
        axes.set_yticks([row * (height + _GAP) + height / 2 for row in range(len(heads))], [f"head {head}" for head in heads])
        axes.set_xticks([column * (width + _GAP) + width / 2 for column in range(len(steps) + 1)], ["input", *steps])
        axes.xaxis.tick_top()
        axes.tick_params(length=0, labelcolor=ROLES["muted"])
        for spine in axes.spines.values():
            spine.set_visible(False)

    inches = 4.4
    tall = inches * image.shape[0] / image.shape[1]
    return draw(inches + 0.58, tall + 0.3, (0.54, 0.04, 0.04, 0.26), paint)
