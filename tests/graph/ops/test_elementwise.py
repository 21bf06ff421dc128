import numpy as np
import pytest
from builders import by_loop, inside, number, types_of
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ds2ta_deploy.errors import UnsupportedError
from ds2ta_deploy.graph.intervals import Interval
from ds2ta_deploy.graph.ops import Add, InputTable, MaxPool2d, Tokens, ValueType

SIZE = st.integers(1, 3)
PICTURE = st.tuples(st.integers(1, 2), st.integers(1, 2), st.integers(1, 5), st.integers(1, 5), st.integers(1, 2))


# --- InputTable ------------------------------------------------------------------------------------------------------


def table_op(table, still):
    return InputTable("encoder", ("x",), ("y",), np.asarray(table, np.int16), still)


@pytest.mark.parametrize("still", [1, 0])
@given(st.data())
def test_input_table_by_the_definition(still, data):
    channels = data.draw(SIZE)
    table = data.draw(arrays(np.int16, (channels, 256), elements=st.integers(-511, 511), fill=st.integers(-511, 511)))
    shape = (2, 3, 2, channels) if still else (2, 2, 3, 2, channels)
    pixels = data.draw(arrays(np.int64, shape, elements=st.integers(0, 255)))
    (values,) = table_op(table, still).execute(pixels)
    if still:
        assert np.array_equal(values, by_loop((1, *shape), lambda _, b, y, x, c: number(table, c, number(pixels, b, y, x, c))))
    else:
        assert np.array_equal(values, by_loop(shape, lambda t, b, y, x, c: number(table, c, number(pixels, t, b, y, x, c))))


def test_the_whole_table_is_used():
    table = np.stack([np.arange(256) * 3 - 400, 200 - np.arange(256)])
    pixels = np.stack([np.arange(256), np.arange(256)], axis=-1).reshape(1, 16, 16, 2)
    assert np.array_equal(table_op(table, 1).execute(pixels)[0].reshape(256, 2).T, table)


def test_the_range_of_a_table_is_that_of_its_entries_channel_by_channel():
    table = np.zeros((2, 256), np.int16)
    table[0, 255], table[1, 0], table[1, 100] = 300, -5, -32768
    (claimed,) = table_op(table, 1).infer_ranges([Interval.of(0, 255)], [ValueType((None, 4, 4, 2), "uint8")])
    assert (claimed.low.tolist(), claimed.high.tolist()) == ([0, -32768], [300, 0])


def test_input_table_types():
    pictures, frames = ValueType((None, 4, 5, 2), "uint8"), ValueType((3, None, 4, 5, 2), "uint8")
    assert types_of(table_op(np.zeros((2, 256)), 1), pictures) == (ValueType((1, None, 4, 5, 2), "int16"),)
    assert types_of(table_op(np.zeros((2, 256)), 0), frames) == (ValueType((3, None, 4, 5, 2), "int16"),)


@pytest.mark.parametrize(
    ("table", "still", "shape"),
    [
        ((3, 256), 1, (None, 4, 5, 2)),
        ((2, 255), 1, (None, 4, 5, 2)),
        ((2, 256), 0, (None, 4, 5, 2)),
        ((2, 256), 1, (3, None, 4, 5, 2)),
        ((2, 256), 2, (None, 4, 5, 2)),
        ((256,), 1, (None, 4, 5, 2)),
        ((2, 256, 1), 1, (None, 4, 5, 2)),
    ],
)
def test_input_table_of_what_does_not_fit(table, still, shape):
    with pytest.raises(UnsupportedError, match=r"DS2TA-210 \[encoder\]"):
        types_of(table_op(np.zeros(table), still), ValueType(shape, "uint8"))


# --- MaxPool2d -------------------------------------------------------------------------------------------------------

POOL = MaxPool2d("pool", ("x",), ("y",))


def pooled(x, t, b, y, column, c):
    """The largest of the 3 x 3 neighbours around twice the place, as far as they lie inside the picture."""
    return largest_around(x, (t, b, y, column, c), stride=2, axis=2)


def largest_around(x, place, *, stride, axis):
    rows, columns = (
        [at for at in range(stride * place[near] - 1, stride * place[near] + 2) if 0 <= at < x.shape[near]] for near in (axis, axis + 1)
    )
    return max(number(x, *place[:axis], row, column, *place[axis + 2 :]) for row in rows for column in columns)


@given(PICTURE.flatmap(lambda shape: arrays(np.int64, shape, elements=st.integers(-3, 3))))
def test_max_pool_by_the_definition(x):
    (out,) = POOL.execute(x)
    time, batch, height, width, channels = x.shape
    shape = (time, batch, (height + 1) // 2, (width + 1) // 2, channels)
    assert np.array_equal(out, by_loop(shape, lambda *index: pooled(x, *index)))


@given(PICTURE.flatmap(lambda shape: arrays(np.int64, shape, elements=st.integers(-3, 3))), st.integers(1, 2), st.integers(2, 3))
def test_max_pool_of_any_stride_and_axes_by_the_definition(x, stride, axis):
    op = MaxPool2d("pool", ("x",), ("y",), stride=stride, axis=axis)
    (kind,) = types_of(op, ValueType(x.shape, "int32"))
    (out,) = op.execute(x)
    assert kind == ValueType(out.shape, "int32")
    assert np.array_equal(out, by_loop(out.shape, lambda *place: largest_around(x, place, stride=stride, axis=axis)))
    low, high = (x.reshape(-1, x.shape[-1]).min(axis=0), x.reshape(-1, x.shape[-1]).max(axis=0))
    (claimed,) = op.infer_ranges([Interval.of(low, high)], [ValueType(x.shape, "int32")])
    assert claimed.contains(out)


@given(PICTURE.flatmap(lambda shape: arrays(np.int64, shape, elements=st.integers(0, 1))))
def test_of_spikes_max_pool_is_or(x):
    assert np.array_equal(POOL.execute(x)[0], POOL.execute(x)[0].astype(bool))
    assert POOL.execute(x)[0].any() == x.any()


def test_what_lies_outside_the_picture_is_no_maximum():
    kind = ValueType((1, None, 4, 4, 1), "int32")
    (claimed,) = POOL.infer_ranges([Interval.of(-7, -5)], [kind])
    assert POOL.execute(np.full((1, 1, 1, 1, 1), -7))[0].item() == -7
    assert (claimed.minimum, claimed.maximum) == (-7, -5)


@pytest.mark.parametrize(("size", "half"), [((4, 6), (2, 3)), ((5, 7), (3, 4)), ((1, 2), (1, 1))])
def test_max_pool_types(size, half):
    assert types_of(POOL, ValueType((3, None, *size, 2), "uint8")) == (ValueType((3, None, *half, 2), "uint8"),)
    assert POOL.execute(np.zeros((3, 1, *size, 2), np.int64))[0].shape == (3, 1, *half, 2)


@pytest.mark.parametrize("kind", [ValueType((3, None, 4, 2), "uint8"), ValueType((3, None, 4, 4, 2), "int16")])
def test_max_pool_of_what_does_not_fit(kind):
    with pytest.raises(UnsupportedError, match=r"DS2TA-210 \[pool\]"):
        types_of(POOL, kind)


# --- Add -------------------------------------------------------------------------------------------------------------

ADD = Add("add", ("x", "y"), ("z",))


@given(st.data())
def test_add_by_the_definition(data):
    shape = (2, data.draw(SIZE), data.draw(SIZE), 2)
    left, right = (data.draw(arrays(np.int64, shape, elements=st.integers(0, 200))) for _ in range(2))
    assert np.array_equal(ADD.execute(left, right)[0], by_loop(shape, lambda *index: number(left, *index) + number(right, *index)))


def test_the_range_of_add_holds_and_is_reached():
    random = np.random.default_rng(0)
    left, right = Interval.of(np.array([0, 1]), np.array([2, 4])), Interval.of(np.array([0, 0]), np.array([1, 7]))
    kind = ValueType((3, None, 2, 2), "uint8")
    (claimed,) = ADD.infer_ranges([left, right], [kind, kind])
    assert claimed.contains(ADD.execute(inside(random, left, (3, 9, 2, 2)), inside(random, right, (3, 9, 2, 2)))[0])
    assert (claimed.low.tolist(), claimed.high.tolist()) == ([0, 1], [3, 11])


def test_add_types():
    kind = ValueType((3, None, 4, 2), "uint8")
    assert types_of(ADD, kind, kind) == (kind,)


@pytest.mark.parametrize(
    "kinds",
    [
        [ValueType((3, None, 4, 2), "uint8"), ValueType((3, None, 4, 3), "uint8")],
        [ValueType((3, None, 4, 2), "uint8"), ValueType((1, None, 4, 2), "uint8")],
        [ValueType((3, None, 4, 2), "uint8"), ValueType((3, None, 4, 2), "int16")],
    ],
)
def test_add_of_what_does_not_fit(kinds):
    with pytest.raises(UnsupportedError, match=r"DS2TA-210 \[add\]"):
        types_of(ADD, *kinds)


def test_add_of_one_value():
    with pytest.raises(UnsupportedError, match=r"DS2TA-210 \[add\]"):
        types_of(Add("add", ("x",), ("z",)), ValueType((3, None, 4, 2), "uint8"))


# --- Tokens ----------------------------------------------------------------------------------------------------------

TOKENS = Tokens("flatten", ("x",), ("y",))


@given(PICTURE.flatmap(lambda shape: arrays(np.int64, shape, elements=st.integers(0, 99))))
def test_tokens_by_the_definition(x):
    time, batch, height, width, channels = x.shape
    expected = by_loop((time, batch, height * width, channels), lambda t, b, n, c: number(x, t, b, n // width, n % width, c))
    assert np.array_equal(TOKENS.execute(x)[0], expected)


def test_tokens_keep_the_range_and_make_types():
    bounds = Interval.of(np.array([0, 1]), np.array([3, 4]))
    (claimed,) = TOKENS.infer_ranges([bounds], [ValueType((3, None, 4, 5, 2), "uint8")])
    assert (claimed.low.tolist(), claimed.high.tolist()) == ([0, 1], [3, 4])
    assert types_of(TOKENS, ValueType((3, None, 4, 5, 2), "uint8")) == (ValueType((3, None, 20, 2), "uint8"),)
    with pytest.raises(UnsupportedError, match=r"DS2TA-210 \[flatten\]"):
        types_of(TOKENS, ValueType((3, None, 20, 2), "uint8"))
