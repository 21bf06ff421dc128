"""Why a fault is not noticed: because it changes nothing for any input, by proof, or because the inputs do not excite it."""

import numpy as np
from faults.catalogue import MORE_THAN, Fault
from numpy.typing import NDArray

from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.intervals import Interval
from ds2ta_deploy.runtimes.base import Trace


def equivalent(graph: Graph, fault: Fault) -> str | None:
    """Return why the faulty network computes the same spikes, counts and logits for every input; None when that is not proved."""
    op = next((op for op in graph if op.name == fault.op), None)
    match op:
        case ops.Linear() | ops.Conv2d() | ops.Readout() if fault.field == "weight" and fault.index:
            low, high = graph.ranges[op.inputs[0]].per_channel(op.weight.shape[-1])
            reason = "its input is 0, by proof" if low[fault.index[-1]] == high[fault.index[-1]] == 0 else None
        case ops.Lif() if fault.field == "threshold":
            reason = _no_membrane_between(op, graph.ranges[op.outputs[1]], fault)
        case ops.Lookup() if fault.field == "table" and fault.index:
            index = graph.ranges[op.inputs[0]]
            reason = None if index.minimum <= fault.index[1] <= index.maximum else "no index reaches the entry, by proof"
        case ops.TemporalWindow() if fault.field == "bias":
            moved = (fault.value - int(op.bias[fault.index])) << op.guard_bits
            reason = "int32 drops the bit behind the guard bits" if moved % 2**32 == 0 else None
        case ops.TemporalWindow() if fault.field in ("taps", "decay"):
            reason = _no_tap_changes(graph, op, fault)
        case ops.TimeMix() if fault.field == "matrix" and fault.index:
            interval = graph.ranges[op.inputs[0]]
            reason = "what it weights is 0, by proof" if interval.minimum == interval.maximum == 0 else None
        case ops.Threshold() if fault.field == "threshold" and fault.index:
            interval, ends = graph.ranges[op.inputs[0]], sorted((int(op.threshold[fault.index]), fault.value))
            reason = "no sum lies between the thresholds, by proof" if interval.maximum < ends[0] or interval.minimum >= ends[1] else None
        case ops.Lif() if fault.field in ("leak_shift", "leak_numerator"):
            reason = _no_leak_changes(graph, op, fault)
        case _:
            reason = None
    return reason


def _no_membrane_between(op: ops.Lif, membrane: Interval, fault: Fault) -> str | None:
    """A neuron fires at ``V >= threshold``: two thresholds differ for the membranes between them only."""
    (channel,) = fault.index
    low, high = (int(bound[channel]) for bound in membrane.per_channel(len(op.threshold)))
    first, last = sorted((int(op.threshold[channel]), fault.value))
    return "no membrane lies between the thresholds, by proof" if high < first or low >= last else None


def _no_tap_changes(graph: Graph, op: ops.TemporalWindow, fault: Fault) -> str | None:
    """Taps beyond the run are never added; the decay of the present tap is no decay."""
    steps = graph.types[op.inputs[0]].shape[0] or 1
    if fault.field == "taps" and min(op.taps, steps) == min(fault.value, steps):
        return f"the run has {steps} steps"
    if fault.field == "decay" and min(op.taps, steps) == 1:
        return "there is one tap, which does not decay"
    return None


def _no_leak_changes(graph: Graph, op: ops.Lif, fault: Fault) -> str | None:
    """A run of one step never leaks; nothing times anything is nothing."""
    if graph.types[op.inputs[0]].shape[0] == 1:
        return "the run has one step"
    if fault.field == "leak_shift" and op.leak_numerator == 0:
        return "the neuron keeps nothing"
    return None


def leaks_whole(graph: Graph, neuron: ops.Lif, step: int) -> bool:
    """Whether the membrane of a step, unless reset, is a multiple of what the leak divides it by: nothing is rounded.

    The current of step t is a sum of taps ``(product << g) >> tau m`` with m <= t and of ``bias << g``, so it is a multiple
    of ``2^(g - tau t)``; a leak takes ``leak_shift`` from that.
    """
    makers = {name: op for op in graph for name in op.outputs}
    window = makers[neuron.inputs[0]]
    repeated = isinstance(window, ops.Repeat)
    while isinstance(window, ops.Repeat):
        window = makers[window.inputs[0]]
    if not isinstance(window, ops.TemporalWindow):
        return False  # of a stream nothing of the kind is known
    zeros = 64
    for t in range(step + 1):
        lags = 0 if repeated else min(window.taps - 1, t)
        zeros = min(zeros - neuron.leak_shift if t else zeros, window.guard_bits - window.decay * lags)
    return zeros >= neuron.leak_shift


def unexcited(graph: Graph, trace: Trace, inputs: NDArray[np.uint8], fault: Fault) -> str | None:  # noqa: PLR0911 - one a kind
    """Return why these inputs cannot tell the faulty network from the true one; None when they could.

    An exact condition, not a guess: the value that the fault changes is the same at every place, or no membrane met lies
    between the two thresholds.
    """
    op = next((op for op in graph if op.name == fault.op), None)
    values = {**trace, graph.input_name: inputs}
    if op is not None:
        values[op.inputs[0]] = _seen(graph, values, op.inputs[0])
    match op:
        case ops.Linear() | ops.Readout() if fault.field == "weight" and fault.index:
            return None if values[op.inputs[0]][..., fault.index[1]].any() else "the input's neuron never fires"
        case ops.Conv2d() if fault.field == "weight" and fault.index:
            return None if _seen_by_tap(op, values[op.inputs[0]], fault.index).any() else "nothing but zeros comes under this tap"
        case ops.Lif() if fault.field == "threshold":
            (channel,) = fault.index
            membrane = values[op.outputs[1]][..., channel]
            first, last = sorted((int(op.threshold[channel]), fault.value))
            return None if ((membrane >= first) & (membrane < last)).any() else "no membrane met lies between the thresholds"
        case ops.Lif() if fault.kind == MORE_THAN:
            return None if (values[op.outputs[1]] == op.threshold).any() else "no membrane met is at its threshold"
        case ops.Threshold() if fault.field == "threshold" and fault.index:
            (step,), seen = fault.index, values[op.inputs[0]]
            first, last = sorted((int(op.threshold[step]), fault.value))
            return None if ((seen[step] >= first) & (seen[step] < last)).any() else "no sum met lies between the thresholds"
        case ops.Threshold() if fault.kind == MORE_THAN:
            shape = (-1, *[1] * (values[op.inputs[0]].ndim - 1))
            return None if (values[op.inputs[0]] == op.threshold.reshape(shape)).any() else "no sum met is at its threshold"
        case ops.TimeMix() if fault.field == "matrix" and fault.index:
            return None if values[op.inputs[0]][fault.index[1]].any() else "what it weights is 0"
        case ops.Lookup() if fault.field == "table" and fault.index:
            head, entry = fault.index
            return None if (values[op.inputs[0]][:, :, head] == entry).any() else "no score is this index"
        case ops.InputTable() if fault.field == "table" and fault.index:
            channel, entry = fault.index
            return None if (values[op.inputs[0]][..., channel] == entry).any() else "no pixel is this index"
        case _:
            return None


def _seen(graph: Graph, values: Trace, name: str) -> NDArray[np.integer]:
    """Return a value, or make a mere view of others, which no trace holds."""
    if name in values:
        return values[name]
    op = next(op for op in graph if name in op.outputs)
    made = op.execute(*(_seen(graph, values, read).astype(np.int64) for read in op.inputs))
    return made[op.outputs.index(name)]


def _seen_by_tap(op: ops.Conv2d, value: NDArray[np.integer], index: tuple[int, ...]) -> NDArray[np.integer]:
    """Return the inputs that one weight of a convolution is ever multiplied with."""
    _, row, column, channel = index
    middle, cut = op.weight.shape[1] // 2, []
    for tap, length in ((row, value.shape[2]), (column, value.shape[3])):
        offset = op.dilation * (tap - middle)
        cut.append(slice(max(offset, 0), length + min(offset, 0)))
    return value[:, :, cut[0], cut[1], channel]
