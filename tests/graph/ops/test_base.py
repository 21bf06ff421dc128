import numpy as np
import pytest
from builders import by_loop, number, types_of
from hypothesis import given
from hypothesis import strategies as st

from ds2ta_deploy.errors import UnsupportedError
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.ops import DTYPE_LIMITS, OPS, Op, ValueType
from ds2ta_deploy.graph.ops.base import exact_matmul


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32"])
def test_limits_are_those_of_numpy(dtype):
    assert DTYPE_LIMITS[dtype] == (np.iinfo(dtype).min, np.iinfo(dtype).max)


def test_value_types_are_compared_by_shape_and_dtype():
    assert ValueType((1, None), "uint8") == ValueType((1, None), "uint8")
    assert ValueType((1, None), "uint8") != ValueType((1, None), "int16")
    assert ValueType((1, None), "uint8") != ValueType((1, 2), "uint8")


def test_require_names_the_op():
    op = ops.Add("blocks.0.residual", ("a", "b"), ("c",))
    op.require(condition=True, what="is fine")
    with pytest.raises(UnsupportedError, match=r"^DS2TA-210 \[blocks\.0\.residual\]: is not fine$"):
        op.require(condition=False, what="is not fine")


def test_every_op_is_known_by_its_class_name():
    kinds = {kind for kind in vars(ops).values() if isinstance(kind, type) and issubclass(kind, Op) and kind is not Op}
    assert set(OPS.values()) == kinds
    assert all(OPS[kind.__name__] is kind for kind in kinds)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32"])
def test_every_op_says_which_storage_types_it_takes(small_graph, stream_graph, dtype):
    """What an op is documented to take, and nothing else: engines have kernels for these types only."""
    takes = {
        "InputTable": [["uint8"]],
        "Conv2d": [["uint8", "int16"]],
        "Linear": [["uint8", "int16"]],
        "Readout": [["uint8"]],
        "TemporalWindow": [["int32"]],
        "Repeat": [["int32"]],
        "Lif": [["int32"]],
        "MaxPool2d": [["uint8", "int32"]],
        "Tokens": [["uint8", "int32"]],
        "Pixels": [["uint8", "int32"]],
        "Add": [["uint8", "int32"], ["uint8", "int32"]],
        "Mul": [["uint8", "int32"], ["uint8", "int32"]],
        "ReduceSum": [["uint8", "int32"]],
        "SplitHeads": [["uint8"]],
        "Chunk": [["uint8"]],
        "Unchunk": [["uint8", "int32"]],
        "MatMul": [["uint8", "int16", "int32"], ["uint8", "int32"]],
        "Lookup": [["int32"]],
        "MergeHeads": [["uint8", "int32"]],
        "TimeMix": [["int32"]],
        "Threshold": [["int32"]],
    }
    tried = [(op, graph.types) for graph in (small_graph, stream_graph) for op in graph]
    for op, types in tried:
        kinds = [types[name] for name in op.inputs]
        changed = [ValueType(kind.shape, dtype) for kind in kinds]
        if all(dtype in allowed for allowed in takes[type(op).__name__]):
            types_of(op, *changed)
        else:
            with pytest.raises(UnsupportedError, match=rf"DS2TA-210 \[{op.name}\].*{dtype}"):
                types_of(op, *changed)


# --- products through floating point ---------------------------------------------------------------------------------


def plain_product(left, right):
    return by_loop(
        (left.shape[0], right.shape[1]), lambda i, j: sum(number(left, i, k) * number(right, k, j) for k in range(left.shape[1]))
    )


@given(
    st.integers(1, 4),
    st.integers(1, 6),
    st.integers(1, 4),
    st.sampled_from([1, 7, 127, 2**11, 2**12, 2**20, 2**26, 2**28]),
    st.randoms(use_true_random=False),
)
def test_products_of_any_magnitude_are_exact(rows, inner, columns, largest, random):
    left = np.array([[random.randint(-largest, largest) for _ in range(inner)] for _ in range(rows)])
    right = np.array([[random.choice([-largest, largest - 1, 1]) for _ in range(columns)] for _ in range(inner)])
    assert np.array_equal(exact_matmul(left, right), plain_product(left, right))


@pytest.mark.parametrize("exponent", [23, 24, 25, 52, 53, 54])
@pytest.mark.parametrize("off", [-1, 0, 1])
@pytest.mark.parametrize("sign", [-1, 1])
def test_single_products_around_the_limits_of_the_floating_point_types_are_exact(exponent, off, sign):
    value = sign * (2**exponent + off)
    assert exact_matmul(np.array([[value]]), np.array([[1]])).tolist() == [[value]]
    assert exact_matmul(np.array([[1]]), np.array([[value]])).tolist() == [[value]]


@pytest.mark.parametrize("exponent", [24, 53])
def test_sums_that_only_their_length_makes_inexact_are_exact(exponent):
    # Each product is half of the limit: one fits, three and an odd unit do not.
    half = 2 ** (exponent - 1)
    left, right = np.array([[half, half, half, 1]]), np.ones((4, 1), np.int64)
    assert exact_matmul(left, right).tolist() == [[3 * half + 1]]


def test_the_sign_of_the_largest_magnitude_does_not_matter():
    left, right = np.array([[-(2**24) - 1, 1]]), np.array([[1], [0]])
    assert exact_matmul(left, right).tolist() == [[-(2**24) - 1]]
    assert exact_matmul(right.T, left.T).tolist() == [[-(2**24) - 1]]


def test_batches_of_products():
    random = np.random.default_rng(0)
    left, right = random.integers(-9, 9, (2, 3, 4, 5)), random.integers(-9, 9, (2, 3, 5, 2))
    product = exact_matmul(left, right)
    assert product.dtype == np.int64
    for a in range(2):
        for b in range(3):
            assert np.array_equal(product[a, b], plain_product(left[a, b], right[a, b]))


@pytest.mark.parametrize(("left", "right"), [((0, 3), (3, 2)), ((2, 0), (0, 3)), ((2, 3), (3, 0))])
def test_empty_products(left, right):
    product = exact_matmul(np.zeros(left, np.int64), np.zeros(right, np.int64))
    assert product.shape == (left[0], right[1])
    assert not product.any()
