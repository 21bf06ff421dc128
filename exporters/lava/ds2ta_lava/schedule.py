"""When each process sees a model step on Lava, where some processes send later than they receive.

Lava's ``Sparse`` sends in each step what it computed in the step before, so a population made of stock processes
is one step behind what it reads. A process with chunks of n time steps can send a chunk's first step only when its
last one has arrived: it is n - 1 steps behind. So is everything that reads it, and a value that goes around it waits
where both meet. The values are those of the NumPy stepper, which knows nothing of this; only the Lava step in which
they pass is another one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol


def delay_of(*, stock: bool, block: int) -> int:
    """Lava steps by which a process sends later than it receives.

    Args:
        stock: whether Lava's own processes run it.
        block: time steps that it takes together (see ``cell.Cell``).

    """
    return 1 if stock else block - 1


class Timed(Protocol):
    """What the schedule has to know of a process."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def inputs(self) -> Sequence[str]:
        """Names of the values it receives."""

    @property
    def output(self) -> str:
        """Name of the value it sends."""

    @property
    def delay(self) -> int:
        """Lava steps by which it sends later than it receives."""


@dataclass(frozen=True)
class Schedule:
    """Lava steps by which each process is behind.

    Attributes:
        start: name of a process -> Lava steps that pass before its first model step.
        ready: name of a value -> Lava steps that pass before the step in which its first model step is sent.

    """

    start: dict[str, int]
    ready: dict[str, int]

    @classmethod
    def of(cls, processes: Iterable[Timed]) -> Schedule:
        """``start = max over inputs of ready``; ``ready = start + delay``; processes in an order in which they can run."""
        start: dict[str, int] = {}
        ready: dict[str, int] = {}
        for process in processes:
            begin = max((ready.get(name, 0) for name in process.inputs), default=0)
            start[process.name] = begin
            ready[process.output] = begin + process.delay
        return cls(start, ready)

    @property
    def latency(self) -> int:
        """Lava steps that a run takes beyond its model steps."""
        return max(self.ready.values(), default=0)

    def lags(self, process: Timed) -> tuple[int, ...]:
        """Steps for which each of a process' in-ports must hold back what arrives, so that all are of one model step."""
        return tuple(self.start[process.name] - self.ready.get(name, 0) for name in process.inputs)
