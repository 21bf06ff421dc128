"""One op to one operation of the native library, for what is no part of a larger one: membrane streams, heads, chunks."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.ops import Op
from ds2ta_deploy.runtimes.native import library
from ds2ta_deploy.runtimes.native.layout import Layout
from ds2ta_deploy.runtimes.native.steps import Step

Layouts = dict[str, Layout]

#: Ops that only say how a memory is to be read.
VIEWS = (ops.Tokens, ops.Pixels, ops.SplitHeads, ops.MergeHeads, ops.Chunk, ops.Unchunk, ops.Repeat)

#: Bits of a part of a wide weight, its sign left out: small enough that two rows are added in 8 bits.
_PART_BITS = 7


def parts_of(weight: NDArray[Any]) -> list[tuple[int, NDArray[np.int8]]]:
    """Cut weights into int8 parts: ``weight = sum over parts of part << shift``.

    Example:
        >>> parts_of(np.array([8191, -8192, 3], np.int16))
        [(7, array([ 64, -64,   0], dtype=int8)), (0, array([-1,  0,  3], dtype=int8))]

    """
    if weight.dtype == np.int8:  # nothing to cut, and nothing to hold a second time
        return [(0, weight)]
    parts: list[tuple[int, NDArray[np.int8]]] = []
    rest, shift = weight.astype(np.int64), 0
    while rest.min(initial=0) < -128 or rest.max(initial=0) > 127:
        low = (rest + 2 ** (_PART_BITS - 1)) % 2**_PART_BITS - 2 ** (_PART_BITS - 1)
        parts.insert(0, (shift, low.astype(np.int8)))
        rest, shift = (rest - low) >> _PART_BITS, shift + _PART_BITS
    return [(shift, rest.astype(np.int8)), *parts]


def weighted(op: ops.Linear | ops.Conv2d, window: ops.TemporalWindow | None, layouts: Layouts) -> list[Step]:
    """Return the operations that add a layer's products into a stream: one for each part of the weights.

    Args:
        op: the weights.
        window: adds nothing but its bias, and is done with; None where there is none.
        layouts: of all values; those between the parts are added.

    """
    last = window or op
    integers = {"in_channels": op.weight.shape[-1], "out_channels": op.weight.shape[0], "size": 1}
    kind = library.LINEAR
    if isinstance(op, ops.Conv2d):
        kind, integers = library.CONV, integers | {"size": op.weight.shape[1], "dilation": op.dilation}
    steps: list[Step] = []
    parts = parts_of(op.weight)
    for number, (shift, weight) in enumerate(parts, 1):
        before = steps[-1].output if steps else ""
        suffix = "" if number == len(parts) else f" (part {number} of {len(parts)})"
        step = Step(kind, last.name + suffix, (op.inputs[0], before, ""), last.outputs[0] + suffix, integers | {"shift": shift})
        step.arrays |= {"weight": weight, "bias": np.zeros(len(weight), np.int32)}
        layouts[step.output] = layouts[last.outputs[0]]
        steps.append(step)
    if window:
        steps[-1].arrays["bias"] = window.bias
        steps[-1].inner["product"] = op.outputs[0]
    return steps


def neuron(op: ops.Lif, layouts: Layouts, source: str, window: ops.TemporalWindow | None = None) -> Step:
    """Return the operation of a neuron that reads a stream or a sum, through a window if there is one."""
    made = layouts[op.outputs[0]]
    heads, channels = made.heads, made.channels
    still = window is not None and layouts[window.outputs[0]].still
    integers = {
        "taps": 1 if window is None or still else window.taps,
        "decay": 0 if window is None else window.decay,
        "guard_bits": 0 if window is None else window.guard_bits,
        "leak_numerator": op.leak_numerator,
        "leak_shift": op.leak_shift,
        "out_channels": channels,
        "still": int(still),
    }
    bias = np.zeros(channels, np.int32) if window is None else np.tile(window.bias, heads)
    arrays = {"bias": bias, "threshold": np.tile(op.threshold, heads)}
    step = Step(library.NEURON, op.name, (source,), op.outputs[0], integers, arrays, remembers=(op,) if window is None else (window, op))
    step.inner["membrane"] = op.outputs[1]
    if window is not None:
        step.inner["current"] = window.outputs[0]
    return step


def single(op: Op, layouts: Layouts) -> list[Step] | None:
    """Return the operations that do what one op does; None where the library has none."""
    if not set(op.inputs) <= layouts.keys():
        return None  # reads raw pixels
    if isinstance(op, ops.Lif):
        return [neuron(op, layouts, op.inputs[0])]
    rule = _RULES.get(type(op))
    described = None if rule is None else rule(op, layouts)
    if described is None:
        return None
    kind, integers, arrays = described
    return [Step(kind, op.name, op.inputs, op.outputs[0], integers, arrays, remembers=(op,))]


Described = tuple[int, dict[str, int], dict[str, NDArray[Any]]]


def _add(op: ops.Add, layouts: Layouts) -> Described | None:
    if _forms(op, layouts) != 1:
        return None
    return library.ADD if layouts[op.outputs[0]].planes else library.SUM, {}, {}


def _multiply(op: ops.Mul, layouts: Layouts) -> Described | None:
    if _forms(op, layouts) != 1:
        return None
    heads = [layouts[name].heads for name in (*op.inputs, op.outputs[0])]
    return library.MULTIPLY, {"left_heads": heads[0], "right_heads": heads[1], "heads": heads[2]}, {}


def _forms(op: Op, layouts: Layouts) -> int:
    """Count the forms of the inputs: an axis of a picture and one of heads may have the same size by chance."""
    return len({layouts[name].form for name in op.inputs})


def _pool(op: ops.MaxPool2d, layouts: Layouts) -> Described | None:
    read = layouts[op.inputs[0]]
    if (read.form, op.axis) == ("picture", 2):
        return library.POOL if read.planes == 1 else library.MAXIMUM, {"stride": op.stride, "axis": library.OVER_TOKENS}, {}
    if (read.form, op.axis) == ("heads", 3):
        return library.MAXIMUM, {"stride": op.stride, "axis": library.OVER_CHANNELS, "heads": read.heads}, {}
    return None


#: What the axes of each form are to the library.
_SUMMED = {
    ("tokens", 2): library.OVER_TOKENS,
    ("tokens", 3): library.OVER_CHANNELS,
    ("picture", 4): library.OVER_CHANNELS,
    ("heads", 2): library.OVER_HEADS,
    ("heads", 3): library.OVER_TOKENS,
    ("heads", 4): library.OVER_CHANNELS,
}


def _reduce(op: ops.ReduceSum, layouts: Layouts) -> Described | None:
    read = layouts[op.inputs[0]]
    axis = _SUMMED.get((read.form, op.axis))
    return None if axis is None else (library.REDUCE, {"heads": read.heads, "axis": axis}, {})


def _matmul(op: ops.MatMul, layouts: Layouts) -> Described:
    turned = {"transpose_left": op.transpose_left, "transpose_right": op.transpose_right}
    return library.MATMUL, {"heads": layouts[op.outputs[0]].heads, **turned}, {}


def _lookup(op: ops.Lookup, layouts: Layouts) -> Described:
    return library.LOOKUP, {"heads": layouts[op.outputs[0]].heads, "entries": op.table.shape[1]}, {"table": op.table}


def _window(op: ops.TemporalWindow, layouts: Layouts) -> Described:
    integers = {"taps": op.taps, "decay": op.decay, "guard_bits": op.guard_bits}
    return library.WINDOW, integers, {"bias": np.tile(op.bias, layouts[op.outputs[0]].heads)}


def _time_mix(op: ops.TimeMix, layouts: Layouts) -> Described:
    return library.TIME_MIX, {"entries": len(op.matrix)}, {"table": op.matrix}


def _threshold(op: ops.Threshold, layouts: Layouts) -> Described:
    return library.COMPARE, {"entries": len(op.threshold)}, {"threshold": op.threshold}


_RULES: dict[type[Op], Callable[[Any, Layouts], Described | None]] = {
    ops.Add: _add,
    ops.Mul: _multiply,
    ops.MaxPool2d: _pool,
    ops.ReduceSum: _reduce,
    ops.MatMul: _matmul,
    ops.Lookup: _lookup,
    ops.TemporalWindow: _window,
    ops.TimeMix: _time_mix,
    ops.Threshold: _threshold,
}
