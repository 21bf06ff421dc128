import numpy as np
import pytest
from builders import by_loop, inside, number, types_of
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ds2ta_deploy.errors import UnsupportedError
from ds2ta_deploy.graph.intervals import Interval
from ds2ta_deploy.graph.ops import Lookup, MatMul, MergeHeads, SplitHeads, ValueType

SIZE = st.integers(1, 3)
SIZES = st.tuples(SIZE, SIZE, SIZE, SIZE, SIZE)


def split_op(heads):
    return SplitHeads("split", ("x",), ("y",), heads)


MERGE = MergeHeads("merge", ("x",), ("y",))

# --- SplitHeads and MergeHeads ---------------------------------------------------------------------------------------


@given(SIZES, st.data())
def test_split_by_the_definition(sizes, data):
    time, batch, tokens, heads, width = sizes
    x = data.draw(arrays(np.int64, (time, batch, tokens, heads * width), elements=st.integers(0, 99)))
    expected = by_loop((time, batch, heads, tokens, width), lambda t, b, h, n, c: number(x, t, b, n, h * width + c))
    assert np.array_equal(split_op(heads).execute(x)[0], expected)


@given(SIZES, st.data())
def test_merge_by_the_definition_and_as_the_inverse_of_split(sizes, data):
    time, batch, heads, tokens, width = sizes
    x = data.draw(arrays(np.int64, sizes, elements=st.integers(0, 99)))
    (merged,) = MERGE.execute(x)
    assert np.array_equal(
        merged, by_loop((time, batch, tokens, heads * width), lambda t, b, n, c: number(x, t, b, c // width, n, c % width))
    )
    assert np.array_equal(split_op(heads).execute(merged)[0], x)


@given(st.data())
def test_the_ranges_of_split_and_merge_hold(data):
    heads, width = data.draw(SIZE), data.draw(SIZE)
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    low = random.integers(-9, 9, heads * width)
    channels = Interval.of(low, low + random.integers(0, 9, heads * width))
    (claimed,) = split_op(heads).infer_ranges([channels], [ValueType((2, None, 3, heads * width), "uint8")])
    assert claimed.contains(split_op(heads).execute(inside(random, channels, (2, 2, 3, heads * width)))[0])
    low = random.integers(-9, 9, (heads, 1, 1))
    by_head = Interval.of(low, low + random.integers(0, 9, (heads, 1, 1)))
    (claimed,) = MERGE.infer_ranges([by_head], [ValueType((2, None, heads, 3, width), "int32")])
    merged = MERGE.execute(inside(random, by_head, (2, 2, heads, 3, width)))[0]
    assert claimed.contains(merged)
    assert claimed.low.tolist() == [int(by_head.low[h, 0, 0]) for h in range(heads) for _ in range(width)]
    assert claimed.high.tolist() == [int(by_head.high[h, 0, 0]) for h in range(heads) for _ in range(width)]


def test_merge_of_a_single_interval_and_of_one_by_channel():
    kind = ValueType((2, None, 3, 4, 2), "int32")
    assert MERGE.infer_ranges([Interval.of(-1, 5)], [kind])[0].contains(np.array([[-1] * 6, [5] * 6]))
    channels = Interval.of(np.array([0, 10]), np.array([1, 12]))
    (claimed,) = MERGE.infer_ranges([channels], [kind])
    assert claimed.contains(MERGE.execute(inside(np.random.default_rng(0), channels, (2, 2, 3, 4, 2)))[0])


def test_split_and_merge_types():
    assert types_of(split_op(4), ValueType((2, None, 5, 12), "uint8")) == (ValueType((2, None, 4, 5, 3), "uint8"),)
    assert types_of(MERGE, ValueType((2, None, 4, 5, 3), "int32")) == (ValueType((2, None, 5, 12), "int32"),)


@pytest.mark.parametrize(
    ("heads", "shape"),
    [(5, (2, None, 5, 12)), (0, (2, None, 5, 12)), (-4, (2, None, 5, 12)), (4, (2, None, 4, 5, 3)), (4, (2, None, 5, None))],
)
def test_split_of_what_does_not_fit(heads, shape):
    with pytest.raises(UnsupportedError, match=r"DS2TA-210 \[split\]"):
        types_of(split_op(heads), ValueType(shape, "uint8"))


def test_merge_of_what_does_not_fit():
    with pytest.raises(UnsupportedError, match=r"DS2TA-210 \[merge\]"):
        types_of(MERGE, ValueType((2, None, 5, 12), "int32"))


# --- MatMul ----------------------------------------------------------------------------------------------------------


def matmul(transpose_right):
    return MatMul("product", ("x", "y"), ("z",), transpose_right)


@st.composite
def products(draw):
    time, batch, heads, rows, inner, columns = (draw(SIZE) for _ in range(6))
    transposed = draw(st.integers(0, 1))
    left = draw(arrays(np.int64, (time, batch, heads, rows, inner), elements=st.integers(-400, 400)))
    right_shape = (columns, inner) if transposed else (inner, columns)
    right = draw(arrays(np.int64, (time, batch, heads, *right_shape), elements=st.integers(-9, 9)))
    return transposed, left, right


@given(products())
def test_matmul_by_the_definition(case):
    transposed, left, right = case
    columns = right.shape[3] if transposed else right.shape[4]

    def element(t, b, h, i, j):
        inner = range(left.shape[4])
        return sum(
            number(left, t, b, h, i, k) * (number(right, t, b, h, j, k) if transposed else number(right, t, b, h, k, j)) for k in inner
        )

    assert np.array_equal(matmul(transposed).execute(left, right)[0], by_loop((*left.shape[:4], columns), element))


def bounds_like(random, shape):
    low = random.integers(-6, 6, shape)
    return Interval.of(low, low + random.integers(0, 6, shape))


@pytest.mark.parametrize("left_form", ["one", "heads", "channels"])
@pytest.mark.parametrize("right_form", ["one", "heads", "channels"])
@pytest.mark.parametrize("transposed", [0, 1])
@given(st.integers(0, 999))
def test_the_range_of_matmul_holds(left_form, right_form, transposed, seed):
    random = np.random.default_rng(seed)
    heads, rows, inner, columns = random.integers(1, 4, 4)
    left_shape = (2, 2, heads, rows, inner)
    right_shape = (2, 2, heads, columns, inner) if transposed else (2, 2, heads, inner, columns)
    shapes = {"one": lambda _: (), "heads": lambda shape: (shape[2], 1, 1), "channels": lambda shape: (shape[4],)}
    left, right = bounds_like(random, shapes[left_form](left_shape)), bounds_like(random, shapes[right_form](right_shape))
    op = matmul(transposed)
    kinds = [ValueType((2, None, *shape[2:]), "int16") for shape in (left_shape, right_shape)]
    (claimed,) = op.infer_ranges([left, right], kinds)
    for _ in range(5):
        (made,) = op.execute(inside(random, left, left_shape), inside(random, right, right_shape))
        assert claimed.contains(made)


def test_a_known_unsound_bound_stays_mended():
    # The bounds of the contracted channels are not those of the product's.
    left = Interval.of(np.array([0, 0]), np.array([1, 5]))
    kinds = [ValueType((1, None, 1, 1, 2), "uint8"), ValueType((1, None, 1, 2, 2), "uint8")]
    (claimed,) = matmul(0).infer_ranges([left, Interval.of(0, 1)], kinds)
    (made,) = matmul(0).execute(np.array([1, 5]).reshape(1, 1, 1, 1, 2), np.ones((1, 1, 1, 2, 2), np.int64))
    assert made.flatten().tolist() == [6, 6]
    assert claimed.contains(made)


@pytest.mark.parametrize("width", [1, 4, 32])
def test_scores_of_spikes_lie_between_zero_and_the_width_of_a_head(width):
    kind = ValueType((2, None, 3, 5, width), "uint8")
    (claimed,) = matmul(1).infer_ranges([Interval.of(0, 1), Interval.of(0, 1)], [kind, kind])
    assert (claimed.minimum, claimed.maximum) == (0, width)
    ones = np.ones((2, 1, 3, 5, width), np.int64)
    assert matmul(1).execute(ones, ones)[0].max() == width


def test_the_range_of_map_times_value_is_reached_head_by_head():
    table = Interval.of(np.array([-3, 0])[:, None, None], np.array([5, 7])[:, None, None])
    kinds = [ValueType((1, None, 2, 4, 4), "int16"), ValueType((1, None, 2, 4, 6), "uint8")]
    (claimed,) = matmul(0).infer_ranges([table, Interval.of(0, 1)], kinds)
    assert claimed.low.flatten().tolist() == [-12, 0]
    assert claimed.high.flatten().tolist() == [20, 28]


def test_the_proof_of_matmul_does_not_wrap():
    """Two 32-bit operands could: 2^31 * 2^31 * 4 is 0 in 64 bits. Refusing such operands is as good as a true bound."""
    kind = ValueType((1, None, 1, 4, 4), "int32")
    low, high = -(2**31), 2**31 - 1
    try:
        types_of(matmul(1), kind, kind)
        (claimed,) = matmul(1).infer_ranges([Interval.of(low, high), Interval.of(low, high)], [kind, kind])
    except (UnsupportedError, OverflowError):
        return
    assert claimed.maximum >= 2**62  # cut off, far beyond any state


def test_matmul_types():
    left, right = ValueType((2, None, 3, 5, 4), "uint8"), ValueType((2, None, 3, 6, 4), "uint8")
    assert types_of(matmul(1), left, right) == (ValueType((2, None, 3, 5, 6), "int32"),)
    left, right = ValueType((2, None, 3, 5, 6), "int16"), ValueType((2, None, 3, 6, 4), "uint8")
    assert types_of(matmul(0), left, right) == (ValueType((2, None, 3, 5, 4), "int32"),)


@pytest.mark.parametrize(
    ("transposed", "left", "right"),
    [
        (1, (2, None, 3, 5, 4), (2, None, 3, 4, 6)),
        (0, (2, None, 3, 5, 4), (2, None, 3, 6, 4)),
        (1, (2, None, 3, 5, 4), (2, None, 2, 6, 4)),  # heads
        (1, (2, None, 3, 5, 4), (1, None, 3, 6, 4)),  # time
        (1, (2, None, 5, 4), (2, None, 6, 4)),
        (1, (4,), (4,)),
        (2, (2, None, 3, 5, 4), (2, None, 3, 6, 4)),
    ],
)
def test_matmul_of_what_does_not_fit(transposed, left, right):
    with pytest.raises(UnsupportedError, match=r"DS2TA-210 \[product\]"):
        types_of(matmul(transposed), ValueType(left, "uint8"), ValueType(right, "uint8"))


# --- Lookup ----------------------------------------------------------------------------------------------------------


def lookup(table):
    return Lookup("denoiser", ("x",), ("y",), np.asarray(table, np.int16))


@given(SIZES, st.integers(1, 6), st.data())
def test_lookup_by_the_definition(sizes, entries, data):
    heads = sizes[2]
    table = data.draw(arrays(np.int16, (heads, entries), elements=st.integers(-(2**15), 2**15 - 1)))
    scores = data.draw(arrays(np.int64, sizes, elements=st.integers(0, entries - 1)))
    expected = by_loop(sizes, lambda t, b, h, i, j: number(table, h, number(scores, t, b, h, i, j)))
    assert np.array_equal(lookup(table).execute(scores)[0], expected)


KIND = ValueType((2, None, 2, 3, 3), "int32")
TABLE = [[0, -4, 2, 9], [1, 8, 3, -7]]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 3, [[-4, 9], [-7, 8]]), (0, 2, [[-4, 2], [1, 8]]), (2, 3, [[2, 9], [-7, 3]]), (1, 1, [[-4, -4], [8, 8]])],
)
def test_the_range_of_a_table_is_that_of_the_reachable_entries_head_by_head(low, high, expected):
    (claimed,) = lookup(TABLE).infer_ranges([Interval.of(low, high)], [KIND])
    assert claimed.low.flatten().tolist() == [row[0] for row in expected]
    assert claimed.high.flatten().tolist() == [row[1] for row in expected]
    assert claimed.low.shape == (2, 1, 1)


@pytest.mark.parametrize(("low", "high"), [(0, 4), (-1, 3), (-1, 0), (4, 4), (0, 100)])
def test_an_index_that_could_leave_the_table_is_refused(low, high):
    with pytest.raises(UnsupportedError) as caught:
        lookup(TABLE).infer_ranges([Interval.of(low, high)], [KIND])
    (problem,) = caught.value.problems
    assert problem.code == "DS2TA-221"
    assert problem.where == "denoiser"
    assert f"[{low}, {high}]" in problem.what
    assert "0..3" in problem.what


def test_one_head_that_could_leave_its_table_is_enough():
    heads = Interval.of(np.array([0, 0])[:, None, None], np.array([3, 4])[:, None, None])
    with pytest.raises(UnsupportedError, match="DS2TA-221"):
        lookup(TABLE).infer_ranges([heads], [KIND])


def test_lookup_types():
    assert types_of(lookup(TABLE), KIND) == (ValueType((2, None, 2, 3, 3), "int16"),)


@pytest.mark.parametrize(
    ("table", "shape"),
    [
        (TABLE, (2, None, 3, 3, 3)),
        (TABLE, (2, None, 2, 3)),
        ([1, 2], (2, None, 2, 3, 3)),
        ([TABLE], (2, None, 1, 3, 3)),
        ([[], []], (2, None, 2, 3, 3)),
    ],
)
def test_lookup_of_what_does_not_fit(table, shape):
    with pytest.raises(UnsupportedError, match=r"DS2TA-210 \[denoiser\]"):
        types_of(lookup(table), ValueType(shape, "int32"))
