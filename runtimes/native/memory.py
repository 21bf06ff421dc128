"""What a run remembers from one time step to the next: in the library's memory, and as every engine says it."""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.graph.ops import Op
from ds2ta_deploy.graph.stepping import BlockGraph
from ds2ta_deploy.runtimes.native import library
from ds2ta_deploy.runtimes.native.layout import Layout
from ds2ta_deploy.runtimes.native.plan import Plan
from ds2ta_deploy.runtimes.native.steps import Step
from ds2ta_deploy.runtimes.run_state import Remembered

#: Bytes that the address of a register's memory is a multiple of.
_ALIGNMENT = 64


@dataclass(frozen=True)
class _Place:
    """Where one of the values that are remembered lies.

    Attributes:
        name: ``op.role``.
        shape: as :attr:`StepForm.state_types` has it.
        layout: of one time step of it.
        memory: int32 ``[sample, token, tile, slot, channel]``, a view of the state.

    """

    name: str
    shape: tuple[int, ...]
    layout: Layout
    memory: NDArray[np.int32]

    def read(self) -> NDArray[np.int32]:
        """Return a copy of it."""
        batch, tokens, tiles, slots, lanes = self.memory.shape
        rows = self.memory.transpose(3, 0, 1, 2, 4).reshape(slots, batch, tokens, tiles * lanes)[..., : self.layout.channels]
        return replace(self.layout, steps=slots).spread(rows, batch).reshape(self.shape)

    def write(self, array: NDArray[np.int32]) -> None:
        """Put it in place; what the channels are padded with is zero."""
        batch, tokens, tiles, slots, lanes = self.memory.shape
        rows = np.zeros((slots, batch, tokens, tiles * lanes), np.int32)
        rows[..., : self.layout.channels] = self.layout.gather(array, batch)
        self.memory[...] = rows.reshape(slots, batch, tokens, tiles, lanes).transpose(1, 2, 3, 0, 4)


class Memory:
    """The state of some samples, all zero at first."""

    def __init__(self, plan: Plan, block: BlockGraph, batch: int) -> None:
        """Make room for it.

        Args:
            plan: what was made of the block.
            block: the network's time steps that the plan runs at once.
            batch: samples.

        """
        size = plan.state_size
        room = np.zeros(batch * size + _ALIGNMENT // 4, np.int32)
        begin = -room.ctypes.data % _ALIGNMENT // 4
        self.array = room[begin : begin + batch * size].reshape(batch, size)
        self._places = [
            place
            for index, step in enumerate(plan.steps)
            for place in _places(step, plan.layouts, block, self.array[:, plan.state_place(index) :])
        ]

    def read(self) -> Remembered:
        """Return what is remembered, as :attr:`StepForm.state_types` says; own copies."""
        return {place.name: place.read() for place in self._places}

    def write(self, remembered: Remembered) -> None:
        """Put in place what was remembered."""
        for place in self._places:
            place.write(remembered[place.name])


def _places(step: Step, layouts: dict[str, Layout], block: BlockGraph, state: NDArray[np.int32]) -> list[_Place]:
    """Cut an operation's part of the state into what its ops remember: slots, one behind the other."""
    found: list[tuple[Op, str, tuple[int, ...]]] = []
    for op in step.remembers:
        for role, kind in op.state_types([block.types[name] for name in op.inputs]).items():
            found.append((op, role, tuple(len(state) if size is None else size for size in kind.shape)))
    if not found:
        return []
    made = layouts[step.output]
    tiles, lanes = (-(-made.channels // library.TILE), library.TILE) if made.planes else (1, made.channels)
    slots = [math.prod(shape) // (len(state) * made.tokens * made.channels) if len(state) else 0 for _, _, shape in found]
    room = made.tokens * tiles * sum(slots) * lanes
    whole = state[:, :room].reshape(len(state), made.tokens, tiles, sum(slots), lanes)
    return [
        _Place(f"{op.name}.{role}", shape, layouts[op.outputs[0]], whole[:, :, :, sum(slots[:index]) : sum(slots[: index + 1])])
        for index, (op, role, shape) in enumerate(found)
    ]
