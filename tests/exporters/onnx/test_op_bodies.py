"""The bodies of ops that move, pool, sum, mix and compare, alone, on two engines, against the op's own execution."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ds2ta_deploy.exporters.onnx import bodies, calls, op_bodies, product_bodies
from ds2ta_deploy.exporters.onnx.functions import FunctionLibrary
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.intervals import Interval

SEEDS = st.integers(0, 2**32 - 1)
DTYPES = st.sampled_from(["uint8", "int32"])

few = settings(max_examples=20)


def some(seed, shape, dtype):
    """Return random integers, the ends of the type among them."""
    limits = np.iinfo(dtype)
    random = np.random.default_rng(seed)
    made = random.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
    made.reshape(-1)[:2] = [limits.min, limits.max][: made.size]
    return made


def check_op(check_function, op, inputs, body, arrays=None, **attributes):
    """Compare one function's body with the op."""
    library, arrays = FunctionLibrary(), arrays or {}
    (expected,) = op.execute(*(value.astype(np.int64) for value in inputs.values()))
    (kind,) = op.infer_types([ops.ValueType(value.shape, str(value.dtype)) for value in inputs.values()])
    name = library.add("Op", [*inputs, *arrays], ["made"], list(attributes), [*body, f"made = Identity ({body[-1].split(' ')[0]})"], "")
    assert expected.shape == kind.shape
    check_function(library, name, inputs | arrays, {"made": expected}, [kind.dtype], **attributes)


def op_of(kind, count=1, **attributes):
    return kind("op", tuple("abc"[:count]), ("y",), **attributes)


@few
@given(stride=st.integers(1, 2), axis=st.integers(2, 3), sizes=st.tuples(*[st.integers(1, 6)] * 3), dtype=DTYPES, seed=SEEDS)
def test_pooling_of_any_stride_axes_and_sign(check_function, stride, axis, sizes, dtype, seed):
    inputs = some(seed, (2, 3, *sizes), dtype)
    if seed % 2 and dtype == "int32":
        inputs = -np.abs(inputs // 2) - 1  # nothing but negatives: a zero from outside would win
    check_op(check_function, op_of(ops.MaxPool2d, stride=stride, axis=axis), {"inputs": inputs}, bodies.max_pool(stride=stride, axis=axis))


@few
@given(size=st.sampled_from([1, 3, 5]), dilation=st.integers(1, 3), height=st.integers(1, 8), width=st.integers(1, 8), seed=SEEDS)
def test_dilated_neighbourhoods_times_weights(check_function, size, dilation, height, width, seed):
    random = np.random.default_rng(seed)
    inputs = random.integers(0, 129, (2, 2, height, width, 2), dtype=np.uint8)
    for kind, most, split in ((np.int8, 127, (1, 1)), (np.int16, 8191, (1, 2))):
        op = op_of(ops.Conv2d, weight=random.integers(-most, most + 1, (3, size, size, 2)).astype(kind), dilation=dilation)
        arrays = {"weight": np.ascontiguousarray(calls.stored_weight(op))}
        check_op(check_function, op, {"inputs": inputs}, calls.weighted_product(op, split), arrays)


@few
@given(inputs=st.integers(1, 9), largest=st.sampled_from([1, 2, 128]), seed=SEEDS)
def test_spikes_and_counts_times_weights_of_14_bits(check_function, inputs, largest, seed):
    random = np.random.default_rng(seed)
    weight = random.choice(np.array([-8191, 8191, -8192, -1, 0, 1, 127, 128, -128, -129]), (4, inputs)).astype(np.int16)
    op = op_of(ops.Linear, weight=weight)
    counts = random.integers(0, largest + 1, (2, 3, 2, inputs), dtype=np.uint8)
    arrays = {"weight": np.ascontiguousarray(calls.stored_weight(op))}
    check_op(check_function, op, {"inputs": counts}, calls.weighted_product(op, (1, 2)), arrays)


SIDE = st.sampled_from(
    [(0, 1), (0, 2), (0, 100), (0, 255), (0, 256), (-1, 1), (-128, 127), (-129, 128), (0, 4000), (-70000, 3), (-(10**6), 10**6)]
)


@few
@given(sides=st.tuples(SIDE, SIDE), turned=st.tuples(st.integers(0, 1), st.integers(0, 1)), terms=st.integers(1, 4), seed=SEEDS)
def test_two_activations_by_planes_of_their_proven_ranges(check_function, sides, turned, terms, seed):
    random = np.random.default_rng(seed)
    op = op_of(ops.MatMul, 2, transpose_left=turned[0], transpose_right=turned[1])
    (low, high), (other_low, other_high) = sides
    most = max(-low, high)
    if most * max(-other_low, other_high) * terms >= 2**31:  # what the range proof would refuse
        other_low, other_high = max(other_low, -(2**31 // (most * terms)) + 1), min(other_high, 2**31 // (most * terms) - 1)
    types = [ops.ValueType((1, None, 1, 2, 2), "uint8" if 0 <= ends[0] <= ends[1] <= 255 else "int32") for ends in sides]
    graph = Graph("g", "a", types[0], (op,), "y", 1.0)
    ranges = {"a": Interval.of(low, high), "b": Interval.of(other_low, other_high)}
    vars(graph).update(types=dict(zip("ab", types, strict=True)), ranges=ranges)
    shapes = [(2, 1, 2, 3, terms), (2, 1, 2, terms, 5)]
    shapes = [shape[:3] + shape[:2:-1] if turn else shape for shape, turn in zip(shapes, turned, strict=True)]
    left = random.choice(np.array([low, high, (low + high) // 2, 0 if low <= 0 else low, 1]), shapes[0]).astype(types[0].dtype)
    right = random.choice(np.array([other_low, other_high, (other_low + other_high) // 2, 0, 1]), shapes[1]).astype(types[1].dtype)
    call_graph = calls.Caller(graph, FunctionLibrary())
    assert call_graph.call(op).op_type == "HeadMatMul"
    body = product_bodies.matmul(calls.split_of(graph, op), transpose_left=bool(turned[0]), transpose_right=bool(turned[1]))
    check_op(check_function, op, {"left": left, "right": right}, body)


@few
@given(steps=st.integers(1, 3), count=st.integers(1, 3), tokens=st.integers(1, 4), seed=SEEDS)
def test_chunks_and_back(check_function, steps, count, tokens, seed):
    inputs = some(seed, (steps * count, 2, 3, tokens, 2), "uint8")
    check_op(check_function, op_of(ops.Chunk, steps=steps), {"inputs": inputs}, op_bodies.chunk(steps * count, steps))
    chunks = some(seed, (count, 2, 3, tokens * steps, 2), "int32")
    check_op(check_function, op_of(ops.Unchunk, steps=steps), {"chunks": chunks}, op_bodies.unchunk(count, steps))


@few
@given(heads=st.integers(1, 4), tokens=st.integers(1, 4), width=st.integers(1, 3), seed=SEEDS)
def test_heads_and_back(check_function, heads, tokens, width, seed):
    split = op_of(ops.SplitHeads, heads=heads)
    check_op(check_function, split, {"inputs": some(seed, (2, 3, tokens, heads * width), "uint8")}, op_bodies.split_heads(), heads=heads)
    check_op(check_function, op_of(ops.MergeHeads), {"inputs": some(seed, (2, 3, heads, tokens, width), "int32")}, op_bodies.merge_heads())


@few
@given(rank=st.integers(4, 5), axis=st.integers(2, 4), dtype=DTYPES, seed=SEEDS)
def test_sums_over_any_axis(check_function, rank, axis, dtype, seed):
    axis = min(axis, rank - 1)
    inputs = some(seed, (2, 3, 4, 2, 3)[:rank], dtype)
    inputs = inputs if dtype == "uint8" else inputs // 8
    check_op(check_function, op_of(ops.ReduceSum, axis=axis), {"inputs": inputs}, op_bodies.reduce_sum(axis))


@few
@given(steps=st.integers(1, 6), rank=st.integers(4, 5), seed=SEEDS)
def test_time_is_mixed_and_compared(check_function, steps, rank, seed):
    random = np.random.default_rng(seed)
    inputs = random.integers(-5000, 5001, (steps, 2, 3, 2, 2)[:rank], dtype=np.int32)
    matrix = np.tril(random.integers(-(2**15), 2**15, (steps, steps))).astype(np.int16)
    check_op(check_function, op_of(ops.TimeMix, matrix=matrix), {"inputs": inputs}, op_bodies.time_mix(steps, rank), {"matrix": matrix})
    threshold = random.integers(-5000, 5001, steps, dtype=np.int32)
    inputs[:, 0] = threshold.reshape(-1, *[1] * (rank - 2))  # fires at equality
    body = op_bodies.threshold(rank)
    check_op(check_function, op_of(ops.Threshold, threshold=threshold), {"inputs": inputs}, body, {"threshold": threshold})


@pytest.mark.parametrize("rank", [4, 5])
def test_a_still_value_at_every_step(check_function, rank):
    inputs = some(1, (1, 2, 3, 2, 2)[:rank], "int32")
    check_op(check_function, op_of(ops.Repeat, time_steps=3), {"inputs": inputs}, bodies.repeat("inputs"), repeats=[3, *[1] * (rank - 1)])
