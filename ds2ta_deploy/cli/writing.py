"""Files that commands write: whole, or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ds2ta_deploy.errors import Problem, UsageError


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """Yield a file to write under a temporary name; it gets its own when everything went well, and otherwise disappears.

    Raises:
        UsageError: DS2TA-502 when it cannot be written; what was there stays as it was.

    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(path)
    except OSError as error:
        raise UsageError(Problem("DS2TA-502", f"cannot be written: {error.strerror or error}", str(path))) from error
    finally:
        partial.unlink(missing_ok=True)
