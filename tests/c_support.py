"""What the tests of the C target share: compiling with warnings as errors, running a self-test. Needs no PyTorch."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from builders import Trace, trace_of
from numpy.typing import NDArray

from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.runtimes.c_program import CRuntime

#: Everything that a careful firmware engineer switches on.
STRICT = (
    *("-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Wsign-conversion", "-Wshadow", "-Wcast-qual"),
    *("-Wstrict-prototypes", "-Wmissing-prototypes", "-Wundef", "-Wvla", "-Werror"),
)

#: Undefined behaviour ends the process; fast to compile.
SANITIZE = ("-O0", "-fsanitize=undefined", "-fno-sanitize-recover=all")

#: Compilers that are installed here.
COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]


def different(
    graph: Graph, inputs: NDArray[np.uint8], flags: tuple[str, ...] = (*STRICT, *SANITIZE), compiler: str | None = None
) -> dict[str, Any]:
    """Return what the C code computes otherwise than the graph, of every observable value; the logits included."""
    expected = trace_of(graph, inputs)
    found: Trace = CRuntime(graph, flags=flags, compiler=compiler).trace(inputs, graph.observable)
    assert set(found) == set(expected)
    same = {name: found[name].dtype == array.dtype and np.array_equal(found[name], array) for name, array in expected.items()}
    return {name: found[name] for name, equal in same.items() if not equal}


def write(files: dict[str, bytes], folder: Path) -> Path:
    """Write the files of a target; returns the directory of the C code."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder / "c"


def selftest(code: Path, *flags: str, compiler: str = "cc", trace: bool = True) -> subprocess.CompletedProcess[str]:
    """Compile the self-test and run it."""
    sources = sorted(str(path) for path in code.glob("*.c"))
    program = code.parent / f"selftest-{compiler}{'-'.join(flags)}"
    defined = ["-DDS2TA_TRACE"] if trace else []
    subprocess.run([compiler, *STRICT, *flags, *defined, *sources, "-o", str(program)], check=True)
    return subprocess.run([program], capture_output=True, text=True, check=False)
