"""AEDAT4, the files of iniVation's cameras, unpacked by dv-processing in a process of its own.

That library was seen to run for ever on a file of which five bytes were changed. Here it has a bounded time and memory, and
takes nothing but itself along when it breaks.
"""

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np

from ds2ta_deploy.errors import InputError, MissingRuntimeError, Problem
from ds2ta_deploy.events.aedat4_container import require_whole
from ds2ta_deploy.events.aedat4_worker import EVENT, EVENTS, HEAD, SAYS, SENSOR, SIZE
from ds2ta_deploy.events.batch import EventBatch, Sensor
from ds2ta_deploy.events.records import Located
from ds2ta_deploy.reading import open_regular

#: Seconds of computing that unpacking may take, and bytes for which there is one more.
_SECONDS, _BYTES_A_SECOND = 5, 2**20

_LIBRARY = "dv_processing"

_WORKER = Path(__file__).with_name("aedat4_worker.py")


@contextmanager
def open_aedat4(path: Path) -> Iterator[tuple[Sensor, Iterator[Located]]]:
    """Open a recording: the sensor's size, and its events as they are unpacked.

    Raises:
        MissingRuntimeError: DS2TA-401 when dv-processing is not installed.
        InputError: DS2TA-180 when it is no AEDAT4 file or cannot be unpacked, DS2TA-181 when it is cut.

    """
    if importlib.util.find_spec(_LIBRARY) is None:
        raise MissingRuntimeError(
            Problem("DS2TA-401", "reading AEDAT4 needs dv-processing", str(path), "pip install 'ds2ta-deploy[events]'")
        )
    with open_regular(path) as file:
        require_whole(file, str(path))
    seconds = _SECONDS + path.stat().st_size // _BYTES_A_SECOND
    command = [sys.executable, "-P", str(_WORKER), str(path.absolute()), str(seconds)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as worker:  # noqa: S603
        try:
            pipe = worker.stdout
            if pipe is None:
                raise TypeError("the pipe was asked for")
            yield Sensor(*SIZE.unpack(_expect(pipe, SENSOR, path))), _batches(pipe, path)
        finally:
            worker.kill()


def _batches(pipe: IO[bytes], path: Path) -> Iterator[Located]:
    number = 0
    while data := _expect(pipe, EVENTS, path):
        events = np.frombuffer(data, EVENT)
        polarity = (events["polarity"] != 0).astype(np.uint8)
        batch = EventBatch(events["timestamp"].copy(), events["x"].copy(), events["y"].copy(), polarity)
        yield batch, partial(_place, number)
        number += len(events)


def _place(first: int, index: int) -> str:
    return f"event {first + index}"


def _expect(pipe: IO[bytes], kind: bytes, path: Path) -> bytes:
    """Read a message of this kind; the worker's last words, or its silence, are errors."""
    head = pipe.read(HEAD.size)
    if len(head) == HEAD.size:
        said, size = HEAD.unpack(head)
        message = pipe.read(size)
        if len(message) == size and said == kind:
            return message
        if said == SAYS:
            raise InputError(Problem("DS2TA-180", f"cannot be unpacked: {message.decode(errors='replace')}", str(path)))
    raise InputError(Problem("DS2TA-180", "cannot be unpacked: dv-processing broke down, or took too long", str(path)))
