"""The options that say how a recording of events becomes frames."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from ds2ta_deploy.events.batch import Sensor

Function = TypeVar("Function", bound=Callable[..., Any])

#: Help of an option that takes inputs.
INPUTS = (
    ".npz with uint8 'images' or 'frames', a directory of idx files, pictures in class folders (a directory or .zip), python "
    "batches of CIFAR-10, a recording of events (.aedat4, .bin of N-MNIST, .dat of Prophesee), or a directory with a folder of "
    "recordings for each class"
)

_LONGEST_FRAME = 2**40


def _read_frames(_context: click.Context, _parameter: click.Parameter, value: str) -> str | int:
    """``time``, ``count``, or microseconds."""
    if value in ("time", "count"):
        return value
    if value.isascii() and value.isdigit() and len(value) < 14 and 0 < int(value) <= _LONGEST_FRAME:
        return int(value)
    raise click.BadParameter("give 'time', 'count', or the microseconds of a frame, as 20000")


def _read_sensor(_context: click.Context, _parameter: click.Parameter, value: str | None) -> "Sensor | None":
    """``320x240`` is width by height, as cameras are described."""
    from ds2ta_deploy.events.batch import Sensor

    if value is None:
        return None
    sides = value.lower().split("x")
    if len(sides) != 2 or not all(side.isascii() and side.isdigit() and 0 < len(side) < 6 and int(side) > 0 for side in sides):
        raise click.BadParameter("give width and height in pixels, as 320x240")
    return Sensor(int(sides[0]), int(sides[1]))


_OPTIONS = (
    click.option(
        "--event-frames",
        metavar="RULE",
        default="time",
        show_default=True,
        callback=_read_frames,
        help="Recordings: T frames of equal duration (time) or of equally many events (count); a number: microseconds of a frame, "
        "T frames a sample.",
    ),
    click.option(
        "--event-fit",
        type=click.Choice(["downsample", "crop"]),
        default="downsample",
        show_default=True,
        help="Recordings: count squares of the sensor's pixels together until it fits, or take its centre.",
    ),
    click.option(
        "--event-sensor", metavar="WIDTHxHEIGHT", callback=_read_sensor, help="Recordings: the sensor's pixels.  [default: as in the file]"
    ),
)


def event_options(command: Function) -> Function:
    """Add the options; the command gets them as ``reading``, an :class:`~ds2ta_deploy.events.frames.EventReading`."""

    @functools.wraps(command)
    def with_reading(*arguments: Any, event_frames: Any, event_fit: Any, event_sensor: "Sensor | None", **options: Any) -> Any:
        from ds2ta_deploy.events.frames import EventReading

        return command(*arguments, reading=EventReading(event_frames, event_fit, event_sensor), **options)

    decorated: Any = with_reading
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    wrapped: Function = decorated
    return wrapped
