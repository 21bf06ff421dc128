"""What every reader of a stranger's file asks first: is it a file at all, and how far may it expand."""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

#: Bytes that a compressed file may expand to whatever its size, and how many times its size beyond them. A billion zeros fit
#: into a megabyte; pictures and event frames that somebody recorded stay far below.
FREE_EXPANSION, MOST_EXPANSION = 2**28, 100


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
