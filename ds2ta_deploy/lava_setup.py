"""Puts a working Lava into an environment, and says whether the one that is there works."""

import subprocess
import sys
import tempfile
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from ds2ta_deploy.errors import Ds2taError, MissingRuntimeError, ParityError, Problem
from ds2ta_deploy.exporters.lava import to_lava
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.lava_package import LAVA
from ds2ta_deploy.runtimes.lava_process import LavaRuntime
from ds2ta_deploy.runtimes.reference import ReferenceRuntime

#: The last release. It declares Python 3.10 only, and older releases of what it imports than it needs: both are ignored.
RELEASE = "lava-nc==0.10.0"

#: What it really imports on the way to a process graph; the tested versions stand in constraints.txt.
NEEDS = ("numpy>=1.24", "scipy>=1.10", "networkx>=2.8.7", "asteval>=0.9.31")

#: Its wheel installs its own tests as a top-level package ``tests``, which would hide a project's tests of that name.
_REMOVE_TESTS = """
from importlib import metadata
lava = metadata.distribution("lava-nc")
paths = [lava.locate_file(file) for file in lava.files or () if file.parts[0] == "tests"]
for path in paths:
    path.unlink(missing_ok=True)
top = lava.locate_file("tests")
for folder in sorted({parent for path in paths for parent in (*path.parents, path.parent / "__pycache__")}, reverse=True):
    if (folder == top or top in folder.parents) and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
"""

#: Seconds that the smoke test may take.
_DEADLINE = 60.0


def install(python: Path | None = None) -> None:
    """Install Lava and what it needs with pip, pinned, and try it out.

    Raises:
        MissingRuntimeError: DS2TA-404 when pip cannot.
        Ds2taError: whatever :func:`try_out` raises.

    """
    interpreter = str(python or sys.executable)
    _run(interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *NEEDS)
    _run(interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--ignore-requires-python", "--no-deps", RELEASE)
    _run(interpreter, "-c", _REMOVE_TESTS)
    try_out(python)


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)  # noqa: S603 - ours
    except OSError as error:
        raise MissingRuntimeError(Problem("DS2TA-404", f"cannot be started: {error.strerror}", command[0])) from error
    if done.returncode:
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()] or ["it said nothing"]
        raise MissingRuntimeError(Problem("DS2TA-404", f"Lava could not be installed: {said[-1].strip()}", command[0]))


def try_out(python: Path | None = None) -> None:
    """Run a network of four processes on Lava and compare every integer.

    Raises:
        Ds2taError: whatever the runtime ``lava`` raises when Lava is missing or broken.
        ParityError: DS2TA-304 when Lava computes something else.

    """
    graph = _smallest_network()
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 1), dtype=np.uint8)
    wanted = graph.observable
    with tempfile.TemporaryDirectory(prefix="ds2ta-lava-") as folder:
        for name, data in to_lava(graph).items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        found = LavaRuntime(Path(folder, LAVA), graph, python, deadline=_DEADLINE).trace(pixels, wanted)
    expected = ReferenceRuntime(graph).trace(pixels, wanted)
    wrong = [name for name in wanted if not np.array_equal(found[name], expected[name])]
    if wrong:
        raise ParityError(Problem("DS2TA-304", "Lava computes something else than the reference", name) for name in wrong)


def status(python: Path | None = None) -> tuple[str | None, str]:
    """Return Lava's version in this environment, None if it is not there, and a remark: ``ok``, or what is wrong."""
    if python is None and find_spec("lava") is None:
        return None, "optional: ds2ta lava install"
    try:
        version = metadata.version("lava-nc")
    except metadata.PackageNotFoundError:
        version = "of unknown version"
    try:
        try_out(python)
    except Ds2taError as error:
        return version, f"does not work: {error.problems[0]}"
    return version, "ok"


def _smallest_network() -> Graph:
    """Two neurons that watch a picture of 4 x 4 pixels for two steps, and two more that watch these, with a window."""
    random = np.random.default_rng(1)
    none = np.zeros(2, np.int32)
    parts: list[ops.Op] = [
        ops.InputTable("encoder", ("images",), ("input_values",), table=np.arange(-128, 128, dtype=np.int16)[None], still=1),
        ops.Conv2d("first.weights", ("input_values",), ("first.product",), weight=random.integers(-9, 10, (2, 3, 3, 1)).astype(np.int16)),
        ops.TemporalWindow("first.window", ("first.product",), ("first.current",), bias=none, taps=1, decay=0, guard_bits=0),
        ops.Repeat("first.repeat", ("first.current",), ("first._repeated",), time_steps=2),
        _neuron("first", "first._repeated", 200),
        ops.Tokens("flatten", ("first.spikes",), ("tokens",)),
        ops.Linear("second.weights", ("tokens",), ("second.product",), weight=np.array([[3, -1], [-2, 4]], np.int8)),
        ops.TemporalWindow("second.window", ("second.product",), ("second.current",), bias=none, taps=2, decay=1, guard_bits=1),
        _neuron("second", "second.current", 4),
        ops.Readout("head", ("second.spikes",), ("head.logits",), weight=np.array([[5, -7], [-3, 2]], np.int8), bias=none),
    ]
    return Graph("smallest", "images", ops.ValueType((None, 4, 4, 1), "uint8"), tuple(parts), "head.logits", 1.0)


def _neuron(name: str, current: str, threshold: int) -> ops.Lif:
    outputs = (f"{name}.spikes", f"{name}.membrane")
    return ops.Lif(name, (current,), outputs, threshold=np.array([threshold] * 2, np.int32), leak_numerator=1, leak_shift=1)
