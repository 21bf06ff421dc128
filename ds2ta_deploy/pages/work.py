"""What an engine that skips zeros has to do: counted from a trace, exactly."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.energy.synaptic import count_operations
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.operations import dense_operations
from ds2ta_deploy.graph.ops import Conv2d, Linear, MatMul, Mul, Op, Readout, TimeMix

Integers = NDArray[np.integer]

#: Ops that multiply.
WORKING = (Linear, Conv2d, Readout, MatMul, Mul, TimeMix)


@dataclass
class Work:
    """What one op does, over some samples.

    Attributes:
        dense: multiply-accumulates when nothing is skipped.
        accumulates: additions of a weight that is not zero, one for every spike (or unit of a count) and connection.
        multiplies: multiply-accumulates where neither side is a spike, of integers that are both not zero.
        zeros: elements of the first input that are 0.
        elements: of the first input.

    """

    dense: int = 0
    accumulates: int = 0
    multiplies: int = 0
    zeros: int = 0
    elements: int = 0

    @property
    def sparsity(self) -> float:
        """Share of the first input that is 0."""
        return self.zeros / self.elements if self.elements else 0.0

    def add(self, other: "Work") -> None:
        """Add another op's work, or other samples'."""
        self.dense += other.dense
        self.accumulates += other.accumulates
        self.multiplies += other.multiplies
        self.zeros += other.zeros
        self.elements += other.elements


def work_of(graph: Graph, op: Op, inputs: list[Integers], samples: int) -> Work:
    """Count what one op has to do, as :func:`ds2ta_deploy.energy.synaptic.count_operations` does.

    Args:
        graph: that the op is in.
        op: one of :data:`WORKING`.
        inputs: its inputs, for these samples.
        samples: how many.

    """
    done = count_operations(graph, op, tuple(array.astype(np.int64) for array in inputs))
    zeros = int((inputs[0] == 0).sum())
    return Work(dense_operations(graph, op) * samples, done.effective_acs, done.effective_macs, zeros, inputs[0].size)
