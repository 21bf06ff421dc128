"""Runtime ``native`` step by step: the library computes a block, and leaves its neurons where the next one finds them."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.graph.stepping import StepForm
from ds2ta_deploy.runtimes.base import Trace
from ds2ta_deploy.runtimes.native.memory import Memory
from ds2ta_deploy.runtimes.native.plan import Plan
from ds2ta_deploy.runtimes.run_state import Remembered
from ds2ta_deploy.runtimes.stepper import Stepper


class NativeStepper(Stepper):
    """Advances a network with the native library. Not to be shared by several callers at once."""

    name: ClassVar[str] = "native"

    def __init__(
        self, form: StepForm, batch: int, wanted: Sequence[str] = (), threads: int | None = None, instruction_set: str | None = None
    ) -> None:
        """Make the plan and begin a run.

        Args:
            form: the network step by step.
            batch: number of samples that run side by side.
            wanted: names of values that every block shall report.
            threads: as for :class:`NativeRuntime`.
            instruction_set: as for :class:`NativeRuntime`.

        Raises:
            MissingRuntimeError: DS2TA-405 when the library is not there.
            UnsupportedError: DS2TA-243 for what the library cannot run.
            UsageError: DS2TA-505 for a wanted name that is no value of the network, DS2TA-513 for an instruction set or a number of
                threads that cannot be.

        """
        super().__init__(form, batch, wanted)
        self.plan = Plan(form.block, threads, instruction_set)
        self._memory = Memory(self.plan, form.block, batch)

    def _advance(self, frames: NDArray[np.uint8]) -> Trace:
        return self.plan.advance(self.taken, self._memory.array, frames, self.wanted)

    def _remembered(self) -> Remembered:
        return self._memory.read()

    def _remember(self, taken: int, remembered: Remembered) -> None:
        self._memory.write(remembered)
