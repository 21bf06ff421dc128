"""What hostile PyTorch files are made of. Needs no PyTorch."""

import os
import pickle
import zipfile
from pathlib import Path


def zipped(path: Path, data: bytes, *, compress: bool = False, **more: bytes) -> Path:
    """Write a PyTorch file around a pickle."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
        for name, member in more.items():
            archive.writestr(f"archive/{name}", member)
    return path


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, sign: Path) -> None:
        self.sign = sign

    def __reduce__(self):
        return (os.system, (f"touch {self.sign}",))


class Nested:
    """Unpickles a pickle inside the pickle."""

    def __init__(self, inner: bytes) -> None:
        self.inner = inner

    def __reduce__(self):
        return (pickle.loads, (self.inner,))
