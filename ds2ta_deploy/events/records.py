"""Files that are a row of records of one size, read as they come: a pipe does as well as a file."""

from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.errors import InputError, Problem
from ds2ta_deploy.events.batch import EventBatch

#: Says where in the recording an event of a batch lies, for people: ``record 17, byte 85``.
Place = Callable[[int], str]

#: A batch, and where its events lie.
Located = tuple[EventBatch, Place]

#: Records that are asked for at once; a pipe may give fewer.
_AT_ONCE = 2**16


def record_batches(file: BinaryIO, size: int, start: int, where: str) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield the number of the first record and the records, uint8 ``[N, size]``, as soon as there are whole ones.

    Args:
        file: stands at the first record.
        size: bytes of a record.
        start: byte of the first record, for messages.
        where: what messages call the file.

    Raises:
        InputError: DS2TA-181 when the file ends within a record.

    """
    number, rest = 0, b""
    while data := _some(file, _AT_ONCE * size):
        data = rest + data
        whole = len(data) // size
        rest = data[whole * size :]
        if whole:
            yield number, np.frombuffer(data, np.uint8, whole * size).reshape(whole, size)
            number += whole
    if rest:
        what = f"is cut: {len(rest)} of the {size} bytes of the last record"
        place = f"{where}, record {number}, byte {start + number * size}"
        raise InputError(Problem("DS2TA-181", what, place, "copy or record the file again"))


def _some(file: BinaryIO, most: int) -> bytes:
    """Read what is there, at most so many bytes; nothing only at the end. A buffered reader would wait for all of them."""
    read = getattr(file, "read1", file.read)
    data: bytes = read(most)
    return data


def record_place(numbers: NDArray[np.int64], size: int, start: int, index: int) -> str:
    """Say where the record of an event lies, given the records' numbers; a :data:`Place` when all but the index is bound."""
    return f"record {numbers[index]}, byte {start + int(numbers[index]) * size}"
