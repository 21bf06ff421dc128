"""When each process sees a model step on Lava, where a stock process sends one step late.

Lava's ``Sparse`` sends in each step what it computed in the step before, so a population made of stock processes
is one step behind what it reads, and so is everything that reads it. The values are those of the NumPy stepper,
which knows nothing of this; only the Lava step in which they pass is another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .network import Process


@dataclass(frozen=True)
class Schedule:
    """Lava steps by which each process is behind.

    Attributes:
        processes: in an order in which they can run.
        start: name of a process -> Lava steps that pass before its first model step.
        ready: name of a value -> Lava steps that pass before the step in which its first model step is sent.

    """

    processes: Sequence[Process]
    start: dict[str, int]
    ready: dict[str, int]

    @classmethod
    def of(cls, processes: Sequence[Process]) -> Schedule:
        """``start = max over inputs of ready``; ``ready = start + 1`` behind a stock process, ``start`` behind ours."""
        start: dict[str, int] = {}
        ready: dict[str, int] = {}
        for process in processes:
            begin = max((ready.get(name, 0) for name in process.inputs), default=0)
            start[process.name] = begin
            ready[process.output] = begin + (process.lowering == "stock")
        return cls(processes, start, ready)

    @property
    def latency(self) -> int:
        """Lava steps that a run takes beyond its model steps."""
        return max(self.ready.values(), default=0)

    def lags(self, process: Process) -> tuple[int, ...]:
        """Steps for which each of a process' in-ports must hold back what arrives, so that all are of one model step."""
        return tuple(self.start[process.name] - self.ready.get(name, 0) for name in process.inputs)
