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


@dataclass
class Value:
    """What is known of a value.

    Attributes:
        shape: sizes, time first; None for the batch.
        rows: an interval a channel, or one for all.
        by_head: the intervals are those of attention heads.

    """

    shape: list[Any]
    rows: list[Row]
    by_head: bool = False

    @property
    def hull(self) -> Row:
        """One interval around all."""
        return min(low for low, _ in self.rows), max(high for _, high in self.rows)

    def channels(self, count: int) -> list[Row]:
        """Return an interval a channel, or raise ValueError."""
        if self.by_head or len(self.rows) not in (1, count):
            raise ValueError(f"{len(self.rows)} intervals are not those of {count} channels")
        return self.rows if len(self.rows) == count else self.rows * count


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
    shape = [1, *inputs[0].shape] if fields["still"] else inputs[0].shape
    return [Value(shape, [(min(row), max(row)) for row in array["table"].tolist()])]


def _linear(inputs: list[Value], _: Json, array: Json) -> list[Value]:
    (x,), weight = inputs, array["weight"]
    return [Value([*x.shape[:-1], len(weight)], _sums(weight, x.channels(x.shape[-1])))]


def _conv2d(inputs: list[Value], _: Json, array: Json) -> list[Value]:
    (x,), weight = inputs, array["weight"]
    padded = [(min(low, 0), max(high, 0)) for low, high in x.channels(x.shape[-1])]
    return [Value([*x.shape[:-1], len(weight)], _sums(weight, padded * weight.shape[1] * weight.shape[2]))]


def _readout(inputs: list[Value], _: Json, array: Json) -> list[Value]:
    """Running sums count, with the bias and without."""
    (x,), weight = inputs, array["weight"]
    tokens, sums = x.shape[0] * x.shape[2], _sums(weight, x.channels(x.shape[-1]))
    ends = zip(sums, array["bias"].tolist(), strict=True)
    rows = [(min(low * tokens, 0) + min(bias, 0), max(high * tokens, 0) + max(bias, 0)) for (low, high), bias in ends]
    return [Value([x.shape[1], len(rows)], rows)]


def _temporal_window(inputs: list[Value], fields: Json, array: Json) -> list[Value]:
    (x,), bias = inputs, array["bias"].tolist()
    rows = zip(x.channels(len(bias)), bias, strict=True)
    return [Value(x.shape, [_window(row, start, fields, x.shape[0]) for row, start in rows])]


def _lif(inputs: list[Value], fields: Json, array: Json) -> list[Value]:
    (x,), threshold = inputs, array["threshold"].tolist()
    rows = zip(x.channels(len(threshold)), threshold, strict=True)
    reached = [_neuron(row, limit, fields, x.shape[0]) for row, limit in rows]
    return [Value(x.shape, [spike for spike, _ in reached]), Value(x.shape, [membrane for _, membrane in reached])]


def _repeat(inputs: list[Value], fields: Json, _: Json) -> list[Value]:
    return [Value([fields["time_steps"], *inputs[0].shape[1:]], inputs[0].rows, inputs[0].by_head)]


def _max_pool2d(inputs: list[Value], fields: Json, _: Json) -> list[Value]:
    time, batch, height, width, channels = inputs[0].shape
    stride = fields["stride"]
    if fields["axis"] == 2:
        return [Value([time, batch, -(-height // stride), -(-width // stride), channels], inputs[0].rows)]
    kept = inputs[0].rows if inputs[0].by_head else [inputs[0].hull]
    return [Value([time, batch, height, -(-width // stride), -(-channels // stride)], kept, inputs[0].by_head)]


def _tokens(inputs: list[Value], _: Json, __: Json) -> list[Value]:
    time, batch, height, width, channels = inputs[0].shape
    return [Value([time, batch, height * width, channels], inputs[0].rows)]


def _add(inputs: list[Value], _: Json, __: Json) -> list[Value]:
    left, right = (value.channels(value.shape[-1]) for value in inputs)
    return [Value(inputs[0].shape, [(a[0] + b[0], a[1] + b[1]) for a, b in zip(left, right, strict=True)])]


def _split_heads(inputs: list[Value], fields: Json, _: Json) -> list[Value]:
    time, batch, tokens, width = inputs[0].shape
    return [Value([time, batch, fields["heads"], tokens, width // fields["heads"]], [inputs[0].hull], by_head=True)]


def _merge_heads(inputs: list[Value], _: Json, __: Json) -> list[Value]:
    time, batch, heads, tokens, width = inputs[0].shape
    rows = inputs[0].rows if len(inputs[0].rows) > 1 else inputs[0].rows * heads
    return [Value([time, batch, tokens, heads * width], [row for row in rows for _ in range(width)])]


def _matmul(inputs: list[Value], fields: Json, _: Json) -> list[Value]:
    """A running sum of products, from zero to all of them."""
    left, right = inputs
    terms, rows = left.shape[-1], []
    for row in left.rows if left.by_head else [left.hull]:
        corners = [a * b * terms for a in row for b in right.hull]
        rows.append((min(0, *corners), max(0, *corners)))
    return [Value([*left.shape[:-1], right.shape[-2 if fields["transpose_right"] else -1]], rows, by_head=True)]


def _lookup(inputs: list[Value], _: Json, array: Json) -> list[Value]:
    low, high = inputs[0].hull
    reachable = array["table"][:, low : high + 1].tolist()
    return [Value(inputs[0].shape, [(min(row), max(row)) for row in reachable], by_head=True)]


_RULES: dict[str, Callable[[list[Value], Json, Json], list[Value]]] = {
    "Add": _add,
    "Conv2d": _conv2d,
    "InputTable": _input_table,
    "Lif": _lif,
    "Linear": _linear,
    "Lookup": _lookup,
    "MatMul": _matmul,
    "MaxPool2d": _max_pool2d,
    "MergeHeads": _merge_heads,
    "Readout": _readout,
    "Repeat": _repeat,
    "SplitHeads": _split_heads,
    "TemporalWindow": _temporal_window,
    "Tokens": _tokens,
}


def _sums(weight: Any, rows: list[Row]) -> list[Row]:
    """Return the interval of every row's weighted sum: each term is extreme at one end of its input."""
    flat = weight.reshape(len(weight), -1).astype(np.int64)
    ends = flat * np.array([low for low, _ in rows]), flat * np.array([high for _, high in rows])
    return list(zip(np.minimum(*ends).sum(1).tolist(), np.maximum(*ends).sum(1).tolist(), strict=True))


def _window(row: Row, bias: int, fields: Json, steps: int) -> Row:
    """Return what taps and bias can sum up to, in any number."""
    taps = [(end << fields["guard_bits"]) >> (fields["decay"] * lag) for lag in range(min(fields["taps"], steps)) for end in row]
    start = bias << fields["guard_bits"]
    return sum(min(low, 0) for low in taps[::2]) + min(start, 0), sum(max(high, 0) for high in taps[1::2]) + max(start, 0)


def _neuron(row: Row, threshold: int, fields: Json, steps: int) -> tuple[Row, Row]:
    """Return the intervals of spike and membrane, and of the membrane times the leak's numerator."""
    numerator, shift = fields["leak_numerator"], fields["leak_shift"]
    low, high = row
    for _ in range(steps - 1):
        wider = row[0] + min(low * numerator >> shift, 0), row[1] + max(min(high, threshold - 1) * numerator >> shift, 0)
        if wider == (low, high):
            break
        low, high = wider
    fires, kept = (0, int(high >= threshold)), min(high, threshold - 1)
    grown = max(numerator, 1)
    return fires, (min(low, low * grown), max(high, kept * grown))
