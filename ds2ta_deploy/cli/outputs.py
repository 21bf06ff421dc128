"""Files that commands write: never over another one."""

import os
from pathlib import Path

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
