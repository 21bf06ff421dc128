"""Prophesee's ``.dat``, as N-Cars is stored: lines of text that begin with ``%``, two bytes, then eight bytes an event."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

import numpy as np

from ds2ta_deploy.errors import InputError, Problem
from ds2ta_deploy.events.batch import EventBatch, Sensor
from ds2ta_deploy.events.records import Located, record_batches, record_place

#: Largest pictures of N-Cars, whose files do not say their size.
NCARS_SENSOR = Sensor(120, 100)

#: Microseconds after which its timestamps, 32 bits, begin again: 72 minutes.
DAT_CLOCK = 2**32

_SIZE = 8

#: Types of record that are a pixel's event, ``Event2d`` and ``EventCD``: both have the same bits.
_EVENT_TYPES = (0, 12)

_VERSION = 2

_LONGEST_LINE, _MOST_LINES = 1024, 64

_X_BITS, _Y_SHIFT, _POLARITY_SHIFT = 0x3FFF, 14, 28


@dataclass(frozen=True)
class DatHeader:
    """What stands before the events.

    Attributes:
        sensor: the size that the file says; None when it says none.
        start: byte of the first event.

    """

    sensor: Sensor | None
    start: int


def read_dat_header(file: BinaryIO, where: str) -> DatHeader:
    """Read up to the first event.

    Raises:
        InputError: DS2TA-180 when it is no header of version 2 of pixels' events.

    """
    said: dict[str, str] = {}
    start = lines = 0
    while (mark := file.read(1)) == b"%":
        line = file.readline(_LONGEST_LINE)
        start, lines = start + 1 + len(line), lines + 1
        if not line.endswith(b"\n") or lines > _MOST_LINES:
            raise _unknown("its header does not end", f"{where}, byte {start}")
        words = re.fullmatch(r"\s*(\S+)\s+(.*?)\s*", line.decode("latin-1"))
        if words:
            said.setdefault(words[1].lower(), words[2])
    kind = mark + file.read(1)
    if not lines or len(kind) < 2:
        raise _unknown("has no header of a Prophesee .dat file" if not lines else "ends with its header", f"{where}, byte {start}")
    if said.get("version") != str(_VERSION):
        raise _unknown(f"is of version {said.get('version', 'unknown')}, only version {_VERSION} is known", where)
    if kind[0] not in _EVENT_TYPES or kind[1] != _SIZE:
        what = f"has records of type {kind[0]} and {kind[1]} bytes, events of pixels are of type 0 or 12 and {_SIZE} bytes"
        raise _unknown(what, f"{where}, byte {start}")
    return DatHeader(_said_sensor(said, where), start + 2)


def _said_sensor(said: dict[str, str], where: str) -> Sensor | None:
    """Return the size that a header says."""
    sizes = [said[name] for name in ("width", "height") if name in said]
    if not sizes:
        return None
    if len(sizes) != 2 or not all(re.fullmatch("[0-9]{1,5}", size) and 0 < int(size) <= _X_BITS + 1 for size in sizes):
        raise _unknown(f"its header says no size of a sensor: {' and '.join(sizes)}", where)
    return Sensor(*map(int, sizes))


def _unknown(what: str, where: str) -> InputError:
    return InputError(Problem("DS2TA-180", what, where))


def read_dat(file: BinaryIO, header: DatHeader, where: str) -> Iterator[Located]:
    """Yield the events: two little-endian words of 32 bits, microseconds, then x (14 bits), y (14), polarity (1), from the lowest.

    Raises:
        InputError: DS2TA-181 when the file ends within a record.

    """
    for first, records in record_batches(file, _SIZE, header.start, where):
        words = records.view("<u4")
        times, pixels = words[:, 0].astype(np.int64), words[:, 1]
        x, y = (part.astype(np.int16) for part in (pixels & _X_BITS, pixels >> _Y_SHIFT & _X_BITS))
        batch = EventBatch(times, x, y, (pixels >> _POLARITY_SHIFT & 1).astype(np.uint8))
        yield batch, partial(record_place, first + np.arange(len(batch)), _SIZE, header.start)
