"""What an engine that skips zeros has to do: counted from a trace, exactly."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
        accumulates: additions of a weight, one for every spike (or unit of a count) and connection.
        multiplies: multiply-accumulates where neither side is a spike or a count.
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
    """Count what one op has to do.

    ``accumulates = sum over inputs of (count x fan-out)``: a spike costs one addition at each neuron it reaches; a
    connection into the padding of a convolution does not exist. A product of two activations costs one for every pair of
    units that meet.

    Args:
        graph: that the op is in.
        op: one of :data:`WORKING`.
        inputs: its inputs, for these samples.
        samples: how many.

    """
    found = Work(dense=dense_operations(graph, op) * samples)
    found.zeros, found.elements = int((inputs[0] == 0).sum()), inputs[0].size
    counted = any(array.dtype == np.uint8 for array in inputs)
    done = _meetings(op, inputs) if isinstance(op, MatMul | Mul) else _spread(op, inputs[0]) if not isinstance(op, TimeMix) else found.dense
    found.accumulates, found.multiplies = (done, 0) if counted else (0, done)
    return found


def _units(array: Integers) -> NDArray[np.int64]:
    """Counts as they are; of other integers, 1 where there is something to add."""
    return array.astype(np.int64) if array.dtype == np.uint8 else (array != 0).astype(np.int64)


def _spread(op: Op, values: Integers) -> int:
    """Units times connections, of one input."""
    units = _units(values)
    if isinstance(op, Conv2d):
        reach = [_reach(size, op) for size in values.shape[2:4]]
        return int(np.einsum("tbhwc,h,w->", units, *reach)) * len(op.weight)
    return int(units.sum()) * len(op.weight) if isinstance(op, Linear | Readout) else 0


def _reach(size: int, op: Conv2d) -> NDArray[np.int64]:
    """Outputs along one axis that each of ``size`` inputs reaches."""
    taps = op.dilation * (np.arange(op.weight.shape[1]) - op.weight.shape[1] // 2)
    places = np.arange(size)[:, None] - taps
    reached: NDArray[np.int64] = ((places >= 0) & (places < size)).sum(axis=1, dtype=np.int64)
    return reached


def _meetings(op: Op, inputs: list[Integers]) -> int:
    """Pairs of units that are multiplied with each other."""
    left, right = (_units(array) for array in inputs)
    if not isinstance(op, MatMul):
        return int((left * right).sum())
    rows = left.sum(axis=-1 if op.transpose_left else -2)
    columns = right.sum(axis=-2 if op.transpose_right else -1)
    return int((rows * columns).sum())
