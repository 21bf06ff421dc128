"""Runtimes ``lava`` and ``lava-stepper`` step by step: some frames a run, each from what the one before left behind."""

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.graph.stepping import StepForm
from ds2ta_deploy.runtimes.base import Trace
from ds2ta_deploy.runtimes.lava_process import LavaRuntime, LavaStepperRuntime, Left
from ds2ta_deploy.runtimes.run_state import Remembered
from ds2ta_deploy.runtimes.stepper import Stepper


class LavaStepperSteps(Stepper):
    """The exported package's NumPy executor. Starting it takes a moment: :meth:`steps` with many frames starts it once."""

    name: ClassVar[str] = "lava-stepper"

    def __init__(self, runtime: LavaStepperRuntime, form: StepForm, batch: int, wanted: Sequence[str] = ()) -> None:
        """Begin a run on a runtime of the same network."""
        super().__init__(form, batch, wanted)
        self._runtime = runtime
        self._left: Left | None = None
        made = {op.name: op.outputs[0] for op in form.block}
        self._keys = {name: made[name.rsplit(".", 1)[0]] for name in form.state_types}

    def _blocks(self, frames: NDArray[np.uint8]) -> Iterator[Trace]:
        trace, self._left = self._runtime.trace_frames(frames, self.wanted, self._left)
        blocks, output = len(frames) // self.form.span, self.form.block.output
        sums = trace.pop(output)[self.form.span - 1 :: self.form.span]
        increments = np.diff(sums, axis=0, prepend=np.zeros_like(sums[:1]))
        for number in range(blocks):
            made = {name: np.split(value, blocks)[number] for name, value in trace.items()}
            yield {**made, output: increments[number]}

    def _advance(self, frames: NDArray[np.uint8]) -> Trace:
        return next(self._blocks(frames))

    def _remembered(self) -> Remembered:
        if self._left is None:
            return {name: array.astype(np.int32) for name, array in self.form.initial(self.batch).items()}
        return {name: np.ascontiguousarray(self._left.remembered[key], np.int32) for name, key in self._keys.items()}

    def _remember(self, taken: int, remembered: Remembered) -> None:
        self._left = Left(taken, {key: remembered[name] for name, key in self._keys.items()}) if taken else None


class LavaSteps(LavaStepperSteps):
    """Lava's simulator."""

    name: ClassVar[str] = LavaRuntime.name
