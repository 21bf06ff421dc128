"""Each function of the exported arithmetic is its op of the graph, cut into time steps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds2ta_deploy.exporters.lava.ds2ta_lava import arithmetic
from ds2ta_deploy.exporters.lava.ds2ta_lava.arithmetic import NetworkError, StateOverflowError
from ds2ta_deploy.exporters.lava.ds2ta_lava.cell import Cell, Step
from ds2ta_deploy.graph import ops

STEPS, BATCH = 4, 2
seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 5)


def stepwise(op: ops.Op, *inputs, time: int = STEPS):
    """Run the op one time step after the other, as a process does, and stack what it gave of each of its outputs."""
    integers = {name: getattr(op, name) for name in op.INTEGERS}
    tensors = {name: getattr(op, name) for name in op.ARRAYS}
    step = Step(type(op).__name__, op.inputs, op.outputs, integers, tensors)
    shapes = {name: (value.shape[2:], "int32") for name, value in zip(op.outputs, op.execute(*inputs), strict=True)}
    cell = Cell([step], frozenset(op.outputs), 63, {} if isinstance(op, ops.Readout) else shapes)
    given = ({name: value[t] for name, value in zip(op.inputs, inputs, strict=True)} for t in range(time))
    made = [cell.advance(arrived) for arrived in given]
    return [np.stack([part for known in made for part in known.get(name, [])]) for name in op.outputs]


def assert_same(op: ops.Op, *inputs) -> None:
    expected = op.execute(*inputs)
    found = stepwise(op, *inputs)
    for want, have in zip(expected, found, strict=True):
        assert have.shape == want.shape
        assert (have == want).all()


def draw(seed: int, low: int, high: int, *shape: int):
    return np.random.default_rng(seed).integers(low, high, shape, endpoint=True)


@given(seeds, sizes, sizes, st.sampled_from([1, 300, 2**20]))
def test_linear(seed, width, out, high):
    x = draw(seed, 0, high, STEPS, BATCH, 3, width)
    assert_same(ops.Linear("n", ("x",), ("y",), weight=draw(seed, -128, 127, out, width).astype(np.int8)), x)


@given(seeds, sizes, sizes, sizes, st.sampled_from([1, 3, 5]), st.integers(1, 4))
def test_conv2d(seed, height, width, out, size, dilation):
    x = draw(seed, -512, 511, STEPS, BATCH, height, width, 2)
    weight = draw(seed, -512, 511, out, size, size, 2).astype(np.int16)
    assert_same(ops.Conv2d("n", ("x",), ("y",), weight=weight, dilation=dilation), x)


@given(seeds, st.integers(1, 6), st.integers(0, 4), st.integers(0, 8))
def test_temporal_window(seed, taps, decay, guard_bits):
    x, bias = draw(seed, -1000, 1000, STEPS, BATCH, 3, 4), draw(seed, -50, 50, 4).astype(np.int32)
    assert_same(ops.TemporalWindow("n", ("x",), ("y",), bias=bias, taps=taps, decay=decay, guard_bits=guard_bits), x)


@given(seeds, st.sampled_from([(1, 1), (3, 2), (0, 0), (1, 0), (171, 8)]))
def test_lif(seed, leak):
    x, threshold = draw(seed, -40, 60, STEPS, BATCH, 3, 4), draw(seed, 1, 60, 4).astype(np.int32)
    assert_same(ops.Lif("n", ("x",), ("s", "v"), threshold=threshold, leak_numerator=leak[0], leak_shift=leak[1]), x)


def test_a_neuron_fires_at_equality():
    spikes, _, carried = arithmetic.lif(np.array([4, 5, 6]), np.array([5, 5, 5]), 1, 1, 0)
    assert spikes.tolist() == [0, 1, 1]
    assert carried.tolist() == [4, 0, 0]


@given(seeds, sizes, sizes, st.sampled_from([1, 2]), st.sampled_from([2, 3]), st.sampled_from([0, -900]))
def test_max_pool(seed, height, width, stride, axis, low):
    x = draw(seed, low, 3, STEPS, BATCH, height, width, 2)
    assert_same(ops.MaxPool2d("n", ("x",), ("y",), stride=stride, axis=axis), x)


@given(seeds, sizes, sizes)
def test_shapes_and_sums(seed, heads, width):
    x = draw(seed, 0, 3, STEPS, BATCH, 3, 2, heads * width)
    assert_same(ops.Tokens("n", ("x",), ("y",)), x)
    assert_same(ops.Add("n", ("x", "z"), ("y",)), x, x[::-1])
    assert_same(ops.Add("n", ("x", "z"), ("y",)), x - 2**20, -x[::-1])
    tokens = x.reshape(STEPS, BATCH, 6, heads * width)
    assert_same(ops.Pixels("n", ("x",), ("y",), height=3), tokens - 2**20)
    assert_same(ops.SplitHeads("n", ("x",), ("y",), heads=heads), tokens)
    split = ops.SplitHeads("n", ("x",), ("y",), heads=heads).execute(tokens)[0]
    assert_same(ops.MergeHeads("n", ("x",), ("y",)), split)
    assert_same(ops.MatMul("n", ("x", "z"), ("y",), transpose_right=1), split, split[::-1])
    scores = ops.MatMul("n", ("x", "z"), ("y",), transpose_right=1).execute(split, split)[0]
    assert_same(ops.MatMul("n", ("x", "z"), ("y",), transpose_right=0), scores, split)
    table = draw(seed, -300, 300, heads, 9 * width + 1).astype(np.int16)
    assert_same(ops.Lookup("n", ("x",), ("y",), table=table), scores)


@given(seeds, sizes, sizes, sizes, st.sampled_from([1, -(2**18)]))
def test_products_of_two_activations_with_either_side_transposed(seed, rows, terms, columns, low):
    left, right = draw(seed, low, 9, STEPS, BATCH, 3, rows, terms), draw(seed + 1, low, 9, STEPS, BATCH, 3, terms, columns)
    for transpose_left in (0, 1):
        for transpose_right in (0, 1):
            op = ops.MatMul("n", ("x", "z"), ("y",), transpose_left=transpose_left, transpose_right=transpose_right)
            sides = (left.swapaxes(3, 4) if transpose_left else left), (right.swapaxes(3, 4) if transpose_right else right)
            assert_same(op, *sides)


@given(seeds, sizes, st.sampled_from([(1, 1, 1), (0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 0, 0), (0, 0, 1)]))
def test_mul_with_axes_of_one(seed, width, ones):
    sizes_of = (3, 2, width)
    left = draw(seed, -300, 300, STEPS, BATCH, *sizes_of)
    right = draw(seed + 1, -300, 300, STEPS, BATCH, *(size if whole else 1 for size, whole in zip(sizes_of, ones, strict=True)))
    assert_same(ops.Mul("n", ("x", "z"), ("y",)), left, right)
    assert_same(ops.Mul("n", ("x", "z"), ("y",)), right, left)


@given(seeds, sizes, sizes, sizes)
def test_reduce_sum(seed, heads, tokens, width):
    x = draw(seed, -300, 300, STEPS, BATCH, heads, tokens, width)
    for axis in (2, 3, 4):
        assert_same(ops.ReduceSum("n", ("x",), ("y",), axis=axis), x)
    for axis in (2, 3):
        assert_same(ops.ReduceSum("n", ("x",), ("y",), axis=axis), x[:, :, 0])


@given(seeds)
def test_the_saccadic_neuron(seed):
    x, matrix = draw(seed, -300, 300, STEPS, BATCH, 3, 2), np.tril(draw(seed, -500, 500, STEPS, STEPS)).astype(np.int16)
    assert_same(ops.TimeMix("n", ("x",), ("y",), matrix=matrix), x)
    assert_same(ops.Threshold("n", ("x",), ("y",), threshold=draw(seed, -200, 200, STEPS).astype(np.int32)), x)


@pytest.mark.parametrize(("op", "tensors"), [("TimeMix", {"matrix": np.eye(2, dtype=np.int16)}), ("Threshold", {"threshold": np.ones(2)})])
def test_a_time_step_too_many_is_an_error(op, tensors):
    cell = Cell([Step(op, ("x",), ("y",), {}, tensors)], frozenset(), 24)
    for _ in range(2):
        assert cell.advance({"x": np.ones((1, 2))})["y"][0].shape == (1, 2)
    with pytest.raises(NetworkError, match=r"cannot make y: .* step 2"):
        cell.advance({"x": np.ones((1, 2))})


@given(seeds, st.sampled_from([1, 2, 4]), sizes, sizes)
def test_chunks_and_back(seed, steps, tokens, width):
    x = draw(seed, 0, 9, STEPS, BATCH, 2, tokens, width)
    chunk = ops.Chunk("n", ("x",), ("y",), steps=steps)
    assert_same(chunk, x)
    cell = Cell(
        [Step("Chunk", ("x",), ("y",), {"steps": steps}, {}), Step("Unchunk", ("y",), ("z",), {"steps": steps}, {})], frozenset(), 24
    )
    parts = [part for t in range(STEPS) for part in cell.advance({"x": x[t]}).get("z", [])]
    (back,) = ops.Unchunk("n", ("y",), ("z",), steps=steps).execute(*chunk.execute(x))
    assert (np.stack(parts) == back).all()
    assert (back == x).all()


@given(seeds, sizes)
def test_readout(seed, classes):
    x = draw(seed, 0, 4, STEPS, BATCH, 3, 5)
    weight, bias = draw(seed, -127, 127, classes, 5).astype(np.int8), draw(seed, -99, 99, classes).astype(np.int32)
    op = ops.Readout("n", ("x",), ("y",), weight=weight, bias=bias)
    assert (stepwise(op, x)[0][-1] == op.execute(x)[0]).all()


def test_input_table():
    x = np.arange(STEPS * BATCH * 3 * 4 * 2).reshape(STEPS, BATCH, 3, 4, 2) % 256
    assert_same(ops.InputTable("n", ("x",), ("y",), table=draw(0, -500, 500, 2, 256).astype(np.int16), still=0), x)


@pytest.mark.parametrize("magnitude", [2, 2**12, 2**20, 2**40])
def test_products_are_exact_at_every_size(magnitude):
    left, right = draw(1, -magnitude, magnitude, 3, 64), draw(2, -1000, 1000, 64, 5)
    assert arithmetic.multiply(left, right).tolist() == (left.astype(object) @ right.astype(object)).tolist()


@pytest.mark.parametrize(("value", "fits"), [(2**23 - 1, True), (2**23, False), (-(2**23), True), (-(2**23) - 1, False)])
def test_state_of_24_bits_raises_instead_of_wrapping(value, fits):
    state = np.array([0, value])
    if fits:
        assert arithmetic.check_bits(state, 24, "v") is state
    else:
        with pytest.raises(StateOverflowError, match=r"v holds .* which 24 bits cannot store"):
            arithmetic.check_bits(state, 24, "v")


def test_a_leak_with_a_numerator_must_fit_before_its_shift():
    step = Step("Lif", ("i",), ("s", "v"), {"leak_numerator": 3, "leak_shift": 2}, {"threshold": np.array([100])})
    cell = Cell([step], frozenset(["v"]), 8)
    cell.advance({"i": np.array([42])})  # 126
    cell.reset()
    with pytest.raises(StateOverflowError, match="v before its shift"):
        cell.advance({"i": np.array([43])})


@pytest.mark.parametrize("score", [-1, 4])
def test_no_index_counts_from_the_end(score):
    with pytest.raises(IndexError, match="leaves the table of 4 entries"):
        arithmetic.lookup(np.array([[[score]]]), np.arange(4, dtype=np.int16)[None])


def test_a_reset_forgets_everything():
    op = ops.Lif("n", ("x",), ("s", "v"), threshold=np.array([50], np.int32), leak_numerator=1, leak_shift=1)
    step = Step("Lif", op.inputs, op.outputs, {"leak_numerator": 1, "leak_shift": 1}, {"threshold": op.threshold})
    cell = Cell([step], frozenset(), 24)
    first = [int(cell.advance({"x": np.array([20])})["v"][0][0]) for _ in range(3)]
    cell.reset()
    assert [int(cell.advance({"x": np.array([20])})["v"][0][0]) for _ in range(3)] == first == [20, 30, 35]


def test_an_unknown_op_is_an_error():
    with pytest.raises(ValueError, match="'Softmax' is not known"):
        Cell([Step("Softmax", ("x",), ("y",), {}, {})], frozenset(), 24).advance({"x": np.zeros(1)})
