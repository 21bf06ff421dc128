"""A runtime that takes its step form over frames: for any number of time steps, what the sequence of so many gives."""

from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.runtimes.base import Runtime, Trace, require_known
from ds2ta_deploy.runtimes.stepper import Stepper

#: Begins a run: number of samples, wanted values.
Begin = Callable[[int, Sequence[str]], Stepper]


class SteppedRuntime(Runtime):
    """Runs the frames of a sequence one step after the other."""

    name: ClassVar[str] = "steps"

    def __init__(self, sequence: Graph, begin: Begin, hidden: frozenset[str] = frozenset()) -> None:
        """Take the sequence that is run, as :func:`ds2ta_deploy.graph.stepping.over_frames` makes it, and what begins a run."""
        self._sequence = sequence
        self._begin = begin
        self._hidden = hidden

    @classmethod
    def named(cls, name: str) -> type["SteppedRuntime"]:
        """Return the same class under the name that reports call it by."""
        return type(f"{cls.__name__}Of{name.title()}", (cls,), {"name": name})

    @property
    def hidden(self) -> frozenset[str]:
        """What the engine cannot give."""
        return self._hidden

    def trace(self, inputs: NDArray[np.uint8], wanted: Sequence[str]) -> Trace:
        """Run frames ``[T, B, H, W, C]``."""
        self._sequence.check_input(inputs)
        require_known(self._sequence, wanted)
        run = self._begin(inputs.shape[1], wanted)
        blocks = run.steps(inputs)
        output = self._sequence.output
        values = {name: np.concatenate([block.values[name] for block in blocks]) for name in wanted if name != output}
        return {**values, output: run.logits()}
