"""Every kernel against the class of its op, at the ends of its types too, with undefined behaviour trapped."""

import ctypes
import subprocess

import numpy as np
import pytest
from c_support import SANITIZE, STRICT
from hypothesis import given, reject
from hypothesis import strategies as st

from ds2ta_deploy.c_code.files import SOURCES
from ds2ta_deploy.graph import ops

SUFFIX = {np.dtype("uint8"): "u8", np.dtype("int8"): "i8", np.dtype("int16"): "i16", np.dtype("int32"): "i32"}

seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)
small = st.integers(1, 5)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    made = tmp_path_factory.mktemp("kernels") / "kernels.so"
    command = ["gcc", *STRICT, *SANITIZE, "-O1", "-fPIC", "-shared", SOURCES / "ds2ta_kernels.c", "-o", made]
    subprocess.run([*map(str, command)], check=True)
    return ctypes.CDLL(str(made))


@pytest.fixture(scope="module")
def run(library):
    """Return a function that calls a kernel: arrays as pointers, lists as structures of unsigned numbers, numbers as such."""

    def call(kernel, *arguments):
        kept, passed = [], []
        for argument in arguments:
            if isinstance(argument, np.ndarray):
                assert argument.flags.c_contiguous
                passed.append(ctypes.c_void_p(argument.ctypes.data))
            elif isinstance(argument, list):
                kept.append((ctypes.c_uint32 * len(argument))(*argument))
                passed.append(kept[-1])
            else:
                passed.append(ctypes.c_int32(argument) if argument < 0 else ctypes.c_uint32(argument))
        getattr(library, f"ds2ta_{kernel}")(*passed)

    return call


def op(kind, inputs=1, outputs=1, **fields):
    return kind("op", tuple(f"in{i}" for i in range(inputs)), tuple(f"out{i}" for i in range(outputs)), **fields)


def whole(random, dtype, shape, *, zeros=0.4):
    """Random integers of all of a type, its ends and many zeros among them."""
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    drawn = random.integers(low, high, shape, endpoint=True)
    corner = random.random(shape)
    return np.where(corner < zeros, 0, np.where(corner < zeros + 0.1, low, np.where(corner < zeros + 0.2, high, drawn))).astype(dtype)


def names(*arrays):
    return "_".join(SUFFIX[array.dtype] for array in arrays)


inputs_of = st.sampled_from([np.uint8, np.int16])
weights_of = st.sampled_from([np.int8, np.int16])


@given(random=seeds, count=small, channels=small)
def test_table(run, random, count, channels):
    pixels, table = whole(random, np.uint8, (1, 1, 1, count, channels)), whole(random, np.int16, (channels, 256))
    out = np.empty((count, channels), np.int16)
    run("table", pixels, count * channels, table, channels, out)
    assert np.array_equal(out, op(ops.InputTable, table=table, still=0).execute(pixels.astype(np.int64))[0][0, 0, 0])


@given(random=seeds, sizes=st.tuples(small, small), x=inputs_of, w=weights_of)
def test_linear(run, random, sizes, x, w):
    inputs, outputs = sizes
    token = whole(random, x, (1, 1, 1, inputs)) // np.asarray(8, x)  # five products of 16 bits each may leave 32 bits
    weight = whole(random, w, (outputs, inputs))
    out = np.full(outputs, -1, np.int32)
    run(f"linear_{names(token, weight)}", token, inputs, np.ascontiguousarray(weight.T), outputs, out)
    assert np.array_equal(out, op(ops.Linear, weight=weight).execute(token.astype(np.int64))[0][0, 0, 0])


@given(
    random=seeds,
    sizes=st.tuples(small, small, st.integers(1, 3), st.integers(1, 3)),
    size=st.sampled_from([1, 3, 5]),
    dilation=st.integers(1, 3),
    x=inputs_of,
    w=weights_of,
)
def test_conv2d(run, random, sizes, size, dilation, x, w):
    height, width, inputs, outputs = sizes
    picture = whole(random, x, (1, 1, height, width, inputs)) // np.asarray(128, x)
    weight = whole(random, w, (outputs, size, size, inputs))
    out = np.full((height, width, outputs), -1, np.int32)
    for row in range(height):
        shape = [height, width, inputs, outputs, size, dilation]
        run(f"conv2d_{names(picture, weight)}", picture, shape, np.ascontiguousarray(np.moveaxis(weight, 0, -1)), row, out[row])
    assert np.array_equal(out, op(ops.Conv2d, weight=weight, dilation=dilation).execute(picture.astype(np.int64))[0][0, 0])


@given(
    random=seeds, tokens=small, channels=small, taps=st.integers(1, 6), decay=st.integers(0, 8), guard=st.integers(0, 8), wide=st.booleans()
)
def test_window(run, random, tokens, channels, taps, decay, guard, wide):
    """Step by step, in place, the history in its own type; shifts beyond 31 bits too."""
    steps, history = 7, np.int32 if wide else np.int16
    product = random.integers(-(2**15), 2**15, (steps, 1, tokens, channels)).astype(np.int32)
    product[random.random(product.shape) < 0.2] = -(2**15)
    bias = whole(random, np.int16, channels).astype(np.int32)
    kept = np.zeros((max(taps - 1, 1), tokens, channels), history)
    out = product.copy()
    for t in range(steps):
        before = kept.copy()
        if taps == 1:
            run("bias", out[t], tokens * channels, bias, channels, guard, out[t])
        else:
            shape = [channels, taps, decay, guard, tokens * channels]
            run(f"window_{SUFFIX[kept.dtype]}", out[t], tokens * channels, shape, bias, kept, out[t])
            assert np.array_equal(kept, [*before[1:], product[t, 0]])
    window = op(ops.TemporalWindow, bias=bias, taps=taps, decay=decay, guard_bits=guard)
    assert np.array_equal(out, window.execute(product.astype(np.int64))[0])


@given(
    random=seeds,
    tokens=small,
    channels=small,
    leak=st.sampled_from([(1, 1), (0, 0), (1, 0), (3, 2), (7, 3), (1, 16), (5, 16)]),
    wide=st.booleans(),
)
def test_lif(run, random, tokens, channels, leak, wide):
    steps, carried = 6, np.zeros((tokens, channels), np.int32 if wide else np.int16)
    reach = 2**20 if wide else 2**9
    current = random.integers(-reach, reach, (steps, 1, tokens, channels)).astype(np.int32)
    threshold = random.integers(1, reach, channels).astype(np.int32)
    current[:, :, :, 0] = np.where(random.random((steps, 1, tokens)) < 0.3, threshold[0], current[:, :, :, 0])  # at the threshold
    membrane, spikes = current.copy(), np.full(current.shape, 9, np.uint8)
    for t in range(steps):
        shape, count = [channels, *leak], tokens * channels
        run(f"lif_{SUFFIX[carried.dtype]}", membrane[t], count, shape, threshold, carried, membrane[t], spikes[t])
    neuron = op(ops.Lif, outputs=2, threshold=threshold, leak_numerator=leak[0], leak_shift=leak[1])
    expected = neuron.execute(current.astype(np.int64))
    assert np.array_equal(spikes, expected[0])
    assert np.array_equal(membrane, expected[1])


@given(random=seeds, count=st.integers(1, 30), dtype=st.sampled_from([np.uint8, np.int32]))
def test_add(run, random, count, dtype):
    left, right = (whole(random, dtype, count) // np.asarray(2, dtype) for _ in range(2))
    expected = op(ops.Add, 2).execute(left.astype(np.int64), right.astype(np.int64))[0]
    run(f"add_{SUFFIX[left.dtype]}", left, right, count, left)
    assert np.array_equal(left, expected)


@given(
    random=seeds,
    sizes=st.tuples(small, small, small),
    left=st.tuples(*[st.booleans()] * 3),
    right=st.tuples(*[st.booleans()] * 3),
    spikes=st.booleans(),
)
def test_mul(run, random, sizes, left, right, spikes):
    """Either side may lack any axis, but not both the same."""
    shapes = [
        tuple(1 if lacks and not other else size for size, lacks, other in zip(sizes, side, beside, strict=True))
        for side, beside in ((left, (False,) * 3), (right, left))
    ]
    dtype, most = (np.uint8, 16) if spikes else (np.int32, 2**15)
    sides = [random.integers(0 if spikes else -most, most, shape).astype(dtype) for shape in shapes]
    steps = [[0 if size == 1 else side.strides[axis] // side.itemsize for axis, size in enumerate(side.shape)] for side in sides]
    out = np.empty(sizes, dtype)
    run(f"mul_{SUFFIX[out.dtype]}", *sides, [*sizes, *steps[0], *steps[1]], out)
    assert np.array_equal(out, op(ops.Mul, 2).execute(*(side[None, None].astype(np.int64) for side in sides))[0][0, 0])


@given(random=seeds, sizes=st.tuples(small, small, small), axis=st.integers(2, 4), dtype=st.sampled_from([np.uint8, np.int32]))
def test_sum(run, random, sizes, axis, dtype):
    x = whole(random, dtype, (1, 1, *sizes)) // np.asarray(8, dtype)
    outer, size, inner = int(np.prod(sizes[: axis - 2])), sizes[axis - 2], int(np.prod(sizes[axis - 1 :]))
    expected = op(ops.ReduceSum, axis=axis).execute(x.astype(np.int64))[0]
    out = np.empty(expected.shape, np.int32)
    run(f"sum_{SUFFIX[x.dtype]}", x, outer, size, inner, out)
    assert np.array_equal(out, expected)


@given(
    random=seeds,
    sizes=st.tuples(small, small, small),
    axis=st.integers(2, 3),
    stride=st.integers(1, 2),
    dtype=st.sampled_from([np.uint8, np.int32]),
)
def test_max_pool(run, random, sizes, axis, stride, dtype):
    x = whole(random, dtype, (1, 1, *sizes))
    expected = op(ops.MaxPool2d, stride=stride, axis=axis).execute(x.astype(np.int64))[0]
    out = np.empty(expected.shape, dtype)
    rows, columns = axis - 2, axis - 1
    axes = (rows, columns, 2 if axis == 2 else 0)
    steps = [[array.strides[2 + each] // array.itemsize for each in axes] for array in (x, out)]
    run(f"max_pool_{SUFFIX[x.dtype]}", x, [stride, *(sizes[each] for each in axes), *steps[0], *steps[1]], out)
    assert np.array_equal(out, expected)


@given(
    random=seeds,
    sizes=st.tuples(small, small, small, small),
    left=st.sampled_from([np.uint8, np.int16, np.int32]),
    right=st.sampled_from([np.uint8, np.int32]),
    transposed=st.sampled_from([(0, 0), (0, 1), (1, 0)]),
)
def test_matmul(run, random, sizes, left, right, transposed):
    """Heads lie behind their tokens, whichever side is transposed."""
    heads, rows, terms, columns = sizes
    shapes = [
        (heads, terms, rows) if transposed[0] else (heads, rows, terms),
        (heads, columns, terms) if transposed[1] else (heads, terms, columns),
    ]
    sides = []
    for dtype, shape in zip((left, right), shapes, strict=True):
        most = min(np.iinfo(dtype).max, 2**14)
        sides.append(random.integers(0 if dtype is np.uint8 else -most, most, shape, endpoint=True).astype(dtype))
        sides[-1][random.random(shape) < 0.4] = 0
    fields = {"transpose_left": transposed[0], "transpose_right": transposed[1]}
    expected = op(ops.MatMul, 2, **fields).execute(*(side[None, None].astype(np.int64) for side in sides))[0][0, 0]
    stored = [np.ascontiguousarray(side.swapaxes(0, 1)) for side in sides]
    steps = [[step // array.itemsize for step in array.swapaxes(0, 1).strides] for array in stored]
    row, term = (2, 1) if transposed[0] else (1, 2)
    middle, column = (2, 1) if transposed[1] else (1, 2)
    shape = [heads, terms, columns, steps[0][0], steps[0][term], steps[1][0], steps[1][middle], steps[1][column]]
    out = np.full((rows, heads, columns), -1, np.int32)
    for n in range(rows):
        run(f"matmul_{names(*stored)}", stored[0].reshape(-1)[n * steps[0][row] :], stored[1], shape, out[n])
    assert np.array_equal(out.swapaxes(0, 1), expected)


@given(random=seeds, heads=small, keys=small, entries=small)
def test_lookup(run, random, heads, keys, entries):
    table = whole(random, np.int16, (heads, entries))
    scores = random.integers(0, entries, (1, 1, heads, 1, keys)).astype(np.int32)
    out = np.empty((heads, keys), np.int16)
    run("lookup", scores, heads, keys, table, entries, out)
    assert np.array_equal(out, op(ops.Lookup, table=table).execute(scores.astype(np.int64))[0][0, 0, :, 0])


@given(random=seeds, count=st.integers(1, 9), steps=st.integers(1, 6))
def test_time_mix(run, random, count, steps):
    matrix = np.tril(whole(random, np.int16, (steps, steps))).astype(np.int16)
    x = random.integers(-(2**12), 2**12, (steps, 1, count, 1)).astype(np.int32)
    out, history = x.copy(), np.zeros((steps - 1, count), np.int32)
    for t in range(steps):
        run("time_mix", out[t], count, matrix, steps, t, history, count, out[t])
    assert np.array_equal(out, op(ops.TimeMix, matrix=matrix).execute(x.astype(np.int64))[0])


@given(random=seeds, count=st.integers(1, 9))
def test_threshold(run, random, count):
    x, limit = whole(random, np.int32, (1, 1, count, 1)), whole(random, np.int32, 1)
    x[0, 0, 0] = limit
    out = np.empty(x.shape, np.uint8)
    run("threshold", x, count, int(limit[0]), out)
    assert np.array_equal(out, op(ops.Threshold, threshold=limit).execute(x.astype(np.int64))[0])


@given(random=seeds, sizes=st.tuples(small, small, small), steps=st.integers(1, 4))
def test_readout(run, random, sizes, steps):
    tokens, inputs, classes = sizes
    x, weight = whole(random, np.uint8, (steps, 1, tokens, inputs)), whole(random, np.int8, (classes, inputs))
    total = np.zeros(classes, np.int32)
    for t in range(steps):
        run("readout", x[t], tokens, inputs, np.ascontiguousarray(weight.T), classes, total)
    expected = op(ops.Readout, weight=weight, bias=np.zeros(classes, np.int32)).execute(x.astype(np.int64))[0][0]
    assert np.array_equal(total, expected)


@given(bias=st.integers(-(2**31), 2**31 - 1), trained=st.one_of(st.integers(1, 20), st.integers(1, 2**15)), data=st.data())
def test_bias_over(library, bias, trained, data):
    """Whatever the steps, as long as the result fits; at the trained number the bias itself."""
    steps = data.draw(st.integers(0, 2**31 * trained // max(abs(bias), 1) + trained).map(lambda steps: min(steps, 2**32 - 1)))
    library.ds2ta_bias_over.restype = ctypes.c_int32
    readout = op(ops.Readout, weight=np.ones((1, 1), np.int8), bias=np.array([bias], np.int32))

    def found(steps):
        return library.ds2ta_bias_over(ctypes.c_int32(bias), ctypes.c_uint32(steps), ctypes.c_uint32(trained))

    assert found(trained) == bias
    try:
        expected = readout.bias_over(steps, trained)
    except OverflowError:
        reject()
    assert found(steps) == expected[0]
