"""The file of a step form, run as the network was trained: what is verified of it whenever its runtime is."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.artifact import Artifact
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.stepping import StepForm, over_frames
from ds2ta_deploy.runtimes.base import Runtime, Trace, require_known
from ds2ta_deploy.runtimes.stepped import Begin, SteppedRuntime
from ds2ta_deploy.runtimes.stepper import Stepper
from ds2ta_deploy.runtimes.table import RUNTIMES, open_stepper


class SteppedFile(Runtime):
    """Steps through the T frames of a network's own inputs; a still picture is its own frame at each."""

    name: ClassVar[str] = "steps"

    def __init__(self, graph: Graph, begin: Begin) -> None:
        """Take the network and what begins a run of its step form.

        Raises:
            UnsupportedError: DS2TA-260 to 262 for a network that does not run step by step.

        """
        self._graph = graph
        self._steps = StepForm.of(graph).trained_steps
        self._sequence = over_frames(graph, self._steps)
        self._run = SteppedRuntime(self._sequence, begin)

    @property
    def hidden(self) -> frozenset[str]:
        """What there is only where a still picture is repeated."""
        return frozenset(self._graph.observable) - frozenset(self._sequence.observable)

    def trace(self, inputs: NDArray[np.uint8], wanted: Sequence[str]) -> Trace:
        """Run the network's inputs; of what a network for still pictures computes once, return the first of T equal steps."""
        self._graph.check_input(inputs)
        require_known(self._graph, wanted)
        still = self._graph.input_type.shape[0] is None
        frames = np.repeat(inputs[None], self._steps, axis=0) if still else inputs
        values = self._run.trace(frames, wanted)
        return {name: value[: self._graph.types[name].shape[0]] for name, value in values.items()}


def open_stepped_files(name: str, artifact: Artifact, *, lava_python: Path | None = None) -> list[Runtime]:
    """Open the step form that a runtime has in a file of its own, under the name ``<runtime>-steps``; nothing if it has none."""
    file = RUNTIMES[name].step_file
    if not file or file not in artifact.manifest.files:
        return []

    loaded: dict[tuple[int, tuple[str, ...]], Stepper] = {}

    def begin(batch: int, wanted: Sequence[str]) -> Stepper:
        key = batch, tuple(wanted)
        if key in loaded:
            loaded[key].restart()  # batch after batch, the file is loaded once
        else:
            loaded[key] = open_stepper(name, artifact, batch, wanted, lava_python=lava_python)
        return loaded[key]

    named = type("NamedSteppedFile", (SteppedFile,), {"name": f"{name}-steps"})
    made: Runtime = named(artifact.graph, begin)
    return [made]
