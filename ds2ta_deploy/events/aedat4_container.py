r"""The outer structure of AEDAT4: whether a recording is whole can be told without unpacking anything.

The file is ``#!AER-DAT4.0\r\n``, a FlatBuffer that says where the table of contents is, packets, and that table. A packet is
two little-endian words, its stream and its size, and as many bytes. (Specification: AEDAT 4.0, iniVation.)
"""

import os
import struct
from typing import BinaryIO

from ds2ta_deploy.errors import InputError, Problem

_MAGIC, _IDENTIFIER = b"#!AER-DAT4.0\r\n", b"IOHE"

#: Bytes of a header beyond which nobody describes streams.
_LONGEST_HEADER = 2**24

#: Index of the header's field with the position of the table of contents, in its FlatBuffer.
_TABLE_FIELD = 1

_PACKET = struct.Struct("<iI")


def require_whole(file: BinaryIO, where: str) -> None:
    """Walk from packet to packet.

    Raises:
        InputError: DS2TA-180 when it is no AEDAT4 file, DS2TA-181 when it ends within a packet or before its table of contents.

    """
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    if file.read(len(_MAGIC)) != _MAGIC:
        raise InputError(Problem("DS2TA-180", "has no header of an AEDAT4 file", f"{where}, byte 0"))
    prefix = file.read(4)
    size = int.from_bytes(prefix, "little")
    position = len(_MAGIC) + 4 + size
    header = file.read(min(size, _LONGEST_HEADER))
    if len(prefix) < 4 or (len(header) < size <= _LONGEST_HEADER):
        raise _cut(f"its header of {size:,} bytes is not all there", end, where)
    table = _table_position(header)
    if table is None or len(header) < size or 0 <= table < position:
        raise InputError(Problem("DS2TA-180", "has a damaged header", f"{where}, byte {len(_MAGIC)}"))
    if table > end:
        raise _cut(f"its table of contents should be at byte {table:,}", end, where)
    last = end if table < 0 else table
    while position < last:
        file.seek(position)
        packet = file.read(_PACKET.size)
        size = _PACKET.unpack(packet)[1] if len(packet) == _PACKET.size else 0
        after = position + _PACKET.size + size
        if after > last:
            raise _cut("its last packet is not all there", position, where)
        position = after


def _table_position(header: bytes) -> int | None:
    """Return where the table of contents is, -1 when there is none, None when the FlatBuffer is none."""
    if header[4:8] != _IDENTIFIER:
        return None
    try:
        root = struct.unpack_from("<I", header)[0]
        fields = root - struct.unpack_from("<i", header, root)[0]
        size = struct.unpack_from("<H", header, fields)[0] if fields >= 0 else 0
        entry = 4 + 2 * _TABLE_FIELD
        offset = struct.unpack_from("<H", header, fields + entry)[0] if size >= entry + 2 else 0
        position: int = struct.unpack_from("<q", header, root + offset)[0] if offset else -1
    except struct.error:
        return None
    return position


def _cut(what: str, byte: int, where: str) -> InputError:
    return InputError(Problem("DS2TA-181", f"is cut: {what}", f"{where}, byte {byte}", "copy or record the file again"))
