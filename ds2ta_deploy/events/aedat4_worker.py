"""Unpacks one AEDAT4 file to standard output: ``python aedat4_worker.py FILE SECONDS``. Also run alone, without the package around it.

It writes messages: a kind (one byte), a size (8 bytes), the message. First the sensor, then batches of events; an empty batch
is the end.
"""

import os
import resource
import struct
import sys
from pathlib import Path
from typing import BinaryIO

import numpy as np

HEAD, SIZE = struct.Struct("<cq"), struct.Struct("<ii")

#: Kinds of message: the sensor's width and height; events; what is wrong.
SENSOR, EVENTS, SAYS = b"S", b"E", b"X"

#: An event as dv-processing gives it.
EVENT = np.dtype(
    {"names": ["timestamp", "x", "y", "polarity"], "formats": ["<i8", "<i2", "<i2", "i1"], "offsets": [0, 8, 10, 12], "itemsize": 16}
)

#: Bytes of address space for any file, and for each of its bytes.
_SPACE, _SPACE_A_BYTE = 2**32, 4


def _say(out: BinaryIO, kind: bytes, message: bytes) -> None:
    out.write(HEAD.pack(kind, len(message)))
    out.write(message)
    out.flush()


def _unpack(path: str, out: BinaryIO) -> None:
    import dv_processing

    recording = dv_processing.io.MonoCameraRecording(path)
    if not recording.isEventStreamAvailable():
        raise RuntimeError("it has no events, only other streams")
    _say(out, SENSOR, SIZE.pack(*recording.getEventResolution()))
    while (store := recording.getNextEventBatch()) is not None:
        events = store.numpy()
        if len(events):
            _say(out, EVENTS, np.ascontiguousarray(events.astype(EVENT, copy=False)).tobytes())
    _say(out, EVENTS, b"")


def _limit(kind: int, most: int) -> None:
    """Limit a resource of this process, but never beyond the limit it was started under."""
    hard = resource.getrlimit(kind)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(kind, (most, most))


def main(path: str, seconds: int) -> None:
    """Unpack a file within so many seconds of computing; whatever the library prints goes elsewhere."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _limit(resource.RLIMIT_CORE, 0)  # what breaks leaves nothing behind
    _limit(resource.RLIMIT_CPU, seconds)
    _limit(resource.RLIMIT_AS, _SPACE + Path(path).stat().st_size * _SPACE_A_BYTE)
    try:
        _unpack(path, out)
    except (RuntimeError, ValueError, OverflowError, MemoryError, OSError) as error:
        _say(out, SAYS, f"{error}"[:500].encode())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
