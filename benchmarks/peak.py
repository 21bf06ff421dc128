"""The most dense 8-bit multiply-accumulates a second that one core can do: measured, not read from a data sheet."""

import ctypes
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

_SOURCE = Path(__file__).with_name("peak.c")

#: Rounds of twelve instructions in one measurement: under a millisecond.
_ROUNDS = 200_000


class Peak(NamedTuple):
    """What was measured: products a second, and the instructions that do them."""

    products_a_second: float
    instructions: str


class DensePeak:
    """The kernels of ``peak.c``, compiled for this machine when made."""

    def __init__(self) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if compiler is None:
            raise FileNotFoundError("the dense peak is measured with a C program, and there is no C compiler")
        with tempfile.TemporaryDirectory() as folder:
            library = Path(folder) / "peak.so"
            command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(_SOURCE)]
            subprocess.run(command, check=True)  # noqa: S603 - a compiler on a file of ours
            self._run = ctypes.CDLL(str(library)).ds2ta_peak
        self._run.restype = ctypes.c_double
        self._run.argtypes = [ctypes.c_long, ctypes.POINTER(ctypes.c_char_p)]

    def measure(self) -> Peak:
        """Run every kernel that works here for a moment; the fastest counts."""
        name = ctypes.c_char_p()
        speed = self._run(_ROUNDS, ctypes.byref(name))
        return Peak(speed, (name.value or b"").decode())
