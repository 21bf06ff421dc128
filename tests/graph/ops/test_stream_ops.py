"""The ops of membrane streams and other attentions, against brute-force definitions in Python integers."""

import numpy as np
import pytest
from builders import by_loop, inside, number, types_of
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ds2ta_deploy.errors import UnsupportedError
from ds2ta_deploy.graph.intervals import Interval
from ds2ta_deploy.graph.ops import Chunk, Conv2d, MatMul, Mul, Pixels, ReduceSum, Threshold, TimeMix, Tokens, Unchunk, ValueType

IN, OUT = ("x",), ("y",)
SIZE = st.integers(1, 4)


@st.composite
def values(draw, rank, low=-40, high=40):
    shape = tuple(draw(SIZE) for _ in range(rank))
    return draw(arrays(np.int64, shape, elements=st.integers(low, high)))


def int32(value):
    return ValueType(value.shape, "int32")


def by_channel(value):
    """The smallest interval of each channel around what is there."""
    rows = value.reshape(-1, value.shape[-1])
    return Interval.of(rows.min(axis=0), rows.max(axis=0))


# --- MatMul, transposed on the left -----------------------------------------------------------------------------------


@given(st.data())
def test_a_transposed_left_side_by_the_definition(data):
    time, batch, heads, terms, rows, columns = (data.draw(SIZE) for _ in range(6))
    left = data.draw(arrays(np.int64, (time, batch, heads, terms, rows), elements=st.integers(0, 9)))
    right = data.draw(arrays(np.int64, (time, batch, heads, terms, columns), elements=st.integers(-9, 9)))
    op = MatMul("m", ("x", "z"), OUT, transpose_left=1)
    (kind,) = types_of(op, ValueType(left.shape, "uint8"), int32(right))
    expected = by_loop(
        (time, batch, heads, rows, columns),
        lambda t, b, h, i, j: sum(number(left, t, b, h, k, i) * number(right, t, b, h, k, j) for k in range(terms)),
    )
    assert kind.shape == expected.shape
    assert np.array_equal(op.execute(left, right)[0], expected)
    bounds = Interval.of(left.min(axis=(0, 1, 3)).min(axis=0), left.max(axis=(0, 1, 3)).max(axis=0)), Interval.of(right.min(), right.max())
    assert op.infer_ranges(bounds, [int32(left), int32(right)])[0].contains(expected.astype(np.int64))


@given(st.integers(0, 2**32))
def test_both_orders_of_attention_are_the_same_integers(seed):
    random = np.random.default_rng(seed)
    query, key, value = random.integers(0, 2, (3, 2, 1, 3, 5, 4))
    (scores,) = MatMul("s", ("q", "k"), OUT, transpose_right=1).execute(query, key)
    (state,) = MatMul("m", ("k", "v"), OUT, transpose_left=1).execute(key, value)
    left, right = MatMul("l", ("s", "v"), OUT).execute(scores, value), MatMul("r", ("q", "m"), OUT).execute(query, state)
    assert np.array_equal(left[0], right[0])


def test_a_transposed_left_side_that_does_not_fit():
    op = MatMul("m", ("x", "z"), OUT, transpose_left=1)
    with pytest.raises(UnsupportedError, match=r"DS2TA-210 \[m\]"):
        types_of(op, ValueType((2, None, 3, 5, 4), "uint8"), ValueType((2, None, 3, 4, 6), "uint8"))


# --- Conv2d with dilation ---------------------------------------------------------------------------------------------


@given(st.data())
def test_a_dilated_convolution_by_the_definition(data):
    height, width, dilation, size = data.draw(SIZE), data.draw(SIZE), data.draw(st.integers(1, 3)), data.draw(st.sampled_from([1, 3, 5]))
    x = data.draw(arrays(np.int64, (1, 2, height, width, 2), elements=st.integers(0, 5)))
    weight = data.draw(arrays(np.int8, (3, size, size, 2), elements=st.integers(-9, 9)))
    op = Conv2d("c", IN, OUT, weight, dilation)

    def element(t, b, y, column, out):
        total = 0
        for i in range(size):
            for j in range(size):
                row, col = y + dilation * (i - size // 2), column + dilation * (j - size // 2)
                if 0 <= row < height and 0 <= col < width:
                    total += sum(number(x, t, b, row, col, c) * number(weight, out, i, j, c) for c in range(2))
        return total

    expected = by_loop((1, 2, height, width, 3), element)
    assert np.array_equal(op.execute(x)[0], expected)
    place = tuple(data.draw(st.integers(0, size - 1)) for size in expected.shape)
    read = op.operands(place, x)
    assert (read["inputs"] * read["weights"]).sum() == expected[place]


# --- Mul --------------------------------------------------------------------------------------------------------------


@given(st.data())
def test_mul_by_the_definition(data):
    full = tuple(data.draw(SIZE) for _ in range(4))
    shapes = [(full[0], *(1 if data.draw(st.booleans()) else size for size in full[1:])) for _ in range(2)]
    left, right = (data.draw(arrays(np.int64, shape, elements=st.integers(-20, 20))) for shape in shapes)
    op = Mul("m", ("x", "z"), OUT)
    (kind,) = types_of(op, int32(left), int32(right))
    expected = by_loop(
        kind.shape,
        lambda *place: (
            number(left, *(0 if size == 1 else at for at, size in zip(place, left.shape, strict=True)))
            * number(right, *(0 if size == 1 else at for at, size in zip(place, right.shape, strict=True)))
        ),
    )
    assert np.array_equal(op.execute(left, right)[0], expected)
    bounds = [by_channel(side) for side in (left, right)]
    assert op.infer_ranges(bounds, [int32(left), int32(right)])[0].contains(expected.astype(np.int64))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (ValueType((2, None, 3, 4), "uint8"), ValueType((2, None, 3, 4), "int32")),
        (ValueType((2, None, 3, 4), "uint8"), ValueType((2, None, 2, 4), "uint8")),
        (ValueType((2, None, 3, 4), "uint8"), ValueType((1, None, 3, 4), "uint8")),
        (ValueType((2, None, 3, 4), "uint8"), ValueType((2, None, 1, 3, 4), "uint8")),
    ],
)
def test_mul_of_what_does_not_fit(left, right):
    with pytest.raises(UnsupportedError, match=r"DS2TA-210 \[m\]"):
        types_of(Mul("m", ("x", "z"), OUT), left, right)


# --- ReduceSum --------------------------------------------------------------------------------------------------------


@given(values(5), st.integers(2, 4))
def test_reduce_sum_by_the_definition(x, axis):
    op = ReduceSum("r", IN, OUT, axis)
    (kind,) = types_of(op, int32(x))
    expected = by_loop(
        kind.shape, lambda *place: sum(number(x, *place[:axis], index, *place[axis + 1 :]) for index in range(x.shape[axis]))
    )
    assert np.array_equal(op.execute(x)[0], expected)
    for bounds in (
        Interval.of(x.min(), x.max()),
        by_channel(x),
        Interval.of(x.min(axis=(0, 1, 3, 4))[:, None, None], x.max(axis=(0, 1, 3, 4))[:, None, None]),
    ):
        (claimed,) = op.infer_ranges([bounds], [int32(x)])
        assert claimed.contains(expected.astype(np.int64))
        assert claimed.contains(np.zeros(1, np.int64))


def test_reduce_sum_of_an_axis_that_is_not_there():
    with pytest.raises(UnsupportedError, match=r"DS2TA-210 \[r\]"):
        types_of(ReduceSum("r", IN, OUT, 4), ValueType((2, None, 3, 4), "uint8"))


# --- what only moves --------------------------------------------------------------------------------------------------


@given(values(5), st.integers(1, 3))
def test_chunk_by_the_definition_and_back(x, steps):
    x = np.concatenate([x] * steps)
    chunk, back = Chunk("c", IN, OUT, steps), Unchunk("u", IN, OUT, steps)
    (kind,) = types_of(chunk, ValueType(x.shape, "uint8"))
    (made,) = chunk.execute(x)
    tokens = x.shape[3]
    expected = by_loop(kind.shape, lambda c, b, h, p, d: number(x, c * steps + p // tokens, b, h, p % tokens, d))
    assert np.array_equal(made, expected)
    assert types_of(back, kind) == (ValueType(x.shape, "uint8"),)
    assert np.array_equal(back.execute(made)[0], x)


@pytest.mark.parametrize("op", [Chunk("c", IN, OUT, 3), Unchunk("c", IN, OUT, 3)])
def test_chunks_that_do_not_fit(op):
    with pytest.raises(UnsupportedError, match=r"DS2TA-210 \[c\]"):
        types_of(op, ValueType((4, None, 2, 5, 3), "uint8"))


@given(values(4), st.integers(1, 3))
def test_pixels_undo_tokens(x, height):
    tokens = np.concatenate([x] * height, axis=2)
    (kind,) = types_of(Pixels("p", IN, OUT, height), int32(tokens))
    (made,) = Pixels("p", IN, OUT, height).execute(tokens)
    assert made.shape == kind.shape
    assert np.array_equal(Tokens("t", IN, OUT).execute(made)[0], tokens)


def test_pixels_that_do_not_fit():
    with pytest.raises(UnsupportedError, match=r"DS2TA-210 \[p\]"):
        types_of(Pixels("p", IN, OUT, 3), ValueType((4, None, 10, 3), "uint8"))


# --- the saccadic neuron ----------------------------------------------------------------------------------------------


@given(st.data())
def test_time_mix_by_the_definition(data):
    x = data.draw(values(4))
    steps = x.shape[0]
    matrix = np.tril(data.draw(arrays(np.int16, (steps, steps), elements=st.integers(-9, 9))))
    op = TimeMix("m", IN, OUT, matrix)
    assert types_of(op, int32(x)) == (int32(x),)
    expected = by_loop(x.shape, lambda t, *place: sum(number(matrix, t, past) * number(x, past, *place) for past in range(t + 1)))
    assert np.array_equal(op.execute(x)[0], expected)
    bounds = by_channel(x)
    (claimed,) = op.infer_ranges([bounds], [int32(x)])
    assert claimed.contains(op.execute(inside(np.random.default_rng(1), bounds, x.shape))[0])


@pytest.mark.parametrize("matrix", [np.ones((2, 2), np.int16), np.eye(3, dtype=np.int16), np.ones((2, 1), np.int16)])
def test_a_matrix_that_does_not_fit(matrix):
    with pytest.raises(UnsupportedError, match=r"DS2TA-210 \[m\]"):
        types_of(TimeMix("m", IN, OUT, matrix), ValueType((2, None, 3, 1), "int32"))


@given(st.data())
def test_threshold_by_the_definition(data):
    x = data.draw(values(4, -5, 5))
    threshold = data.draw(arrays(np.int32, (x.shape[0],), elements=st.integers(-6, 6)))
    op = Threshold("s", IN, OUT, threshold)
    assert types_of(op, int32(x)) == (ValueType(x.shape, "uint8"),)
    expected = by_loop(x.shape, lambda t, *place: int(number(x, t, *place) >= number(threshold, t)))
    assert np.array_equal(op.execute(x)[0], expected)
    bounds = by_channel(x)
    assert op.infer_ranges([bounds], [int32(x)])[0].contains(expected.astype(np.int64))


def test_thresholds_that_do_not_fit():
    with pytest.raises(UnsupportedError, match=r"DS2TA-210 \[s\]"):
        types_of(Threshold("s", IN, OUT, np.zeros(3, np.int32)), ValueType((2, None, 3, 1), "int32"))
