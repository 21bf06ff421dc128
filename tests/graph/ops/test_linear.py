import numpy as np
import pytest
from builders import by_loop, inside, number, types_of
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ds2ta_deploy.errors import UnsupportedError
from ds2ta_deploy.graph.intervals import Interval
from ds2ta_deploy.graph.ops import Conv2d, Linear, Readout, ValueType
from ds2ta_deploy.graph.ops.linear import weighted_range

NAMES = ("layer", ("x",), ("y",))
SIZE = st.integers(1, 3)


def weights(shape, largest=127, dtype=np.int8):
    return arrays(dtype, shape, elements=st.integers(-largest, largest))


def intervals(channels):
    """Return intervals per channel, of both signs."""
    bound = st.tuples(st.integers(-12, 12), st.integers(-12, 12)).map(sorted)
    return st.lists(bound, min_size=channels, max_size=channels).map(
        lambda bounds: Interval.of(np.array([low for low, _ in bounds]), np.array([high for _, high in bounds]))
    )


# --- Linear ----------------------------------------------------------------------------------------------------------


@st.composite
def linear_cases(draw):
    steps, batch, tokens, inner, out = (draw(SIZE) for _ in range(5))
    op = Linear(*NAMES, draw(weights((out, inner))))
    return op, draw(arrays(np.int64, (steps, batch, tokens, inner), elements=st.integers(0, 255)))


@given(linear_cases())
def test_linear_by_the_definition(case):
    op, x = case
    (product,) = op.execute(x)
    expected = by_loop(
        (*x.shape[:3], op.weight.shape[0]),
        lambda t, b, n, o: sum(number(op.weight, o, k) * number(x, t, b, n, k) for k in range(x.shape[3])),
    )
    assert np.array_equal(product, expected)


@given(st.data())
def test_the_range_of_linear_holds_and_every_bound_is_reached(data):
    inner, out = data.draw(SIZE), data.draw(SIZE)
    op = Linear(*NAMES, data.draw(weights((out, inner))))
    bounds = data.draw(intervals(inner))
    (claimed,) = op.infer_ranges([bounds], [ValueType((2, None, 1, inner), "uint8")])
    x = inside(np.random.default_rng(data.draw(st.integers(0, 99))), bounds, (2, 3, 1, inner))
    assert claimed.contains(op.execute(x)[0])
    for o in range(out):
        positive = op.weight[o] > 0
        largest, smallest = np.where(positive, bounds.high, bounds.low), np.where(positive, bounds.low, bounds.high)
        assert op.execute(largest.reshape(1, 1, 1, -1))[0][0, 0, 0, o] == claimed.high[o]
        assert op.execute(smallest.reshape(1, 1, 1, -1))[0][0, 0, 0, o] == claimed.low[o]


def test_the_range_of_one_known_product():
    claimed = weighted_range(np.array([[2, -3], [0, 5]]), np.array([0, -1]), np.array([4, 2]))
    assert claimed.low.tolist() == [-6, -5]
    assert claimed.high.tolist() == [11, 10]


def test_the_proof_does_not_wrap_where_the_weights_are_huge():
    """A graph file may hold 64-bit weights; a bound that wraps around proves nothing."""
    op = Linear(*NAMES, np.full((1, 4), 2**62, np.int64))
    kind = ValueType((1, None, 1, 4), "uint8")
    try:
        types_of(op, kind)
        (claimed,) = op.infer_ranges([Interval.of(0, 255)], [kind])
    except (UnsupportedError, OverflowError):
        return
    assert claimed.maximum >= 4 * 2**62 * 255


def test_linear_types():
    op = Linear(*NAMES, np.zeros((5, 3), np.int8))
    assert types_of(op, ValueType((2, None, 7, 3), "uint8")) == (ValueType((2, None, 7, 5), "int32"),)


@pytest.mark.parametrize("shape", [(2, None, 7, 5), (2, None, 7, None), (2, None, 3, 1), ()])
def test_linear_of_a_value_that_does_not_fit(shape):
    with pytest.raises(UnsupportedError, match=r"DS2TA-210 \[layer\]"):
        types_of(Linear(*NAMES, np.zeros((5, 3), np.int8)), ValueType(shape, "uint8"))


@pytest.mark.parametrize("shape", [(3,), (5, 3, 1), ()])
def test_linear_weights_are_a_matrix(shape):
    with pytest.raises(UnsupportedError, match=r"DS2TA-210 \[layer\]"):
        types_of(Linear(*NAMES, np.zeros(shape, np.int8)), ValueType((2, None, 7, 3), "uint8"))


# --- Conv2d ----------------------------------------------------------------------------------------------------------


def convolved(op, x, t, b, y, column, o):
    """One element of the convolution: zero outside the picture."""
    _, size, _, channels = op.weight.shape
    total = 0
    for i in range(size):
        for j in range(size):
            row, col = y + i - size // 2, column + j - size // 2
            if 0 <= row < x.shape[2] and 0 <= col < x.shape[3]:
                total += sum(number(op.weight, o, i, j, k) * number(x, t, b, row, col, k) for k in range(channels))
    return total


@st.composite
def conv_cases(draw):
    size = draw(st.sampled_from([1, 3, 5]))
    steps, batch, channels, out = draw(st.integers(1, 2)), draw(st.integers(1, 2)), draw(st.integers(1, 2)), draw(st.integers(1, 2))
    height, width = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    op = Conv2d(*NAMES, draw(weights((out, size, size, channels), 500, np.int16)))
    return op, draw(arrays(np.int64, (steps, batch, height, width, channels), elements=st.integers(-511, 511)))


@given(conv_cases())
def test_conv_by_the_definition(case):
    op, x = case
    (product,) = op.execute(x)
    assert np.array_equal(product, by_loop((*x.shape[:4], op.weight.shape[0]), lambda *index: convolved(op, x, *index)))


@given(st.data())
def test_the_range_of_conv_holds_also_at_the_border(data):
    channels, out, size = data.draw(st.integers(1, 2)), data.draw(st.integers(1, 2)), data.draw(st.sampled_from([1, 3]))
    op = Conv2d(*NAMES, data.draw(weights((out, size, size, channels))))
    bounds = data.draw(intervals(channels))
    shape = (2, 2, 4, 3, channels)
    (claimed,) = op.infer_ranges([bounds], [ValueType((2, None, *shape[2:]), "int16")])
    x = inside(np.random.default_rng(data.draw(st.integers(0, 99))), bounds, shape)
    assert claimed.contains(op.execute(x)[0])


@given(weights((3, 3, 3, 2)), arrays(np.int64, (2, 2), elements=st.integers(0, 20)))
def test_a_picture_of_corners_reaches_both_bounds_of_a_convolution(weight, sizes):
    op, (below, above) = Conv2d(*NAMES, weight), sizes  # another interval for each of the two input channels
    (claimed,) = op.infer_ranges([Interval.of(-below, above)], [ValueType((1, None, 3, 3, 2), "int16")])
    for o in range(3):  # in a picture of 3 x 3 the middle pixel sees the whole kernel
        largest = np.where(weight[o] > 0, above, -below)[None, None].astype(np.int64)
        smallest = np.where(weight[o] > 0, -below, above)[None, None].astype(np.int64)
        assert op.execute(largest)[0][0, 0, 1, 1, o] == claimed.high[o]
        assert op.execute(smallest)[0][0, 0, 1, 1, o] == claimed.low[o]


def test_padding_counts_in_the_range_of_a_convolution():
    op = Conv2d(*NAMES, np.ones((1, 3, 3, 1), np.int8))
    (claimed,) = op.infer_ranges([Interval.of(5, 6)], [ValueType((1, None, 3, 3, 1), "int16")])
    corner = op.execute(np.full((1, 1, 3, 3, 1), 5, np.int64))[0][0, 0, 0, 0, 0]
    assert corner == 20  # four pixels of nine
    assert claimed.contains(np.array([corner]))
    assert claimed.maximum == 54


def test_conv_types():
    op = Conv2d(*NAMES, np.zeros((5, 3, 3, 2), np.int8))
    assert types_of(op, ValueType((4, None, 6, 7, 2), "uint8")) == (ValueType((4, None, 6, 7, 5), "int32"),)


@pytest.mark.parametrize(
    ("kernel", "shape"),
    [
        ((5, 3, 3, 2), (4, None, 6, 7, 3)),  # channels
        ((5, 3, 3, 2), (4, None, 6, 2)),  # no picture
        ((5, 3, 5, 2), (4, None, 6, 7, 2)),  # not square
        ((5, 2, 2, 2), (4, None, 6, 7, 2)),  # even
        ((5, 3, 2), (4, None, 6, 7, 2)),  # no kernel
    ],
)
def test_conv_of_a_value_that_does_not_fit(kernel, shape):
    with pytest.raises(UnsupportedError, match=r"DS2TA-210 \[layer\]"):
        types_of(Conv2d(*NAMES, np.zeros(kernel, np.int8)), ValueType(shape, "uint8"))


# --- Readout ---------------------------------------------------------------------------------------------------------


@st.composite
def readout_cases(draw):
    steps, batch, tokens, width, classes = (draw(SIZE) for _ in range(5))
    bias = draw(arrays(np.int32, (classes,), elements=st.integers(-(2**31), 2**31 - 1)))
    op = Readout(*NAMES, draw(weights((classes, width))), bias)
    return op, draw(arrays(np.int64, (steps, batch, tokens, width), elements=st.integers(0, 20)))


@given(readout_cases())
def test_readout_by_the_definition(case):
    op, x = case
    (logits,) = op.execute(x)
    steps, batch, tokens, width = x.shape

    def logit(b, c):
        terms = (number(op.weight, c, k) * number(x, t, b, n, k) for t in range(steps) for n in range(tokens) for k in range(width))
        return sum(terms) + number(op.bias, c)

    assert np.array_equal(logits, by_loop((batch, op.weight.shape[0]), logit))


@given(st.data())
def test_the_range_of_readout_holds_for_every_partial_sum(data):
    steps, tokens, width, classes = (data.draw(SIZE) for _ in range(4))
    bias = data.draw(arrays(np.int32, (classes,), elements=st.integers(-500, 500)))
    op = Readout(*NAMES, data.draw(weights((classes, width))), bias)
    bounds = data.draw(intervals(width))
    (claimed,) = op.infer_ranges([bounds], [ValueType((steps, None, tokens, width), "uint8")])
    x = inside(np.random.default_rng(data.draw(st.integers(0, 99))), bounds, (steps, 2, tokens, width))
    assert claimed.contains(op.execute(x)[0])
    for t in range(steps + 1):  # an engine that adds step after step must not overflow on its way
        assert claimed.contains(op.execute(x[:t])[0] - op.bias)


@given(weights((2, 3)), st.integers(1, 3), st.integers(1, 3))
def test_the_range_of_readout_is_reached(weight, steps, tokens):
    op = Readout(*NAMES, weight, np.array([700, -700], np.int32))
    (claimed,) = op.infer_ranges([Interval.of(0, 4)], [ValueType((steps, None, tokens, 3), "uint8")])
    for c in range(2):
        largest = np.broadcast_to(np.where(weight[c] > 0, 4, 0), (steps, 1, tokens, 3)).astype(np.int64)
        smallest = np.broadcast_to(np.where(weight[c] > 0, 0, 4), (steps, 1, tokens, 3)).astype(np.int64)
        if op.bias[c] > 0:
            assert op.execute(largest)[0][0, c] == claimed.high[c]
        else:
            assert op.execute(smallest)[0][0, c] == claimed.low[c]


def test_readout_types():
    op = Readout(*NAMES, np.zeros((5, 3), np.int8), np.zeros(5, np.int32))
    assert types_of(op, ValueType((2, None, 7, 3), "uint8")) == (ValueType((None, 5), "int32"),)


@pytest.mark.parametrize(
    ("weight", "bias", "shape"),
    [
        ((5, 3), (5,), (2, None, 7, 4)),
        ((5, 3), (5,), (None, 3)),
        ((5, 3), (5,), (2, None, 7, 7, 3)),
        ((5, 3), (3,), (2, None, 7, 3)),
        ((5, 3), (5, 1), (2, None, 7, 3)),
        ((3,), (3,), (2, None, 7, 3)),
    ],
)
def test_readout_of_what_does_not_fit(weight, bias, shape):
    with pytest.raises(UnsupportedError, match=r"DS2TA-210 \[layer\]"):
        types_of(Readout(*NAMES, np.zeros(weight, np.int8), np.zeros(bias, np.int32)), ValueType(shape, "uint8"))
