"""Runtime ``reference``: the graph's own NumPy execution."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.stepping import StepForm
from ds2ta_deploy.runtimes.base import Runtime, Trace, require_known
from ds2ta_deploy.runtimes.run_state import Remembered
from ds2ta_deploy.runtimes.stepper import Stepper


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


class ReferenceStepper(Stepper):
    """Advances every op as its class defines it."""

    name: ClassVar[str] = "reference"

    def __init__(self, form: StepForm, batch: int, wanted: Sequence[str] = ()) -> None:
        """Begin a run."""
        super().__init__(form, batch, wanted)
        self._state = form.initial(batch)

    def _advance(self, frames: NDArray[np.uint8]) -> Trace:
        values: Trace = {}

        def keep(name: str, value: NDArray[np.integer]) -> None:
            if name in self.wanted:
                values[name] = value

        increment, self._state = self.form.advance(self.taken, self._state, frames, keep)
        return {**values, self.form.block.output: increment}

    def _remembered(self) -> Remembered:
        return {name: array.astype(np.int32) for name, array in self._state.items()}

    def _remember(self, taken: int, remembered: Remembered) -> None:
        self._state = {name: array.astype(np.int64) for name, array in remembered.items()}
