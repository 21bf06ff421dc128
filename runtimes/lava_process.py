"""Runtimes ``lava`` and ``lava-stepper``: the exported package, run by an interpreter of its own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.artifact import Artifact
from ds2ta_deploy.errors import Ds2taError, InputError, MissingRuntimeError, Problem, RuntimeFailedError, UsageError
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.lava_package import INSTALL, LAVA, PACKAGE, package_files
from ds2ta_deploy.runtimes.base import Runtime, Trace, require_known

#: Seconds that a run may take before it is given up: for the start, and for each time step.
START_SECONDS, STEP_SECONDS = 120.0, 2.0

#: Seconds after its own deadline until the supervising process is ended from outside.
_GRACE = 30.0


#: Under which the package's files say how many time steps were taken.
TAKEN = "time steps taken"


@dataclass(frozen=True, eq=False)
class Left:
    """What a run leaves behind.

    Attributes:
        taken: time steps, those of earlier runs included.
        remembered: name of an op's first output -> what it remembers.

    """

    taken: int
    remembered: dict[str, NDArray[np.integer]]


class LavaStepperRuntime(Runtime):
    """Runs the exported package's plain NumPy executor, one time step at a time."""

    name: ClassVar[str] = "lava-stepper"
    engine: ClassVar[str] = "stepper"

    def __init__(self, directory: Path, graph: Graph, python: Path | None = None, *, deadline: float | None = None) -> None:
        """Take the exported directory and the graph it was exported from.

        Args:
            directory: the artifact's ``lava``.
            graph: tells inputs, values and shapes.
            python: interpreter to run it with, a path or the name of a program; this one by default.
            deadline: seconds after which a run is given up; by default, enough for the number of time steps.

        """
        self._directory = directory
        self._graph = graph
        python = Path(sys.executable) if python is None else python
        self._python = python.absolute() if len(python.parts) > 1 else python  # it is started in another directory
        self._deadline = deadline

    @classmethod
    def from_artifact(cls, artifact: Artifact, python: Path | None = None) -> Self:
        """Open the artifact's ``lava`` directory.

        Raises:
            InputError: DS2TA-152 when it was exported for another target; DS2TA-162 when the Python code in it is not
                the code that this version exports, which would be run otherwise.

        """
        artifact.read(f"{LAVA}/graph.json")  # raises when the artifact has none
        directory = artifact.path / LAVA
        shipped = package_files()
        found = {path.relative_to(directory).as_posix(): path for path in directory.rglob("*.py")}
        strange = [
            name
            for name in sorted(shipped.keys() | found.keys())
            if name not in shipped or name not in found or found[name].read_bytes() != shipped[name]
        ]
        if strange:
            advice = f"export again; or, if you trust it, run it yourself: python -m {PACKAGE} in that directory"
            raise InputError(
                Problem("DS2TA-162", "is not the code that this version exports, and is not run", str(directory / name), advice)
                for name in strange
            )
        return cls(directory, artifact.graph, python)

    def trace(self, inputs: NDArray[np.uint8], wanted: Sequence[str]) -> Trace:
        """Run the exported package in a process of its own.

        Raises:
            InputError: DS2TA-120 or 121 for inputs that do not fit; DS2TA-163 for files that hold no network.
            UsageError: DS2TA-505 when a wanted value is no value of the network, 512 when it is inside a stock process.
            MissingRuntimeError: DS2TA-403 when the interpreter cannot import Lava.
            RuntimeFailedError: DS2TA-601 when a process raised, 602 when one died, 603 after the deadline, 604 when Lava
                itself failed. No process and no shared memory is left behind.

        """
        self._graph.check_input(inputs)
        require_known(self._graph, wanted)
        self._require_visible(wanted)
        samples = inputs.shape[self._graph.input_type.shape.index(None)]
        steps = max(kind.shape[0] or 1 for name, kind in self._graph.types.items() if name != self._graph.output)
        with tempfile.TemporaryDirectory(prefix="ds2ta-lava-") as folder:
            return self._execute(Path(folder), inputs, wanted, samples * steps)

    def trace_frames(self, frames: NDArray[np.uint8], wanted: Sequence[str], begin: Left | None) -> tuple[Trace, Left]:
        """Run frames ``[T, B, H, W, C]`` of any number, from the beginning or from what an earlier run left behind.

        Returns:
            The wanted values; the network's output in every time step, ``[T, B, classes]``, as the sum of these frames without
            the bias; and what is left behind.

        Raises:
            UsageError: DS2TA-512 when Lava's own processes run a part of the network: they keep to themselves what they remember.
            Ds2taError: as :meth:`trace`.

        """
        self._require_visible(wanted)
        if self.hidden:
            what = "runs a part of the network on Lava's own processes, which keep to themselves what they remember"
            raise UsageError(Problem("DS2TA-512", what, self.name, "use lava-stepper"))
        with tempfile.TemporaryDirectory(prefix="ds2ta-lava-") as folder:
            given, kept = Path(folder, "begin.npz"), Path(folder, "kept.npz")
            options = ["--keep", str(kept)]
            if begin is not None:
                arrays: dict[str, Any] = {TAKEN: np.int64(begin.taken), **begin.remembered}
                np.savez(given, **arrays)
                options += ["--begin", str(given)]
            trace = self._execute(Path(folder), frames, wanted, frames.shape[0] * frames.shape[1], options)
            with np.load(kept) as file:
                return trace, Left(int(file[TAKEN]), {name: file[name] for name in file.files if name != TAKEN})

    def _execute(self, folder: Path, inputs: NDArray[np.uint8], wanted: Sequence[str], steps: int, options: Sequence[str] = ()) -> Trace:
        """Run the package's command on the inputs."""
        deadline = START_SECONDS + STEP_SECONDS * steps if self._deadline is None else self._deadline
        given, made = folder / "inputs.npz", folder / "trace.npz"
        arrays: dict[str, Any] = {self._graph.input_name: inputs}
        np.savez(given, **arrays)
        command = [*self._command(), str(given), str(made), "--engine", self.engine, "--deadline", str(deadline), *options]
        self._run([*command, "--parent", str(os.getpid()), "--values", *wanted], folder / "errors", deadline + _GRACE)
        with np.load(made) as file:
            return {name: file[name] for name in dict.fromkeys([*wanted, self._graph.output])}

    def _require_visible(self, wanted: Sequence[str]) -> None:
        """Raise UsageError for every wanted value that a stock process computes in another form and does not show."""
        inner = [name for name in wanted if name in self.hidden]
        if inner:
            what, advice = f"is inside one of Lava's own processes, and the runtime {self.name!r} cannot show it", "use lava-stepper"
            raise UsageError(Problem("DS2TA-512", what, name, advice) for name in inner)

    def _command(self) -> list[str]:
        return [str(self._python), "-m", PACKAGE]

    def _run(self, command: list[str], errors: Path, limit: float) -> None:
        """Run the command to its end; whatever ends this call ends the command first."""
        with errors.open("wb") as stderr:
            try:
                process = subprocess.Popen(  # noqa: S603 - the interpreter was named by the user, the code is ours
                    command,
                    cwd=self._directory,
                    stdin=subprocess.DEVNULL,
                    stdout=stderr,
                    stderr=stderr,
                    env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
                    start_new_session=True,
                )
            except OSError as error:
                what = f"cannot be started: {error.strerror}"
                raise MissingRuntimeError(Problem("DS2TA-403", what, str(self._python), "name another with --lava-python")) from error
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            raise RuntimeFailedError(Problem("DS2TA-603", f"did not end within {limit:g} seconds", self.name)) from None
        finally:
            _end(process)
        if process.returncode:
            raise self._explain(process.returncode, errors.read_text(encoding="utf-8", errors="replace"))

    def _explain(self, code: int, said: str) -> Ds2taError:
        """Put what the command said on its way out in the user's terms."""
        lines = [line.strip() for line in said.splitlines() if line.strip()] or [f"exit code {code}"]
        what = lines[0] if len(lines) == 1 else f"{lines[0]}: {lines[-1]}"
        error: Ds2taError
        if code == 4 or "No module named" in lines[-1]:
            option = "" if self._python == Path(sys.executable) else f" --python {self._python}"
            error = MissingRuntimeError(Problem("DS2TA-403", lines[-1], f"{self.name}, {self._python}", f"{INSTALL}{option}"))
        elif code == 3:
            error = InputError(Problem("DS2TA-163", what, str(self._directory)))
        else:
            number = {5: "DS2TA-601", 7: "DS2TA-603", 8: "DS2TA-604"}.get(code, "DS2TA-602")
            error = RuntimeFailedError(Problem(number, what, self.name))
        error.add_note(said)
        return error


class LavaRuntime(LavaStepperRuntime):
    """Runs the exported process graph on Lava's simulator."""

    name: ClassVar[str] = "lava"
    engine: ClassVar[str] = "lava"

    @property
    def hidden(self) -> frozenset[str]:
        """Products, currents and membranes of the populations that run on Lava's own processes."""
        return self._inside_stock

    @cached_property
    def _inside_stock(self) -> frozenset[str]:
        file = self._directory / "graph.json"
        try:
            processes = json.loads(file.read_text(encoding="utf-8"))["processes"]
            stock = [process for process in processes if process.get("lowering") == "stock"]
            return frozenset(
                name for process in stock for step in process["steps"] for name in step["outputs"] if name != process["output"]
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(Problem("DS2TA-163", f"holds no network: {type(error).__name__}: {error}", str(file))) from error


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the supervising process; SIGTERM makes it clear its worker away first."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
