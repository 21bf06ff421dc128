import numpy as np
import pytest
from builders import every_index, small_inputs, trace_of
from hypothesis import given
from hypothesis import strategies as st

from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.ops import Conv2d, Linear, MatMul, Mul, Readout, TimeMix, ValueType
from ds2ta_deploy.pages.observation import observe
from ds2ta_deploy.pages.work import Work, work_of

counts = st.integers(0, 2**32 - 1)


def alone(op, *kinds):
    """Return a graph of one op, whose inputs are given: its types are all that counting needs of it."""
    graph = Graph("only", op.inputs[0], kinds[0], (op,), op.outputs[0], 1.0)
    vars(graph)["types"] = {**dict(zip(op.inputs, kinds, strict=True)), op.outputs[0]: op.infer_types(kinds)[0]}
    return graph


def random(seed, shape, dtype="uint8", low=0, high=3):
    return np.random.default_rng(seed).integers(low, high, shape).astype(dtype)


def counted(op, *arrays):
    kinds = [ValueType((array.shape[0], None, *array.shape[2:]), array.dtype.name) for array in arrays]
    return work_of(alone(op, *kinds), op, list(arrays), arrays[0].shape[1])


@given(counts, st.integers(1, 4), st.integers(1, 4))
def test_a_linear_layer_adds_once_a_unit_and_neuron(seed, width, out):
    x = random(seed, (2, 3, 2, width))
    found = counted(Linear("op", ("x",), ("y",), weight=random(seed, (out, width), "int8")), x)
    assert (found.accumulates, found.multiplies) == (sum(int(x[i]) for i in every_index(x.shape)) * out, 0)
    assert found.dense == 2 * 3 * 2 * out * width
    assert (found.zeros, found.elements) == (sum(int(x[i]) == 0 for i in every_index(x.shape)), x.size)


@given(counts, st.integers(1, 5), st.integers(1, 5), st.sampled_from([1, 3, 5]), st.integers(1, 3))
def test_a_convolution_adds_where_its_window_meets_the_picture(seed, height, width, size, dilation):
    x = random(seed, (2, 1, height, width, 2))
    op = Conv2d("op", ("x",), ("y",), weight=random(seed, (3, size, size, 2), "int8"), dilation=dilation)
    expected = 0
    for t, b, y, column, c in every_index(x.shape):
        for i in range(size):
            for j in range(size):
                at = (y - dilation * (i - size // 2), column - dilation * (j - size // 2))
                expected += int(x[t, b, y, column, c]) * 3 * (0 <= at[0] < height and 0 <= at[1] < width)
    assert counted(op, x).accumulates == expected


def test_pixels_are_multiplied_and_no_count():
    x = random(1, (1, 2, 3, 3, 1), "int16", -2, 3)
    found = counted(Conv2d("op", ("x",), ("y",), weight=random(2, (4, 1, 1, 1), "int16")), x)
    assert (found.accumulates, found.multiplies) == (0, 4 * int((x != 0).sum()))


@given(counts, st.sampled_from([(0, 0), (0, 1), (1, 0)]), st.sampled_from(["uint8", "int16", "int32"]))
def test_a_product_of_activations_costs_one_a_pair_that_meets(seed, transposed, dtype):
    left_transposed, right_transposed = transposed
    left = random(seed, (2, 1, 2, *((3, 4) if left_transposed else (4, 3))), dtype, 0 if dtype == "uint8" else -2)
    right = random(seed + 1, (2, 1, 2, *((5, 3) if right_transposed else (3, 5))))
    op = MatMul("op", ("a", "b"), ("y",), transpose_left=left_transposed, transpose_right=right_transposed)
    rows = left.swapaxes(-1, -2) if left_transposed else left
    columns = right.swapaxes(-1, -2) if right_transposed else right
    expected = 0
    for t, b, h, n, m, k in every_index((2, 1, 2, 4, 5, 3)):
        unit = int(rows[t, b, h, n, k])
        expected += (unit if dtype == "uint8" else int(unit != 0)) * int(columns[t, b, h, k, m])
    found = counted(op, left, right)
    assert (found.accumulates, found.multiplies) == (expected, 0)


def test_an_element_by_element_product_and_a_mix_over_time():
    a, b = random(1, (2, 2, 3, 4)), random(2, (2, 2, 3, 4))
    assert counted(Mul("op", ("a", "b"), ("y",)), a, b).accumulates == int((a.astype(int) * b).sum())
    mix = TimeMix("op", ("x",), ("y",), matrix=np.tril(np.ones((2, 2), np.int32)))
    found = counted(mix, random(3, (2, 2, 3, 4), "int32"))
    assert (found.accumulates, found.multiplies) == (0, found.dense)
    assert found.dense == 2 * 3 * 4 * 3


def test_the_readout_adds_every_token_and_step():
    x = random(4, (2, 3, 5, 4))
    found = counted(Readout("op", ("x",), ("y",), weight=random(5, (7, 4), "int8"), bias=np.zeros(7, np.int32)), x)
    assert found.accumulates == 7 * int(x.sum())
    assert found.dense == 3 * 7 * 4 * 2 * 5


def test_scores_are_what_queries_and_keys_share(small_graph):
    trace = trace_of(small_graph, small_inputs())
    found = observe(small_graph, small_inputs()).work["blocks.0.attn.query_key"]
    assert found.accumulates == int(trace["blocks.0.attn.scores"].sum()) > 0


def test_nothing_read_is_nothing_sparse():
    assert Work().sparsity == pytest.approx(0)
