"""Files that commands write: whole or not at all, and never over another one."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from ds2ta_deploy.errors import Problem, UsageError


def require_free(path: Path) -> None:
    """Refuse a file that cannot be written, before the work starts.

    Raises:
        UsageError: DS2TA-501 when it exists, DS2TA-502 when its directory does not.

    """
    if os.path.lexists(path):
        raise UsageError(Problem("DS2TA-501", "the output exists already", str(path), "remove it or choose another name with -o"))
    if not path.parent.is_dir():
        raise UsageError(Problem("DS2TA-502", "there is no such directory", str(path.parent)))


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write under a temporary name, then rename: nothing half-written.

    Raises:
        UsageError: DS2TA-502 when it cannot be written.

    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            write(file)
        partial.rename(path)
    except OSError as error:
        raise UsageError(Problem("DS2TA-502", f"cannot be written: {error.strerror or error}", str(path))) from error
    finally:
        partial.unlink(missing_ok=True)
