"""What an op says it reads at a place is all that it takes to compute the integer there, and nothing else."""

from math import prod

import numpy as np
import pytest
from builders import build_small_graph, small_inputs
from hypothesis import given
from hypothesis import strategies as st
from stream_graph import build_stream_graph

from ds2ta_deploy.graph import ops

GRAPHS = {"pictures": build_small_graph(), "frames": build_small_graph(still=False), "stream": build_stream_graph()}


def every_value(graph):
    values = {"images": small_inputs(still=graph.input_type.shape[0] is None).astype(np.int64)}
    for op in graph:
        values.update(zip(op.outputs, op.execute(*(values[name] for name in op.inputs)), strict=True))
    return values


VALUES = {name: every_value(graph) for name, graph in GRAPHS.items()}


def dot(left, right):
    return sum(int(a) * int(b) for a, b in zip(left.reshape(-1), right.reshape(-1), strict=True))


def window(read):
    guard, decay = int(read["guard bits"]), int(read["decay"])
    products = [int(product) for product in read["products, the present first"]]
    assert 1 <= len(products) <= int(read["taps"])
    return sum((product << guard) >> (decay * lag) for lag, product in enumerate(products)) + (int(read["bias"]) << guard)


def neuron(read):
    membrane = int(read["membrane before"]) + int(read["current"])
    return int(membrane >= int(read["threshold"])), membrane


def only(read):
    (element,) = read.values()
    return int(element)


#: The outputs at one place, computed of nothing but what the op says it read there, in Python integers.
DEFINITIONS = {
    ops.Add: lambda read: int(read["left"]) + int(read["right"]),
    ops.Conv2d: lambda read: dot(read["inputs"], read["weights"]),
    ops.InputTable: lambda read: int(read["table"][int(read["input"])]),
    ops.Lif: neuron,
    ops.Linear: lambda read: dot(read["inputs"], read["weights"]),
    ops.Lookup: lambda read: int(read["table"][int(read["score"])]),
    ops.MatMul: lambda read: dot(read["left"], read["right"]),
    ops.MaxPool2d: lambda read: max(int(value) for value in read["inputs"].reshape(-1)),
    ops.MergeHeads: only,
    ops.Mul: lambda read: int(read["left"]) * int(read["right"]),
    ops.Pixels: only,
    ops.Chunk: only,
    ops.Unchunk: only,
    ops.ReduceSum: lambda read: sum(int(value) for value in read["summands"]),
    ops.Threshold: lambda read: int(int(read["input"]) >= int(read["threshold"])),
    ops.TimeMix: lambda read: dot(read["inputs"], read["weights"]),
    ops.Readout: lambda read: dot(read["inputs, summed over time and tokens"], read["weights"]) + int(read["bias"]),
    ops.Repeat: only,
    ops.SplitHeads: only,
    ops.TemporalWindow: window,
    ops.Tokens: only,
}


@pytest.mark.parametrize(("which", "name"), [(which, op.name) for which, graph in GRAPHS.items() for op in graph])
@given(data=st.data())
def test_the_operands_at_a_place_make_the_integer_at_that_place(which, name, data):
    op = next(op for op in GRAPHS[which] if op.name == name)
    values = VALUES[which]
    made = [values[output] for output in op.outputs]
    assert prod(made[0].shape) > 1
    place = tuple(data.draw(st.integers(0, size - 1)) for size in made[0].shape)
    read = op.operands(place, *(values[name] for name in op.inputs))
    assert all(array.dtype == np.int64 for array in read.values())
    computed, expected = DEFINITIONS[type(op)](read), tuple(int(output[place]) for output in made)
    assert (computed if isinstance(computed, tuple) else (computed,)) == expected


def test_all_ops_are_tried():
    assert {type(op) for graph in GRAPHS.values() for op in graph} == set(ops.OPS.values()) == set(DEFINITIONS)


def test_an_op_whose_class_says_nothing_reads_everything(small_graph):
    op = next(op for op in small_graph if isinstance(op, ops.Add))
    read = ops.Op.operands(op, (0,), np.arange(3), np.arange(3, 6))
    assert {name: array.tolist() for name, array in read.items()} == dict(zip(op.inputs, ([0, 1, 2], [3, 4, 5]), strict=True))


@pytest.mark.parametrize("which", GRAPHS)
def test_an_op_that_rearranges_computes_nothing(which):
    for op in GRAPHS[which]:
        if op.REARRANGES:
            (source,), (made,) = (VALUES[which][name] for name in op.inputs), op.execute(*(VALUES[which][name] for name in op.inputs))
            numbers = op.execute(np.arange(source.size).reshape(source.shape))[0]
            assert np.array_equal(source.reshape(-1)[numbers], made)
