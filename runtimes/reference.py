"""Runtime ``reference``: the graph's own NumPy execution."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.runtimes.base import Runtime, Trace, require_known


class ReferenceRuntime(Runtime):
    """Executes every op as its class defines it."""

    name: ClassVar[str] = "reference"

    def __init__(self, graph: Graph) -> None:
        """Take the graph."""
        self._graph = graph

    def trace(self, inputs: NDArray[np.uint8], wanted: Sequence[str]) -> Trace:
        """Run the graph."""
        require_known(self._graph, wanted)
        names = set(wanted)
        values: Trace = {}

        def keep(name: str, value: NDArray[np.integer]) -> None:
            if name in names:
                values[name] = value

        values[self._graph.output] = self._graph.execute(inputs, keep)
        return values
