"""Recordings of events: opened by the name of the file or read from a stream, and checked event by event as they come."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ds2ta_deploy.errors import InputError, Problem
from ds2ta_deploy.events.aedat4 import open_aedat4
from ds2ta_deploy.events.batch import EventBatch, Sensor
from ds2ta_deploy.events.nmnist import NMNIST_CLOCK, NMNIST_SENSOR, read_nmnist
from ds2ta_deploy.events.prophesee import DAT_CLOCK, NCARS_SENSOR, read_dat, read_dat_header
from ds2ta_deploy.events.records import Located
from ds2ta_deploy.reading import open_regular

#: Ends of the names of recordings.
EVENT_SUFFIXES = (".aedat4", ".bin", ".dat")

#: Timestamps end here, 142 years: a time times a number of frames stays within 64 bits.
_LAST_TIMESTAMP = 2**52


@dataclass(frozen=True)
class Recording:
    """A recording that is being read.

    Attributes:
        sensor: of the camera.
        batches: the events, once, in bounded memory; raises InputError DS2TA-181 to 184 where they are wrong.

    """

    sensor: Sensor
    batches: Iterator[EventBatch]


def is_recording(path: Path) -> bool:
    """Whether a file's name is that of a recording of events."""
    return path.suffix.lower() in EVENT_SUFFIXES


@contextmanager
def open_recording(path: Path, sensor: Sensor | None = None) -> Iterator[Recording]:
    """Open an ``.aedat4``, ``.bin`` (N-MNIST) or ``.dat`` (Prophesee) file.

    Args:
        path: of the file.
        sensor: size of the sensor; by default what the file says, or, where its format has no room for that, what the data
            set of that format has.

    Raises:
        InputError: DS2TA-180 for an unknown name or header. While it is read: 181 when the file is cut, 182 when an event is
            outside the sensor, 183 when time runs backwards, 184 when there is no event.
        MissingRuntimeError: DS2TA-401 when the format needs a library that is not installed.

    Example:
        >>> with open_recording(Path("sample.aedat4")) as recording:  # doctest: +SKIP
        ...     print(recording.sensor, sum(len(batch) for batch in recording.batches))
        320x240 111954

    """
    with ExitStack() as opened:
        try:
            if path.suffix.lower() == ".aedat4":
                said, located = opened.enter_context(open_aedat4(path))
                recording = Recording(sensor or said, _checked(located, sensor or said, str(path)))
            else:
                file = opened.enter_context(open_regular(path))
                recording = stream_recording(file, path.suffix, sensor, str(path))
        except OSError as error:
            raise InputError(Problem("DS2TA-180", f"cannot be read: {error.strerror or error}", str(path))) from error
        yield recording


def stream_recording(file: BinaryIO, suffix: str, sensor: Sensor | None = None, where: str = "standard input") -> Recording:
    """Read a recording from a file or a pipe; events are there as soon as their bytes are.

    Args:
        file: where the recording begins.
        suffix: format, ``.bin`` or ``.dat``.
        sensor: as for :func:`open_recording`.
        where: what messages call the file.

    Raises:
        InputError: as :func:`open_recording`; an AEDAT4 file cannot be streamed.

    """
    if suffix.lower() == ".bin":
        size = sensor or NMNIST_SENSOR
        return Recording(size, _checked(unwrapped(read_nmnist(file, where), NMNIST_CLOCK), size, where))
    if suffix.lower() == ".dat":
        header = read_dat_header(file, where)
        size = sensor or header.sensor or NCARS_SENSOR
        return Recording(size, _checked(unwrapped(read_dat(file, header, where), DAT_CLOCK), size, where))
    advice = f"there are: {', '.join(EVENT_SUFFIXES)}"
    raise InputError(Problem("DS2TA-180", f"{suffix!r} is no format of events that can be read here", where, advice))


def unwrapped(located: Iterable[Located], period: int) -> Iterator[Located]:
    """Let time go on where a clock of ``period`` microseconds begins again: a step back of more than half of it is one around."""
    turns, last = 0, 0
    for batch, place in located:
        times = batch.timestamps
        back = np.diff(times, prepend=last if len(times) else 0) < -(period // 2)
        last = int(times[-1]) if len(times) else last
        made = times + (turns + np.cumsum(back)) * period
        turns += int(back.sum())
        yield EventBatch(made, batch.x, batch.y, batch.polarity), place


def _checked(located: Iterable[Located], sensor: Sensor, where: str) -> Iterator[EventBatch]:
    """Pass events on that are within the sensor and in order of time; there has to be at least one."""
    last, empty = 0, True
    for batch, place in located:
        if not len(batch):
            continue
        outside = (batch.x < 0) | (batch.x >= sensor.width) | (batch.y < 0) | (batch.y >= sensor.height)
        if outside.any():
            index = int(outside.argmax())
            what = f"has an event at ({batch.x[index]}, {batch.y[index]}), outside the sensor of {sensor} pixels"
            advice = "if the sensor has another size, say it: --event-sensor WIDTHxHEIGHT"
            raise InputError(Problem("DS2TA-182", what, f"{where}, {place(index)}", advice))
        times = batch.timestamps
        backwards = np.concatenate([times[:1] < last, times[1:] < times[:-1]]) | (times > _LAST_TIMESTAMP)
        if backwards.any():
            index = int(backwards.argmax())
            before = int(times[index - 1]) if index else last
            beyond = times[index] > _LAST_TIMESTAMP
            what = f"has an event at {times[index]} microseconds, " + ("which is no time" if beyond else f"after one at {before}")
            raise InputError(Problem("DS2TA-183", what, f"{where}, {place(index)}"))
        last, empty = int(times[-1]), False
        yield batch
    if empty:
        raise InputError(Problem("DS2TA-184", "has no event", where))
