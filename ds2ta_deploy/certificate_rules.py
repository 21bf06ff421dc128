"""What each op does to intervals, for checking a certificate: its own arithmetic, which shares no code with the proof.

Python integers cannot overflow; weighted sums are int64, with terms of at most 2^15 x 2^15 and too few of them to
reach 2^63.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Row = tuple[int, int]
Json = dict[str, Any]

#: Python integers in an array, whose axes are the last ones of a value.
Ends = Any


@dataclass
class Value:
    """What is known of a value.

    Attributes:
        shape: sizes, time first; None for the batch.
        low: smallest integers, one a position of the last axes; a size of 1, or an axis that is not there, is for all positions.
        high: largest integers.

    """

    shape: list[Any]
    low: Ends
    high: Ends

    @property
    def hull(self) -> Row:
        """One interval around all."""
        return int(self.low.min()), int(self.high.max())

    def channels(self, count: int) -> tuple[Ends, Ends]:
        """Return both ends, one a channel, or raise ValueError."""
        return np.broadcast_to(self.low, (count,)), np.broadcast_to(self.high, (count,))

    def joined(self) -> tuple[Ends, Ends]:
        """Return both ends with one interval around the channels."""
        if self.low.ndim == 0:
            return self.low, self.high
        return self.low.min(-1, keepdims=True), self.high.max(-1, keepdims=True)


def ends(numbers: Any) -> Ends:
    """Return Python integers as an array."""
    return np.array(numbers, dtype=object)


def follow(op: Json, inputs: list[Value], array: Json) -> list[Value]:
    """Return what an op makes of its inputs.

    Args:
        op: its record in the graph file: class, name, wiring, integer attributes.
        inputs: what it reads.
        array: its tensors by field name.

    Raises:
        LookupError: for an op that has no rule.
        ValueError: for intervals that are not one a channel.

    """
    return _RULES[op["op"]](inputs, op["attributes"], array)


def _input_table(inputs: list[Value], fields: Json, array: Json) -> list[Value]:
    shape, rows = [1, *inputs[0].shape] if fields["still"] else inputs[0].shape, array["table"].tolist()
    return [Value(shape, ends([min(row) for row in rows]), ends([max(row) for row in rows]))]


def _linear(inputs: list[Value], _: Json, array: Json) -> list[Value]:
    (x,), weight = inputs, array["weight"]
    return [Value([*x.shape[:-1], len(weight)], *_sums(weight, *x.channels(x.shape[-1])))]


def _conv2d(inputs: list[Value], _: Json, array: Json) -> list[Value]:
    """How far apart the taps lie does not matter: some are outside the picture, and zero, either way."""
    (x,), weight = inputs, array["weight"]
    low, high = x.channels(x.shape[-1])
    places = weight.shape[1] * weight.shape[2]
    padded = (np.tile(end, places) for end in (np.minimum(low, 0), np.maximum(high, 0)))
    return [Value([*x.shape[:-1], len(weight)], *_sums(weight, *padded))]


def _readout(inputs: list[Value], _: Json, array: Json) -> list[Value]:
    """Running sums count, with the bias and without."""
    (x,), weight, bias = inputs, array["weight"], ends(array["bias"].tolist())
    low, high = (end * (x.shape[0] * x.shape[2]) for end in _sums(weight, *x.channels(x.shape[-1])))
    least, most = np.minimum(low, 0) + np.minimum(bias, 0), np.maximum(high, 0) + np.maximum(bias, 0)
    return [Value([x.shape[1], len(weight)], least, most)]


def _temporal_window(inputs: list[Value], fields: Json, array: Json) -> list[Value]:
    """What taps and bias can sum up to, in any number."""
    (x,), start = inputs, ends([bias << fields["guard_bits"] for bias in array["bias"].tolist()])
    low, high = np.minimum(start, 0), np.maximum(start, 0)
    for lag in range(min(fields["taps"], x.shape[0])):
        least, most = ((end * 2 ** fields["guard_bits"]) // 2 ** (fields["decay"] * lag) for end in (x.low, x.high))
        low, high = low + np.minimum(least, 0), high + np.maximum(most, 0)
    return [Value(x.shape, low, high)]


def _lif(inputs: list[Value], fields: Json, array: Json) -> list[Value]:
    """Spike and membrane; the membrane times the leak's numerator must fit as well."""
    (x,), threshold = inputs, ends(array["threshold"].tolist())
    numerator, unit = fields["leak_numerator"], 2 ** fields["leak_shift"]
    low, high = start = x.channels(len(threshold))
    for _ in range(x.shape[0] - 1):
        kept = low * numerator // unit, np.minimum(high, threshold - 1) * numerator // unit
        wider = start[0] + np.minimum(kept[0], 0), start[1] + np.maximum(kept[1], 0)
        if (wider[0] == low).all() and (wider[1] == high).all():
            break
        low, high = wider
    fires, grown = ends([int(most >= limit) for most, limit in zip(high, threshold, strict=True)]), max(numerator, 1)
    least, most = np.minimum(low, low * grown), np.maximum(high, np.minimum(high, threshold - 1) * grown)
    return [Value(x.shape, fires * 0, fires), Value(x.shape, least, most)]


def _repeat(inputs: list[Value], fields: Json, _: Json) -> list[Value]:
    return [Value([fields["time_steps"], *inputs[0].shape[1:]], inputs[0].low, inputs[0].high)]


def _max_pool2d(inputs: list[Value], fields: Json, _: Json) -> list[Value]:
    (x,), shape = inputs, list(inputs[0].shape)
    for axis in (fields["axis"], fields["axis"] + 1):
        shape[axis] = -(-shape[axis] // fields["stride"])
    return [Value(shape, x.low, x.high) if fields["axis"] == 2 else Value(shape, *x.joined())]


def _tokens(inputs: list[Value], _: Json, __: Json) -> list[Value]:
    time, batch, height, width, channels = inputs[0].shape
    return [Value([time, batch, height * width, channels], inputs[0].low, inputs[0].high)]


def _pixels(inputs: list[Value], fields: Json, _: Json) -> list[Value]:
    time, batch, tokens, channels = inputs[0].shape
    return [Value([time, batch, fields["height"], tokens // fields["height"], channels], inputs[0].low, inputs[0].high)]


def _add(inputs: list[Value], _: Json, __: Json) -> list[Value]:
    left, right = inputs
    return [Value(left.shape, left.low + right.low, left.high + right.high)]


def _mul(inputs: list[Value], _: Json, __: Json) -> list[Value]:
    left, right = inputs
    shape = [other if one == 1 else one for one, other in zip(left.shape, right.shape, strict=True)]
    return [Value(shape, *_corners(left.low, left.high, right.low, right.high))]


def _reduce_sum(inputs: list[Value], fields: Json, _: Json) -> list[Value]:
    """A running sum, from nothing to all positions."""
    (x,), axis = inputs, fields["axis"] - len(inputs[0].shape)
    size, shape = x.shape[axis], [*x.shape]
    shape[axis] = 1
    if x.low.ndim >= -axis and x.low.shape[axis] > 1:
        low, high = x.low.sum(axis, keepdims=True), x.high.sum(axis, keepdims=True)
    else:
        low, high = x.low * size, x.high * size
    return [Value(shape, np.minimum(low, 0), np.maximum(high, 0))]


def _split_heads(inputs: list[Value], fields: Json, _: Json) -> list[Value]:
    time, batch, tokens, width = inputs[0].shape
    low, high = inputs[0].hull
    return [Value([time, batch, fields["heads"], tokens, width // fields["heads"]], ends(low), ends(high))]


def _merge_heads(inputs: list[Value], _: Json, __: Json) -> list[Value]:
    time, batch, heads, tokens, width = inputs[0].shape
    low, high = (np.broadcast_to(end, (heads, 1, 1)).reshape(heads).repeat(width) for end in inputs[0].joined())
    return [Value([time, batch, tokens, heads * width], low, high)]


def _matmul(inputs: list[Value], fields: Json, _: Json) -> list[Value]:
    """A running sum of products, from zero to all of them."""
    left, right = inputs
    (rows, terms), columns = left.shape[-2:], right.shape[-2 if fields["transpose_right"] else -1]
    low, high = left.joined()
    if fields["transpose_left"]:
        (rows, terms), (low, high) = (terms, rows), map(ends, left.hull)
    low, high = _corners(low, high, *map(ends, right.hull))
    return [Value([*left.shape[:-2], rows, columns], np.minimum(low * terms, 0), np.maximum(high * terms, 0))]


def _lookup(inputs: list[Value], _: Json, array: Json) -> list[Value]:
    low, high = inputs[0].hull
    reachable = array["table"][:, low : high + 1].tolist()
    return [Value(inputs[0].shape, *(ends([[[pick(row)]] for row in reachable]) for pick in (min, max)))]


def _chunk(inputs: list[Value], fields: Json, _: Json) -> list[Value]:
    time, batch, heads, tokens, width = inputs[0].shape
    steps = fields["steps"]
    return [Value([time // steps, batch, heads, tokens * steps, width], inputs[0].low, inputs[0].high)]


def _unchunk(inputs: list[Value], fields: Json, _: Json) -> list[Value]:
    chunks, batch, heads, positions, width = inputs[0].shape
    steps = fields["steps"]
    return [Value([chunks * steps, batch, heads, positions // steps, width], inputs[0].low, inputs[0].high)]


def _time_mix(inputs: list[Value], _: Json, array: Json) -> list[Value]:
    """The worst step, a running sum from nothing on: each weight meets the end that it makes extreme."""
    (x,), rows = inputs, array["matrix"].tolist()
    most = max(sum(weight for weight in row if weight > 0) for row in rows)
    least = min(sum(weight for weight in row if weight < 0) for row in rows)
    low, high = np.minimum(x.low, 0), np.maximum(x.high, 0)
    return [Value(x.shape, most * low + least * high, most * high + least * low)]


def _threshold(inputs: list[Value], _: Json, array: Json) -> list[Value]:
    (x,), limits = inputs, array["threshold"].tolist()
    always, ever = x.low >= max(limits), x.high >= min(limits)
    return [Value(x.shape, ends(np.asarray(always).astype(int).tolist()), ends(np.asarray(ever).astype(int).tolist()))]


_RULES: dict[str, Callable[[list[Value], Json, Json], list[Value]]] = {
    "Add": _add,
    "Chunk": _chunk,
    "Conv2d": _conv2d,
    "InputTable": _input_table,
    "Lif": _lif,
    "Linear": _linear,
    "Lookup": _lookup,
    "MatMul": _matmul,
    "MaxPool2d": _max_pool2d,
    "MergeHeads": _merge_heads,
    "Mul": _mul,
    "Pixels": _pixels,
    "Readout": _readout,
    "ReduceSum": _reduce_sum,
    "Repeat": _repeat,
    "SplitHeads": _split_heads,
    "TemporalWindow": _temporal_window,
    "Threshold": _threshold,
    "TimeMix": _time_mix,
    "Tokens": _tokens,
    "Unchunk": _unchunk,
}


def _sums(weight: Any, low: Ends, high: Ends) -> tuple[Ends, Ends]:
    """Return the interval of every row's weighted sum: each term is extreme at one end of its input."""
    flat = weight.reshape(len(weight), -1).astype(np.int64)
    terms = flat * low.astype(np.int64), flat * high.astype(np.int64)
    return ends(np.minimum(*terms).sum(1).tolist()), ends(np.maximum(*terms).sum(1).tolist())


def _corners(low: Ends, high: Ends, other_low: Ends, other_high: Ends) -> tuple[Ends, Ends]:
    """Return the interval of a product: it is extreme where both factors are."""
    products = [one * other for one in (low, high) for other in (other_low, other_high)]
    least, most = products[0], products[0]
    for product in products[1:]:
        least, most = np.minimum(least, product), np.maximum(most, product)
    return ends(least), ends(most)
