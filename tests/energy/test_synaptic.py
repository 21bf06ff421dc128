from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ds2ta_deploy.energy.synaptic import Operations, count_operations
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.graph import Graph, metered

NAMES = ("layer", ("x",), ("y",))
SIZE = st.integers(1, 3)
COUNTS = st.integers(0, 3)


def alone(op):
    """Return a graph of one op that reads spikes or counts."""
    return Graph("one", "x", ops.ValueType((1, None, 1, 1), "uint8"), (op,), "y", 1.0)


def weights(shape):
    return arrays(np.int8, shape, elements=st.sampled_from([0, 0, -3, 1, 127]))


@st.composite
def weighted(draw):
    steps, batch, tokens, inner, out = (draw(SIZE) for _ in range(5))
    kind = draw(st.sampled_from([ops.Linear, ops.Readout, ops.Conv2d]))
    if kind is ops.Conv2d:
        op = ops.Conv2d(*NAMES, draw(weights((out, 3, 3, inner))), draw(st.integers(1, 2)))
        return op, draw(arrays(np.int64, (steps, batch, tokens, draw(SIZE), inner), elements=COUNTS))
    bias = {"bias": np.zeros(out, np.int32)} if kind is ops.Readout else {}
    return kind(*NAMES, draw(weights((out, inner))), **bias), draw(arrays(np.int64, (steps, batch, tokens, inner), elements=COUNTS))


@given(weighted())
def test_a_spike_adds_every_weight_behind_it_that_is_not_zero(case):
    """Counted from the other side: what each output reads."""
    op, inputs = case
    (made,) = op.execute(inputs)
    met = 0
    for place in np.ndindex(made.shape):
        read = op.operands(place, inputs)
        met += int((next(iter(read.values())) * (read["weights"] != 0)).sum())
    assert count_operations(alone(op), op, (inputs,)) == Operations(effective_acs=met)


@given(st.integers(1, 5), st.integers(1, 4), arrays(np.int64, (3, 2), elements=COUNTS))
def test_a_window_adds_once_for_every_neuron_step_and_lag(steps, taps, some):
    inputs = np.broadcast_to(some, (steps, 1, 3, 2)).copy()
    op = ops.TemporalWindow(*NAMES, np.zeros(2, np.int32), taps, 1, 2)
    (made,) = op.execute(inputs)
    added = sum(len(op.operands(place, inputs)["products, the present first"]) - 1 for place in np.ndindex(made.shape))
    assert count_operations(alone(op), op, (inputs,)) == Operations(window_additions=added)


@given(arrays(np.int16, (3, 3), elements=st.integers(-1, 1)), arrays(np.int64, (3, 1, 2, 1, 1), elements=COUNTS))
def test_a_mixture_over_time_multiplies_where_both_are_not_zero(matrix, inputs):
    op = ops.TimeMix(*NAMES, matrix)
    done = 0
    for now, place in product(range(3), np.ndindex(inputs.shape[1:])):
        done += sum(matrix[now, then] != 0 and inputs[(then, *place)] != 0 for then in range(now + 1))
    assert count_operations(alone(op), op, (inputs,)) == Operations(effective_macs=done)


@pytest.mark.parametrize("name", ["small_graph", "stream_graph"])
def test_products_of_activations_in_whole_graphs(name, request, small_inputs):
    graph = request.getfixturevalue(name)
    seen = {}
    graph.execute(small_inputs, apply=metered(lambda op, read: seen.__setitem__(op.name, (op, read))))
    assert list(seen) == [op.name for op in graph]
    kinds = set()
    for op, read in seen.values():
        if isinstance(op, ops.MatMul):
            sides = (op.operands(place, *read) for place in _places(op, *read))
            done = sum(int(((side["left"] != 0) & (side["right"] != 0)).sum()) for side in sides)
        elif isinstance(op, ops.Mul):
            done = sum(a != 0 and b != 0 for a, b in zip(*(side.ravel().tolist() for side in np.broadcast_arrays(*read)), strict=True))
        else:
            continue
        spikes = any(set(np.unique(side)) <= {0, 1} and graph.ranges[at].maximum == 1 for at, side in zip(op.inputs, read, strict=True))
        assert done > 0
        assert count_operations(graph, op, read) == (Operations(effective_acs=done) if spikes else Operations(effective_macs=done)), op.name
        kinds.add((type(op).__name__, spikes))
    assert {("MatMul", True)} <= kinds


def test_the_layer_behind_the_pixels_multiplies(small_graph, small_inputs):
    found = {}
    small_graph.execute(
        small_inputs, apply=metered(lambda op, read: found.__setitem__(op.name, (count_operations(small_graph, op, read), op, read)))
    )
    counted, op, (pixels,) = found["patch.stages.0.weights"]
    reads = sum(int(((op.operands(place, pixels)["inputs"] != 0) & (op.weight[place[-1]] != 0)).sum()) for place in _places(op, pixels))
    assert counted == Operations(effective_macs=reads)
    assert found["patch.position.weights"][0].effective_macs == 0 < found["patch.position.weights"][0].effective_acs


def _places(op, *inputs):
    (made,) = op.execute(*inputs)
    return np.ndindex(made.shape)
