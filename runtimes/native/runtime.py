"""Runtime ``native``: the integer graph on the CPU's vector instructions."""

import threading
from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.artifact import Artifact
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.runtimes.base import Runtime, Trace, require_known
from ds2ta_deploy.runtimes.native.plan import Plan


class NativeRuntime(Runtime):
    """Runs the graph with the native library; safe from several threads, which take turns."""

    name: ClassVar[str] = "native"

    def __init__(self, graph: Graph, threads: int | None = None, instruction_set: str | None = None) -> None:
        """Make the plan.

        Args:
            graph: what to run.
            threads: how many threads share the work of one call; by default what the environment variable says, or one.
            instruction_set: whose kernels to run; by default the best that work here.

        Raises:
            MissingRuntimeError: DS2TA-405 when the library is not there.
            UnsupportedError: DS2TA-220 or 221 for what 32 bits or a table cannot hold, DS2TA-243 for what the library cannot run.
            UsageError: DS2TA-513 for an instruction set or a number of threads that cannot be.

        """
        self._graph = graph
        self._fitting: tuple[np.dtype[np.uint8], tuple[int, ...]] | None = None  # what was checked before
        self.plan = Plan(graph, threads, instruction_set)
        self._turn = threading.Lock()

    @classmethod
    def from_artifact(cls, artifact: Artifact, threads: int | None = None) -> Self:
        """Open the artifact's graph."""
        return cls(artifact.graph, threads)

    def trace(self, inputs: NDArray[np.uint8], wanted: Sequence[str]) -> Trace:
        """Run the inputs.

        Raises:
            InputError: DS2TA-120 or 121 for inputs that do not fit.
            UsageError: DS2TA-505 when a wanted value is no value of the network.

        """
        kind = inputs.dtype, inputs.shape
        if kind != self._fitting:
            self._graph.check_input(inputs)
            self._fitting = kind
        if wanted:
            require_known(self._graph, wanted)
        with self._turn:
            return self.plan.run(inputs, wanted)
