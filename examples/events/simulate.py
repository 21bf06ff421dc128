"""Fashion-MNIST as an event camera would see it: still pictures that move along three straight lines, as N-MNIST was made.

    python examples/events/simulate.py -o DIR --split test --count 20

writes N-MNIST files, ``DIR/<class>/<number>.bin``. What is simulated:

* The picture, 28x28, lies on a sensor of 34x34 pixels and moves from corner to corner of a triangle, 100 ms a side, with
  bilinear interpolation between pixels. A pixel of value v has the intensity 0.1 + v/255.
* Every pixel remembers a level of log intensity, and gives an event (timestamp interpolated within the step) each time that
  the intensity has moved from it by the pixel's contrast threshold, which becomes the new level.
* Thresholds differ from pixel to pixel, as they do on a chip: normal around 0.4 with a deviation of 0.03. They are the only
  thing that is random, and depend on the seed and the number of the picture alone.
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Literal

import click
import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.datasets import FASHION_MNIST, read_idx_directory
from ds2ta_deploy.events.batch import EventBatch, Sensor
from ds2ta_deploy.events.nmnist import NMNIST_SENSOR, nmnist_bytes

#: The corners of the path, (row, column) of the picture's upper left pixel; the last one is the first.
_CORNERS = ((1.0, 0.0), (5.0, 3.0), (1.0, 6.0), (1.0, 0.0))

_SIDE_MICROSECONDS, _STEPS_A_SIDE = 100_000, 20

_DARKEST, _CONTRAST, _CONTRAST_DEVIATION, _LEAST_CONTRAST = 0.1, 0.4, 0.03, 0.2

#: Pictures that are simulated at once.
_AT_ONCE = 100


def path() -> list[tuple[int, float, float]]:
    """Return ``(microseconds, row, column)`` of the picture after every step, the start included."""
    points = [(0, *_CORNERS[0])]
    for side, (here, there) in enumerate(pairwise(_CORNERS)):
        for step in range(1, _STEPS_A_SIDE + 1):
            part = step / _STEPS_A_SIDE
            time = (side * _STEPS_A_SIDE + step) * _SIDE_MICROSECONDS // _STEPS_A_SIDE
            points.append((time, here[0] + part * (there[0] - here[0]), here[1] + part * (there[1] - here[1])))
    return points


def seen(images: NDArray[np.float64], row: float, column: float, sensor: Sensor) -> NDArray[np.float64]:
    """Return the log intensity of every sensor pixel, ``[B, 34, 34]``, while the pictures ``[B, 28, 28]`` lie at a place."""
    below, right = row % 1, column % 1
    scene = np.zeros((len(images), sensor.height + 1, sensor.width + 1))
    for rows, columns, share in (
        (0, 0, (1 - below) * (1 - right)),
        (0, 1, (1 - below) * right),
        (1, 0, below * (1 - right)),
        (1, 1, below * right),
    ):
        top, left = int(row) + rows, int(column) + columns
        scene[:, top : top + images.shape[1], left : left + images.shape[2]] += share * images
    intensity: NDArray[np.float64] = np.log(_DARKEST + scene[:, : sensor.height, : sensor.width])
    return intensity


def simulate(images: NDArray[np.uint8], first: int = 0, *, seed: int = 0, sensor: Sensor = NMNIST_SENSOR) -> Iterator[EventBatch]:
    """Yield the recording of each picture ``[B, 28, 28]``; they are those from number ``first`` of their data set on."""
    for start in range(0, len(images), _AT_ONCE):
        part = images[start : start + _AT_ONCE]
        yield from _simulate(part / 255.0, first + start, seed, sensor)


def _simulate(images: NDArray[np.float64], first: int, seed: int, sensor: Sensor) -> Iterator[EventBatch]:
    """Move all pictures along the path together, then take their events apart."""
    contrast = np.stack([_thresholds(first + number, seed, sensor) for number in range(len(images))])
    points = path()
    before = level = seen(images, *points[0][1:], sensor)
    found = [np.zeros((5, 0), np.int64)]  # rows: picture, timestamp, y, x, polarity
    for (start, *_), (end, row, column) in pairwise(points):
        now = seen(images, row, column, sensor)
        crossed = np.trunc((now - level) / contrast).astype(np.int64)
        for number in range(1, np.abs(crossed).max(initial=0) + 1):
            where = np.nonzero(np.abs(crossed) >= number)
            sign = np.sign(crossed[where])
            reached = level[where] + sign * number * contrast[where]
            change = now[where] - before[where]
            # Rounding may let a level be reached although nothing changes: then, at the end of the step.
            part = np.divide(reached - before[where], change, out=np.ones_like(change), where=change != 0)
            time = start + ((end - start) * part.clip(0, 1)).astype(np.int64)
            found.append(np.stack([where[0], time, where[1], where[2], sign > 0]))
        level = level + crossed * contrast
        before = now
    events = np.concatenate(found, axis=1)
    events = events[:, np.lexsort(events[::-1])]
    for picture in np.split(events, np.searchsorted(events[0], range(1, len(images))), axis=1):
        yield EventBatch(picture[1], picture[3].astype(np.int16), picture[2].astype(np.int16), picture[4].astype(np.uint8))


def _thresholds(number: int, seed: int, sensor: Sensor) -> NDArray[np.float64]:
    drawn = np.random.default_rng((seed, number)).normal(_CONTRAST, _CONTRAST_DEVIATION, (sensor.height, sensor.width))
    return drawn.clip(_LEAST_CONTRAST)


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=FASHION_MNIST,
    show_default=True,
    help="Directory with the four idx files.",
)
@click.option("--split", type=click.Choice(["train", "test"]), default="test", show_default=True)
@click.option("--count", default=100, show_default=True, help="Pictures, from the first on.")
@click.option("--seed", default=0, show_default=True, help="Of the pixels' thresholds.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Directory to write.")
def main(data: Path, split: Literal["train", "test"], count: int, seed: int, output: Path) -> None:
    """Write recordings of pictures as N-MNIST files, one folder a class."""
    pictures = read_idx_directory(data, split)
    images, labels = pictures.images[:count, :, :, 0], pictures.labels
    if labels is None:
        raise click.ClickException(f"{data} has no labels")
    for number, events in enumerate(simulate(images, seed=seed)):
        folder = output / str(labels[number])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:05}.bin").write_bytes(nmnist_bytes(events))
    click.echo(f"wrote {len(images)} recordings to {output}", err=True)


if __name__ == "__main__":
    main()
