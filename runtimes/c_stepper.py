"""Runtime ``c`` step by step: the compiled code's own ``ds2ta_step``, one state a sample."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.c_code.layout import Layout
from ds2ta_deploy.c_code.memory import TYPES, Region
from ds2ta_deploy.errors import Problem, RuntimeFailedError
from ds2ta_deploy.runtimes.base import Trace
from ds2ta_deploy.runtimes.c_program import CRuntime, Rooms
from ds2ta_deploy.runtimes.run_state import Remembered
from ds2ta_deploy.runtimes.stepper import Stepper


class CStepper(Stepper):
    """Steps compiled C code; what it remembers is the code's own state, read and written as other engines know it."""

    name: ClassVar[str] = "c"

    def __init__(self, compiled: CRuntime, batch: int, wanted: Sequence[str] = ()) -> None:
        """Begin a run.

        Args:
            compiled: the network; several runs may share it.
            batch: number of samples that run side by side.
            wanted: names of values that every block shall report.

        Raises:
            UsageError: DS2TA-505 for a wanted name that is no value of the network.

        """
        self._program = compiled.program
        super().__init__(self._program.form, batch, wanted)
        self._compiled = compiled
        self._states = np.zeros(batch, self._program.state_struct)

    def _advance(self, frames: NDArray[np.uint8]) -> Trace:
        """Take the steps of a block.

        Raises:
            RuntimeFailedError: DS2TA-606 when the code refuses one, which it must not.

        """
        samples = np.ascontiguousarray(frames.swapaxes(0, 1))
        rooms = Rooms(self._program, self.form.block.types, self.wanted, self.batch)
        with self._compiled.turn:
            refused = self._compiled.library.ds2ta_host_step(
                self._states.ctypes.data, samples.ctypes.data, self.batch, len(frames), rooms.pointers
            )
        if refused:
            raise RuntimeFailedError(Problem("DS2TA-606", f"refused {refused} time steps that are proven", self.form.block.name))
        readout = self._program.readout.name
        increment = self._held(self._program.memory.state[readout, "total"])
        return rooms.values() | {self.form.block.output: increment.astype(np.int32)}

    def _remembered(self) -> Remembered:
        found = {}
        for name in self.form.state_types:
            region, lead, layout = self._place(name)
            held = self._held(region).reshape(self.batch, *lead, *layout.in_memory)
            found[name] = np.ascontiguousarray(held.transpose(np.argsort(_to_memory(len(lead), layout)))).astype(np.int32)
        return found

    def _remember(self, taken: int, remembered: Remembered) -> None:
        self._states = np.zeros(self.batch, self._program.state_struct)
        self._states["step"] = self._program.step_number(taken)
        for name, array in remembered.items():
            region, lead, layout = self._place(name)
            self._held(region)[:] = array.transpose(_to_memory(len(lead), layout)).reshape(self.batch, -1)

    def _held(self, region: Region) -> NDArray[np.integer]:
        """Return every sample's part of an array of the state, ``[B, elements]``; a view."""
        array: NDArray[np.integer] = self._states[TYPES[region.dtype][0]]
        return array[:, region.offset : region.offset + region.elements]

    def _place(self, name: str) -> tuple[Region, tuple[int, ...], Layout]:
        """Return where something remembered lies, its axes in front of the samples, and how the others lie."""
        op, _, role = name.rpartition(".")
        shape = self.form.state_types[name].shape
        lead = tuple(size or 1 for size in shape[: shape.index(None)])
        return self._program.memory.state[op, role], lead, self._program.layouts[self._program.outputs[op]]


def _to_memory(lead: int, layout: Layout) -> list[int]:
    """Return the axes of ``[steps, B, ...]`` in the order of memory: the sample first, then steps, then as the layout says."""
    return [lead, *range(lead), *(lead + 1 + axis for axis in layout.order)]
