"""Synaptic operations of one op on real inputs, counted exactly: nothing is done where there is no spike or no weight."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.intervals import IntArray
from ds2ta_deploy.graph.ops import Conv2d, InputTable, Linear, MatMul, Mul, Op, Readout, TemporalWindow, TimeMix


@dataclass(frozen=True)
class Operations:
    """How much is done, summed over samples and time steps.

    Attributes:
        effective_acs: accumulates, a spike meets a weight that is not zero, or another spike.
        effective_macs: multiply-accumulates of two integers that are both not zero.
        window_additions: additions of attenuated products (TASA), one for each neuron, step and lag, spike or not.

    """

    effective_acs: int = 0
    effective_macs: int = 0
    window_additions: int = 0

    def __add__(self, other: "Operations") -> "Operations":
        """Add count to count."""
        return Operations(
            self.effective_acs + other.effective_acs,
            self.effective_macs + other.effective_macs,
            self.window_additions + other.window_additions,
        )


def count_operations(graph: Graph, op: Op, read: tuple[IntArray, ...]) -> Operations:
    """Return the operations of one op on its inputs.

    A weight layer that reads spikes, or small counts of them, takes ``sum over inputs of count * fan-out`` accumulates:
    every spike adds each weight behind it once. Fan-out is the number of weights that are not zero, in a convolution
    without those that fall off the picture. A layer that reads pixels multiplies: one multiply-accumulate where pixel and
    weight are both not zero. A product of two activations accumulates where one side is proved to be a spike, and
    multiplies otherwise; it is done where both sides are not zero.
    """
    match op:
        case Linear() | Conv2d() | Readout():
            pixels = _reads_pixels(graph, op)
            met = _weights_met(op, (read[0] != 0).astype(np.int64) if pixels else read[0])
            return Operations(effective_macs=met) if pixels else Operations(effective_acs=met)
        case MatMul():
            left, right = ((side != 0).astype(np.int64) for side in read)
            terms = left.sum(axis=-1 if op.transpose_left else -2) * right.sum(axis=-2 if op.transpose_right else -1)
            return _of_activations(graph, op, int(terms.sum()))
        case Mul():
            return _of_activations(graph, op, int(np.count_nonzero((read[0] != 0) & (read[1] != 0))))
        case TimeMix():
            later = np.count_nonzero(np.tril(op.matrix), axis=0)  # steps that read each step
            return Operations(effective_macs=int((later * np.count_nonzero(read[0].reshape(len(later), -1), axis=1)).sum()))
        case TemporalWindow():
            steps = read[0].shape[0]
            lagged = sum(max(steps - lag, 0) for lag in range(1, op.taps))
            return Operations(window_additions=lagged * (read[0].size // steps))
        case _:
            return Operations()


def _weights_met(op: Linear | Conv2d | Readout, inputs: IntArray) -> int:
    """Sum over inputs of ``input * fan-out``."""
    present = op.weight != 0
    if not isinstance(op, Conv2d):  # inputs of one channel have one fan-out, wherever they are
        return int((inputs.sum(axis=tuple(range(inputs.ndim - 1))) * present.sum(axis=0)).sum())
    fan_out = present.sum(axis=0, keepdims=True).astype(np.int16)  # as one output channel: the convolution itself knows the border
    (met,) = dataclasses.replace(op, weight=fan_out).execute(inputs)
    return int(met.sum())


def _of_activations(graph: Graph, op: Op, done: int) -> Operations:
    """Accumulates where a spike gates the other side, multiplications otherwise."""
    gated = any(graph.ranges[name].minimum >= 0 and graph.ranges[name].maximum <= 1 for name in op.inputs)
    return Operations(effective_acs=done) if gated else Operations(effective_macs=done)


def _reads_pixels(graph: Graph, op: Op) -> bool:
    """Whether the op reads the network's encoded input, not spikes."""
    return any(isinstance(other, InputTable) and other.outputs[0] == op.inputs[0] for other in graph)
