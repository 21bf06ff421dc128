"""The sides of a comparison: what runs, and what was recorded at export."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.artifact import GOLDEN_VALUES, Artifact
from ds2ta_deploy.datasets import read_arrays
from ds2ta_deploy.errors import InputError, Problem, UsageError
from ds2ta_deploy.parity import GOLDEN
from ds2ta_deploy.runtimes.base import Part, Runtime, Trace
from ds2ta_deploy.runtimes.reference import ReferenceRuntime
from ds2ta_deploy.runtimes.table import open_runtime
from ds2ta_deploy.verification import available_runtimes


@dataclass(frozen=True)
class Side:
    """One of those that are compared.

    Attributes:
        name: of the runtime, or :data:`~ds2ta_deploy.parity.GOLDEN`.
        trace: values of some samples, given the number of the first one and their inputs.
        runtime: what runs; None for what was recorded.

    """

    name: str
    trace: Callable[[int, NDArray[np.uint8]], Trace]
    runtime: Runtime | None = None

    def isolate(self, value: str, known: Sequence[str]) -> Part | None:
        """As :meth:`Runtime.isolate`; what was recorded cannot run."""
        return None if self.runtime is None else self.runtime.isolate(value, known)


def available(artifact: Artifact, *, recorded: bool, checkpoint: Path | None, lava_python: Path | None = None) -> list[str]:
    """Names of those that can be compared here: runtimes of the graph and of the artifact's files, and what was recorded."""
    others = available_runtimes(artifact.manifest.target, with_checkpoint=checkpoint is not None, lava_python=lava_python)
    return [ReferenceRuntime.name, *others, *([GOLDEN] if recorded else [])]


def open_side(name: str, artifact: Artifact, checkpoint: Path | None, *, recorded: int | None, lava_python: Path | None = None) -> Side:
    """Open a runtime, or what was recorded.

    Args:
        name: of the runtime, or :data:`~ds2ta_deploy.parity.GOLDEN`.
        artifact: whose it is.
        checkpoint: for the runtime ``torch``.
        recorded: number of samples that something was recorded of; None when the inputs are others.
        lava_python: interpreter that has Lava, for the runtime ``lava``.

    Raises:
        InputError: DS2TA-132, 133 or 157 when what was recorded is not what it should be.
        MissingRuntimeError: when a runtime is not installed.
        UsageError: DS2TA-503 or 504 when there is no such runtime, or nothing for it to run.

    """
    if name == GOLDEN:
        if recorded is None:
            raise UsageError(Problem("DS2TA-504", "nothing was recorded for other inputs", GOLDEN, "leave --inputs away"))
        return _recorded(artifact, recorded)
    runtime, wanted = open_runtime(name, artifact, checkpoint, lava_python=lava_python), artifact.graph.observable
    return Side(name, lambda _start, batch: runtime.trace(batch, wanted), runtime)


def _recorded(artifact: Artifact, samples: int) -> Side:
    """What was recorded at export: the first sample's spikes and counts, the output of all."""
    graph = artifact.graph
    where = str(artifact.path / GOLDEN_VALUES)
    values = read_arrays(io.BytesIO(artifact.read(GOLDEN_VALUES)), graph.observable, where)
    if graph.output not in values:
        raise InputError(Problem("DS2TA-133", f"has no array {graph.output!r}", where))

    def fits(name: str, value: NDArray[np.generic]) -> bool:
        kind, held = graph.types[name], samples if name == graph.output else 1
        return value.dtype == kind.dtype and value.shape == tuple(held if size is None else size for size in kind.shape)

    wrong = [name for name, value in values.items() if not fits(name, value)]
    if wrong:
        raise InputError(Problem("DS2TA-157", f"{name!r} is {values[name].dtype} {values[name].shape}", where) for name in wrong)
    outputs, first = values[graph.output], {name: value for name, value in values.items() if name != graph.output}

    def trace(start: int, batch: NDArray[np.uint8]) -> Trace:
        stop = start + batch.shape[graph.input_type.shape.index(None)]
        return {**(first if start == 0 else {}), graph.output: outputs[start:stop]}

    return Side(GOLDEN, trace)
