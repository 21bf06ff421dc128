"""Runtime ``c``: the exported C code, compiled by this machine's compiler and loaded as a library."""

import ctypes
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.artifact import Artifact
from ds2ta_deploy.c_code.files import DATA, SOURCES, C, files_of
from ds2ta_deploy.c_code.program import Program, build_program
from ds2ta_deploy.errors import InputError, MissingRuntimeError, Problem, RuntimeFailedError
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.ops import ValueType
from ds2ta_deploy.runtimes.base import Runtime, Trace, require_known

#: The command that puts a compiler in place.
INSTALL = "apt-get install gcc, or name a C compiler in the environment variable CC"

#: Seconds that compiling may take.
COMPILE_SECONDS = 600.0

_FLAGS = ("-std=c99", "-O2", "-fPIC", "-shared", "-DDS2TA_TRACE")
_HOST = "trace_host.c"

#: An array of constants, and one line of its numbers: all that may differ where somebody changed a constant on purpose.
_ARRAY = re.compile(rb"(?<= = \{\n)[^{}]*(?=\};\n)")
_LINE = re.compile(rb"    (?:-?[0-9]{1,10}|\(-2147483647 - 1\)),(?: (?:-?[0-9]{1,10}|\(-2147483647 - 1\)),)*")


def find_compiler() -> str | None:
    """Return the C compiler: what ``CC`` names, else ``cc``, ``gcc`` or ``clang``; None when there is none."""
    named = os.environ.get("CC")
    candidates = (named,) if named else ("cc", "gcc", "clang")
    return next((found for name in candidates if (found := shutil.which(name)) is not None), None)


class CRuntime(Runtime):
    """Runs exported C code; safe from several threads, which take turns."""

    name: ClassVar[str] = "c"

    def __init__(
        self, network: Graph | Program, files: Mapping[str, bytes] | None = None, *, compiler: str | None = None, flags: Sequence[str] = ()
    ) -> None:
        """Compile and load.

        Args:
            network: tells inputs, values and shapes; a graph, or what was planned of it.
            files: the C code by file name; by default what an export of it would write.
            compiler: to use instead of the one that is found.
            flags: more arguments for it, behind ``-O2``.

        Attributes:
            program: what the code says.
            library: the compiled code.
            turn: to be held while the library runs.

        Raises:
            MissingRuntimeError: DS2TA-406 without a compiler.
            RuntimeFailedError: DS2TA-605 when it cannot compile the code.
            UnsupportedError: DS2TA-220, 221, 250, 251 or 252 when the graph has no C form.

        """
        self.program = network if isinstance(network, Program) else build_program(network)
        self.turn = threading.Lock()
        self.library = _compiled(files_of(self.program) if files is None else files, _require(compiler), flags)

    @classmethod
    def from_artifact(cls, artifact: Artifact) -> Self:
        """Open the artifact's ``c`` directory.

        Raises:
            InputError: DS2TA-152 when it was exported for another target; DS2TA-166 when the code in it is not what this
                version writes for the artifact's graph: a stranger's code is not run.

        """
        program = build_program(artifact.graph)
        expected = files_of(program)
        found = {name: artifact.read(f"{C}/{name}") for name in expected}
        _require_equal(found, expected, artifact.path / C)
        return cls(program, found)

    def trace(self, inputs: NDArray[np.uint8], wanted: Sequence[str]) -> Trace:
        """Run the inputs, sample by sample.

        Raises:
            InputError: DS2TA-120 or 121 for inputs that do not fit.
            UsageError: DS2TA-505 when a wanted value is no value of the network.

        """
        program = self.program
        graph = program.graph
        graph.check_input(inputs)
        require_known(graph, wanted)
        samples = np.ascontiguousarray(np.moveaxis(inputs, graph.input_type.shape.index(None), 0))
        logits = np.zeros((len(samples), graph.types[graph.output].shape[1] or 0), np.int32)
        rooms = Rooms(program, graph.types, [name for name in wanted if name != graph.output], len(samples))
        with self.turn:
            self.library.ds2ta_host_run(samples.ctypes.data, len(samples), rooms.pointers, logits.ctypes.data)
        return rooms.values() | {graph.output: logits}


def require_own_code(graph: Graph, files: Mapping[str, bytes], where: Path) -> None:
    """Raise InputError (DS2TA-166) unless files hold what this version writes for a graph.

    Constants may be other numbers: a fault in them is something that a comparison is to find, and numbers run nothing.
    """
    _require_equal(files, files_of(build_program(graph)), where)


def _require_equal(files: Mapping[str, bytes], expected: Mapping[str, bytes], where: Path) -> None:
    strange = [name for name, data in expected.items() if not _same(name, files[name], data)]
    if strange:
        what = "is not the code that this version writes for the graph, and is not run"
        advice = "export again; or, if you trust it, compile it yourself: make check in that directory"
        raise InputError(Problem("DS2TA-166", what, str(where / name), advice) for name in strange)


class Rooms:
    """Memory that the compiled code tells values into, for samples that run one behind the other."""

    def __init__(self, program: Program, types: Mapping[str, ValueType], wanted: Sequence[str], samples: int) -> None:
        """Reserve it.

        Args:
            program: what the code says.
            types: of the values; their first axis says for how many steps.
            wanted: names of values.
            samples: how many.

        """
        self._program, self._types, self._wanted = program, types, tuple(dict.fromkeys(wanted))
        roots = {program.layouts[name].root for name in wanted}
        self._rooms: Trace = {
            name: np.zeros((samples, self._elements(name)), types[name].dtype) for name in program.traced if name in roots
        }
        told = [self._rooms[name].ctypes.data if name in self._rooms else None for name in program.traced]
        self.pointers = (ctypes.c_void_p * len(told))(*told)

    def values(self) -> Trace:
        """Return the wanted values, ``[T, B, ...]``, of what was told, sample by sample, in memory order."""
        return {name: self._as_counted(name) for name in self._wanted}

    def _elements(self, name: str) -> int:
        """Elements of one sample, all steps."""
        return (self._types[name].shape[0] or 1) * self._program.layouts[name].elements

    def _as_counted(self, name: str) -> NDArray[np.integer]:
        """Turn the axes as the graph counts them; a still value shows at every step."""
        layout = self._program.layouts[name]
        told = self._rooms[layout.root]
        repeated = np.tile(told, (1, self._elements(name) // told.shape[1]))
        by_step = repeated.reshape(len(told), -1, *layout.in_memory)
        back = [2 + layout.order.index(axis) for axis in range(len(layout.order))]
        return np.ascontiguousarray(by_step.transpose(1, 0, *back))


def _same(name: str, found: bytes, expected: bytes) -> bool:
    """Whether a file is what this version writes; constants may be other numbers, for such faults are to be found, too."""
    if name != DATA or found == expected:
        return found == expected
    return _shape(found) == _shape(expected)


def _shape(data: bytes) -> tuple[list[bytes], list[int]]:
    """Return the text between the arrays of a file of constants, and how many numbers each array has; -1 where there is more."""
    arrays = _ARRAY.findall(data)
    plain = [all(_LINE.fullmatch(line) for line in array.splitlines()) for array in arrays]
    return _ARRAY.split(data), [array.count(b",") if alone else -1 for array, alone in zip(arrays, plain, strict=True)]


def _require(compiler: str | None) -> str:
    found = compiler or find_compiler()
    if found is None:
        raise MissingRuntimeError(Problem("DS2TA-406", "the runtime 'c' needs a C compiler, and there is none", mend=INSTALL))
    return found


def _compiled(files: Mapping[str, bytes], compiler: str, flags: Sequence[str]) -> Any:
    """Compile the files into a library and load it; nothing stays on the disk."""
    with tempfile.TemporaryDirectory(prefix="ds2ta-c-") as folder:
        for name, data in files.items():
            Path(folder, name).write_bytes(data)
        sources = [str(Path(folder, name)) for name in files if name.endswith(".c")]
        library = Path(folder, "network.so")
        command = [compiler, *_FLAGS, *flags, f"-I{folder}", *sources, str(SOURCES / _HOST), "-o", str(library)]
        try:
            done = subprocess.run(command, capture_output=True, timeout=COMPILE_SECONDS, check=False, cwd=folder)  # noqa: S603 - our code
        except subprocess.TimeoutExpired:
            raise RuntimeFailedError(
                Problem("DS2TA-605", f"did not compile the code within {COMPILE_SECONDS:g} seconds", compiler)
            ) from None
        except OSError as error:
            raise MissingRuntimeError(Problem("DS2TA-406", f"cannot be started: {error.strerror}", compiler, INSTALL)) from error
        if done.returncode:
            said = done.stderr.decode(errors="replace")
            lines = [line for line in said.splitlines() if "error" in line] or [f"exit code {done.returncode}"]
            failed = RuntimeFailedError(Problem("DS2TA-605", f"cannot compile the code: {lines[0]}", compiler))
            failed.add_note(said)
            raise failed
        loaded = ctypes.CDLL(str(library))
    loaded.ds2ta_host_run.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_void_p]
    loaded.ds2ta_host_run.restype = None
    loaded.ds2ta_host_step.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p]
    loaded.ds2ta_host_step.restype = ctypes.c_uint32
    return loaded
