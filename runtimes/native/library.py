"""The shared library: where it is, and what its functions and structures look like from Python."""

import ctypes
import os
from functools import cache
from pathlib import Path
from typing import Any

from ds2ta_deploy.errors import MissingRuntimeError, Problem, UsageError

#: Of the interface below; the library says its own.
ABI = 3

#: Output channels that are padded to, time steps in a pattern.
TILE, GROUP = 64, 4

#: Environment variable that forces an instruction set.
ISA = "DS2TA_ISA"

#: Environment variable with the number of threads that share the work of one call.
THREADS = "DS2TA_THREADS"

_MOST_THREADS = 256

#: Every instruction set that there are kernels for, the plainest first.
INSTRUCTION_SETS = ("scalar", "avx2", "avx512", "neon")

#: Kinds of operations, and what can be traced inside one, numbered as in ``ds2ta_native.h``.
ENCODE, LINEAR, CONV, ATTENTION, POOL, ADD, READOUT, GIVEN = range(8)
NEURON, WINDOW, SUM, MAXIMUM, MULTIPLY, REDUCE, MATMUL, LOOKUP, TIME_MIX, COMPARE = range(8, 18)
OVER_TOKENS, OVER_HEADS, OVER_CHANNELS = range(3)
INNER = ("product", "current", "membrane", "scores", "denoised", "tabled")

_INSTALL = "reinstall ds2ta-deploy where there is a C compiler: pip install --force-reinstall --no-deps ds2ta-deploy"


class Value(ctypes.Structure):
    """``ds2ta_value``."""

    _fields_ = (
        ("height", ctypes.c_int32),
        ("width", ctypes.c_int32),
        ("channels", ctypes.c_int32),
        ("planes", ctypes.c_int32),
        ("offset", ctypes.c_int64),
        ("steps", ctypes.c_int32),
    )


class Operation(ctypes.Structure):
    """``ds2ta_op``."""

    _fields_ = (
        ("kind", ctypes.c_int32),
        ("inputs", ctypes.c_int32 * 3),
        ("output", ctypes.c_int32),
        ("size", ctypes.c_int32),
        ("still", ctypes.c_int32),
        ("heads", ctypes.c_int32),
        ("entries", ctypes.c_int32),
        ("taps", ctypes.c_int32),
        ("decay", ctypes.c_int32),
        ("guard_bits", ctypes.c_int32),
        ("leak_numerator", ctypes.c_int32),
        ("leak_shift", ctypes.c_int32),
        ("in_channels", ctypes.c_int32),
        ("out_channels", ctypes.c_int32),
        ("table", ctypes.c_void_p),
        ("weight", ctypes.c_void_p),
        ("wide", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("threshold", ctypes.c_void_p),
        ("shift", ctypes.c_int32),
        ("dilation", ctypes.c_int32),
        ("stride", ctypes.c_int32),
        ("axis", ctypes.c_int32),
        ("left_heads", ctypes.c_int32),
        ("right_heads", ctypes.c_int32),
        ("transpose_left", ctypes.c_int32),
        ("transpose_right", ctypes.c_int32),
    )


def library_path() -> Path | None:
    """Return the shared library's file; None when it was not built."""
    found = sorted(Path(__file__).parent.glob("libds2ta_native.*"))
    return next((path for path in found if path.suffix in (".so", ".dylib", ".dll")), None)


@cache
def load() -> Any:
    """Load the library.

    Raises:
        MissingRuntimeError: DS2TA-405 when it was not built, cannot be loaded, or is of another version.

    """
    path = library_path()
    if path is None:
        raise MissingRuntimeError(Problem("DS2TA-405", "the native library was not built", mend=_INSTALL))
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise MissingRuntimeError(Problem("DS2TA-405", f"the native library cannot be loaded: {error}", str(path), _INSTALL)) from error
    try:
        found = library.ds2ta_abi()
    except AttributeError as error:
        raise MissingRuntimeError(Problem("DS2TA-405", "this is not the native library", str(path), _INSTALL)) from error
    if found != ABI:
        raise MissingRuntimeError(Problem("DS2TA-405", f"the native library has interface {found}, not {ABI}", str(path), _INSTALL))
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    library.ds2ta_supports.argtypes = [ctypes.c_char_p]
    library.ds2ta_plan_new.restype = pointer
    library.ds2ta_plan_new.argtypes = [
        *(ctypes.c_int, ctypes.POINTER(Value), ctypes.c_int, ctypes.POINTER(Operation), ctypes.c_int),
        *(ctypes.c_int64, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, size),
    ]
    library.ds2ta_plan_free.restype, library.ds2ta_plan_free.argtypes = None, [pointer]
    library.ds2ta_plan_isa.restype, library.ds2ta_plan_isa.argtypes = ctypes.c_char_p, [pointer]
    library.ds2ta_plan_bytes.restype, library.ds2ta_plan_bytes.argtypes = ctypes.c_int64, [pointer]
    library.ds2ta_run.restype, library.ds2ta_run.argtypes = None, [pointer, pointer, ctypes.c_int, *[pointer] * 4]
    library.ds2ta_state_size.restype, library.ds2ta_state_size.argtypes = ctypes.c_int64, [pointer]
    library.ds2ta_state_place.restype, library.ds2ta_state_place.argtypes = ctypes.c_int64, [pointer, ctypes.c_int]
    library.ds2ta_step.argtypes = [pointer, ctypes.c_int64, *[pointer] * 2, ctypes.c_int, *[pointer] * 4]
    return library


def instruction_sets() -> tuple[str, ...]:
    """Names of the instruction sets whose kernels work on this machine."""
    return tuple(name for name in INSTRUCTION_SETS if load().ds2ta_supports(name.encode()))


def choose_instruction_set(asked: str | None) -> str | None:
    """Return the instruction set asked for, else the one that the environment forces; None leaves the choice to the library.

    Raises:
        UsageError: DS2TA-513 when it is not one that works here.

    """
    name = asked or os.environ.get(ISA)
    if name and name not in instruction_sets():
        advice = f"{ISA} may be: {', '.join(instruction_sets())}"
        raise UsageError(Problem("DS2TA-513", f"the instruction set {name!r} does not work here", ISA, advice))
    return name or None


def choose_threads(asked: int | None) -> int:
    """Return the number of threads asked for, else the one that the environment says, else 1.

    Raises:
        UsageError: DS2TA-513 when it is no number from 1 to 256.

    """
    said = os.environ.get(THREADS, "1") if asked is None else str(asked)
    if not said.isdecimal() or len(said) > len(str(_MOST_THREADS)) or not 1 <= int(said) <= _MOST_THREADS:
        raise UsageError(Problem("DS2TA-513", f"{said!r} is no number of threads", THREADS, f"1 to {_MOST_THREADS}"))
    return int(said)


def condition() -> dict[str, Any]:
    """Say whether the library works here: ``instruction_set`` is the best that does, or None; ``remark`` is ok, or what helps."""
    try:
        best = instruction_sets()[-1]
    except MissingRuntimeError as error:
        problem = error.problems[0]
        return {"instruction_set": None, "remark": f"optional: {problem.what} ({problem.mend})"}
    return {"instruction_set": best, "remark": "ok"}
