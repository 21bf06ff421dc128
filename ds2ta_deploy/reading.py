"""What every reader of a stranger's file asks first: is it a file at all, and how far may it expand."""

import errno
import lzma
import os
import stat
import struct
import tokenize
import zipfile
import zlib
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from ds2ta_deploy.errors import InputError, Problem

#: Bytes that a compressed file may expand to whatever its size, and how many times its size beyond them. A billion zeros fit
#: into a megabyte; pictures and event frames that somebody recorded stay far below.
FREE_EXPANSION, MOST_EXPANSION = 2**28, 100

#: What NumPy and zipfile raise on damaged archives.
ARCHIVE_ERRORS = (
    OSError,
    ValueError,
    zipfile.BadZipFile,
    EOFError,
    TypeError,
    AttributeError,
    zlib.error,
    RuntimeError,
    MemoryError,
    KeyError,
    OverflowError,
    struct.error,
    lzma.LZMAError,
    SyntaxError,  # an array's header is a Python literal
    tokenize.TokenError,
)


def open_regular(path: Path) -> BufferedReader:
    """Open a file for reading; what is no regular file is refused: a pipe would block for ever, a device never ends.

    Raises:
        OSError: when it cannot be opened, is no regular file, or its name is none.

    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError as error:  # a NUL or half a surrogate pair in the name
        raise OSError(errno.EINVAL, str(error), str(path)) from error
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    number, words = (errno.EISDIR, os.strerror(errno.EISDIR)) if stat.S_ISDIR(mode) else (errno.EINVAL, "it is no regular file")
    raise OSError(number, words, str(path))


def read_regular(path: Path) -> bytes:
    """Return a regular file's bytes; errors as :func:`open_regular`."""
    with open_regular(path) as file:
        return file.read()


def most_expanded(stored: int) -> int:
    """Bytes that ``stored`` bytes of a compressed file may expand to.

    Example:
        >>> most_expanded(10**9)
        100268435456

    """
    return FREE_EXPANSION + MOST_EXPANSION * stored


def too_expanded(stored: int, where: object) -> Problem:
    """Return the problem of a compressed file that expands beyond all measure."""
    return Problem(
        "DS2TA-136", f"expands from {stored:,} bytes to more than {most_expanded(stored):,}", str(where), "store it uncompressed"
    )


def require_modest(file: BinaryIO, where: object) -> int:
    """Require that a zip archive does not expand beyond all measure; its directory says how far, and unpacking stops there.

    Returns:
        The bytes that are stored; the file stands at its beginning again.

    Raises:
        InputError: DS2TA-136 when it expands further.
        OSError, zipfile.BadZipFile, and what else ``zipfile`` raises when it is no archive.

    """
    stored = file.seek(0, os.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        expanded = sum(member.file_size for member in archive.infolist())
    if expanded > most_expanded(stored):
        raise InputError(too_expanded(stored, where))
    file.seek(0)
    return stored
