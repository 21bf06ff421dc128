from fractions import Fraction

import numpy as np
import pytest
from builders import by_loop, every_index, inside, number, types_of
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ds2ta_deploy.errors import UnsupportedError
from ds2ta_deploy.graph.intervals import Interval
from ds2ta_deploy.graph.ops import Lif, Repeat, TemporalWindow, ValueType

SIZE = st.integers(1, 3)
STEPS = st.integers(1, 6)


def int32(*values):
    return np.array(values, np.int32)


# --- Repeat ----------------------------------------------------------------------------------------------------------


@given(arrays(np.int64, (1, 2, 3, 2), elements=st.integers(-99, 99)), STEPS)
def test_repeat_by_the_definition(x, steps):
    (out,) = Repeat("r", ("x",), ("y",), steps).execute(x)
    assert np.array_equal(out, by_loop((steps, 2, 3, 2), lambda t, b, n, c: number(x, 0, b, n, c)))


def test_repeat_keeps_range_and_type():
    op, bounds = Repeat("r", ("x",), ("y",), 4), Interval.of(int32(-1, 0), int32(5, 6))
    (claimed,) = op.infer_ranges([bounds], [ValueType((1, None, 3, 2), "int32")])
    assert (claimed.low.tolist(), claimed.high.tolist()) == ([-1, 0], [5, 6])
    assert types_of(op, ValueType((1, None, 3, 2), "int32")) == (ValueType((4, None, 3, 2), "int32"),)


@pytest.mark.parametrize(("steps", "shape"), [(4, (2, None, 3, 2)), (4, (None, 3, 3, 2)), (0, (1, None, 3, 2)), (-1, (1, None, 3, 2))])
def test_repeat_of_what_does_not_fit(steps, shape):
    with pytest.raises(UnsupportedError, match=r"DS2TA-210 \[r\]"):
        types_of(Repeat("r", ("x",), ("y",), steps), ValueType(shape, "int32"))


# --- TemporalWindow --------------------------------------------------------------------------------------------------


def window(bias, taps, decay, guard):
    return TemporalWindow("w", ("x",), ("y",), np.asarray(bias, np.int32), taps, decay, guard)


def windowed(op, x, t, *rest):
    """One element of the window's output, in Python integers."""
    total = number(op.bias, rest[-1]) << op.guard_bits
    for lag in range(min(t, op.taps - 1) + 1):
        total += (number(x, t - lag, *rest) << op.guard_bits) >> (op.decay * lag)
    return total


@st.composite
def window_cases(draw):
    steps, batch, tokens, channels = draw(STEPS), draw(st.integers(1, 2)), draw(st.integers(1, 2)), draw(SIZE)
    bias = draw(arrays(np.int32, (channels,), elements=st.integers(-1000, 1000)))
    op = window(bias, draw(st.integers(1, 7)), draw(st.integers(0, 5)), draw(st.integers(0, 12)))
    return op, draw(arrays(np.int64, (steps, batch, tokens, channels), elements=st.integers(-5000, 5000)))


@given(window_cases())
@example((window([0], 3, 1, 0), np.array([-1, 0, 0, 0]).reshape(4, 1, 1, 1)))  # a shift toward zero would give 0 after the first step
@example((window([7], 2, 1, 3), np.array([1, 1, 1]).reshape(3, 1, 1, 1)))  # the bias once a step, in units of the guard bits
def test_window_by_the_definition(case):
    op, x = case
    before = x.copy()
    (current,) = op.execute(x)
    assert np.array_equal(current, by_loop(x.shape, lambda *index: windowed(op, x, *index)))
    assert np.array_equal(x, before)


def test_known_windows():
    x = np.array([5, -3, 0, 8]).reshape(4, 1, 1, 1)
    assert window([0], 3, 1, 0).execute(x)[0].flatten().tolist() == [5, -3 + 2, 0 - 2 + 1, 8 + 0 - 1]
    assert window([0], 3, 1, 2).execute(x)[0].flatten().tolist() == [20, -12 + 10, -6 + 5, 32 + 0 - 3]
    assert window([100], 1, 0, 1).execute(x)[0].flatten().tolist() == [210, 194, 200, 216]


def test_pictures_are_windowed_too():
    x = np.random.default_rng(0).integers(-50, 50, (4, 2, 3, 2, 2))
    op = window([3, -4], 3, 1, 1)
    assert np.array_equal(op.execute(x)[0], by_loop(x.shape, lambda *index: windowed(op, x, *index)))


@given(st.data())
def test_the_range_of_a_window_holds_for_every_partial_sum(data):
    channels, steps = data.draw(SIZE), data.draw(STEPS)
    bounds = data.draw(st.lists(st.tuples(st.integers(-90, 90), st.integers(-90, 90)).map(sorted), min_size=channels, max_size=channels))
    interval = Interval.of(np.array([low for low, _ in bounds]), np.array([high for _, high in bounds]))
    bias = [data.draw(st.integers(-50, 50)) for _ in range(channels)]
    op = window(bias, data.draw(st.integers(1, 4)), data.draw(st.integers(0, 3)), data.draw(st.integers(0, 6)))
    (claimed,) = op.infer_ranges([interval], [ValueType((steps, None, 1, channels), "int32")])
    x = inside(np.random.default_rng(data.draw(st.integers(0, 99))), interval, (steps, 3, 1, channels))
    assert claimed.contains(op.execute(x)[0])
    unbiased = window([0] * channels, op.taps, op.decay, op.guard_bits)
    assert claimed.contains(unbiased.execute(x)[0])  # before the bias is added
    assert claimed.contains(window(bias, 1, 0, op.guard_bits).execute(x)[0])  # with one tap added
    assert claimed.contains(np.array(bias) << op.guard_bits)


@given(st.integers(1, 4), st.integers(0, 3), st.integers(0, 6), STEPS, st.integers(0, 90), st.integers(0, 90), st.integers(-50, 50))
def test_the_range_of_a_window_is_reached(taps, decay, guard, steps, below, above, bias):
    op = window([bias], taps, decay, guard)
    (claimed,) = op.infer_ranges([Interval.of(-below, above)], [ValueType((steps, None, 1, 1), "int32")])
    if bias >= 0:
        assert op.execute(np.full((steps, 1, 1, 1), above))[0].max() == claimed.maximum
    if bias <= 0:
        assert op.execute(np.full((steps, 1, 1, 1), -below))[0].min() == claimed.minimum


def test_a_window_longer_than_the_network_runs_counts_only_its_steps():
    op = window([0], 9, 0, 0)
    (claimed,) = op.infer_ranges([Interval.of(0, 10)], [ValueType((2, None, 1, 1), "int32")])
    assert claimed.maximum == 20


def test_window_types():
    assert types_of(window([0, 0], 3, 1, 2), ValueType((4, None, 3, 2), "int32")) == (ValueType((4, None, 3, 2), "int32"),)


@pytest.mark.parametrize(
    ("op", "shape"),
    [
        (window([0, 0], 3, 1, 2), (4, None, 3, 3)),
        (window([0, 0], 0, 1, 2), (4, None, 3, 2)),
        (window([0, 0], 3, -1, 2), (4, None, 3, 2)),
        (window([0, 0], 3, 1, -2), (4, None, 3, 2)),
        (window([0, 0], 3, 1, 99), (4, None, 3, 2)),
        (window([0, 0], 3, 1, np.array(2)), (4, None, 3, 2)),
        (window([[0, 0]], 3, 1, 2), (4, None, 3, 2)),
        (window([0, 0], 3, 1, 2), (2,)),
    ],
)
def test_window_of_what_does_not_fit(op, shape):
    with pytest.raises(UnsupportedError, match=r"DS2TA-210 \[w\]"):
        types_of(op, ValueType(shape, "int32"))


# --- Lif -------------------------------------------------------------------------------------------------------------


def lif(threshold, numerator=1, shift=1):
    return Lif("n", ("x",), ("s", "v"), np.asarray(threshold, np.int32), numerator, shift)


LEAKS = st.sampled_from([(1, 1), (3, 2), (7, 3), (171, 8), (1, 2), (1, 0), (0, 0)])


def neuron(op, current, channel):
    """The neuron's recurrence in Python integers: (spikes, membranes)."""
    spikes, membranes, membrane, spike = [], [], 0, 0
    for value in current:
        membrane = ((membrane * (1 - spike) * op.leak_numerator) >> op.leak_shift) + int(value)
        spike = int(membrane >= number(op.threshold, channel))
        spikes.append(spike)
        membranes.append(membrane)
    return spikes, membranes


def assert_is_the_recurrence(op, x):
    spikes, membranes = op.execute(x)
    for index in every_index(x.shape[1:]):
        expected = neuron(op, x[(slice(None), *index)], index[-1])
        assert (spikes[(slice(None), *index)].tolist(), membranes[(slice(None), *index)].tolist()) == expected


@st.composite
def lif_cases(draw):
    steps, batch, tokens, channels = draw(STEPS), draw(st.integers(1, 2)), draw(st.integers(1, 2)), draw(SIZE)
    op = lif([draw(st.integers(1, 30)) for _ in range(channels)], *draw(LEAKS))
    return op, draw(arrays(np.int64, (steps, batch, tokens, channels), elements=st.integers(-40, 40)))


def column(*values):
    return np.array(values).reshape(-1, 1, 1, 1)


@given(lif_cases())
@example((lif([5]), column(5, 5)))  # fires at equality, then starts from zero
@example((lif([5]), column(4, 3)))  # what stays below is carried over
@example((lif([1]), column(-1, 1)))  # a shift toward zero would fire
@example((lif([5]), column(100, 0, 4)))  # a hard reset: nothing of the 100 is left
def test_lif_by_the_definition(case):
    op, x = case
    before = x.copy()
    assert_is_the_recurrence(op, x)
    assert np.array_equal(x, before)


def test_neurons_of_pictures_have_their_thresholds_by_channel():
    x = np.random.default_rng(0).integers(-20, 30, (5, 2, 3, 4, 3))
    op = lif([5, 12, 25])
    assert_is_the_recurrence(op, x)
    rates = op.execute(x)[0].mean(axis=(0, 1, 2, 3))
    assert rates[0] > rates[1] > rates[2] > 0.005


@given(st.lists(st.integers(-40, 40), min_size=1, max_size=10), st.integers(1, 30), st.sampled_from([(1, 1), (1, 2), (1, 0), (0, 0)]))
def test_an_exact_leak_loses_no_spike_against_real_numbers(current, threshold, leak):
    op = lif([threshold], *leak)
    assert op.exact
    spikes, carried, real = op.execute(column(*current))[0].flatten().tolist(), Fraction(0), []
    for value in current:
        membrane = carried + value
        real.append(int(membrane >= threshold))
        carried = Fraction(0) if real[-1] else membrane * leak[0] / 2 ** leak[1]
    assert spikes == real


@pytest.mark.parametrize("leak", [(3, 2), (7, 3), (171, 8)])
def test_other_leaks_are_marked_as_approximate(leak):
    assert not lif([5], *leak).exact


def test_a_floored_product_is_not_the_real_neuron():
    # V: 1, 3/4 + 2 = 2.75, 3 * 2.75 / 4 + 2 = 4.0625 fires at 4; floored: 1, 0 + 2 = 2, 1 + 2 = 3.
    assert lif([4], 3, 2).execute(column(1, 2, 2))[1].flatten().tolist() == [1, 2, 3]


@given(st.data())
def test_the_ranges_of_lif_hold(data):
    channels, steps = data.draw(SIZE), data.draw(STEPS)
    bounds = data.draw(st.lists(st.tuples(st.integers(-40, 40), st.integers(-40, 40)).map(sorted), min_size=channels, max_size=channels))
    interval = Interval.of(np.array([low for low, _ in bounds]), np.array([high for _, high in bounds]))
    op = lif([data.draw(st.integers(1, 30)) for _ in range(channels)], *data.draw(LEAKS))
    claimed_spikes, claimed_membrane = op.infer_ranges([interval], [ValueType((steps, None, 1, channels), "int32")])
    x = inside(np.random.default_rng(data.draw(st.integers(0, 99))), interval, (steps, 4, 1, channels))
    spikes, membrane = op.execute(x)
    assert claimed_spikes.contains(spikes)
    assert claimed_membrane.contains(membrane)
    kept = np.where(spikes == 1, 0, membrane) * op.leak_numerator  # the product before its shift
    assert claimed_membrane.with_zero().contains(kept)


def extremes(op, low, high, steps):
    """Try every current of every step; returns the smallest and largest membrane, and whether the neuron ever fires."""
    threshold, carried, seen = int(op.threshold[0]), {0}, set()
    for _ in range(steps):
        membranes = {before + value for before in carried for value in range(low, high + 1)}
        seen |= membranes
        carried = {0 if membrane >= threshold else (membrane * op.leak_numerator) >> op.leak_shift for membrane in membranes}
    return min(seen), max(seen), max(seen) >= threshold


@given(st.integers(-12, 0), st.integers(0, 12), st.integers(1, 15), st.integers(1, 4), st.sampled_from([(1, 1), (1, 2), (1, 0)]))
@example(0, 12, 13, 2, (1, 1))  # carried over at most threshold - 1
def test_the_ranges_of_lif_are_reached(low, high, threshold, steps, leak):
    op = lif([threshold], *leak)
    claimed_spikes, claimed = op.infer_ranges([Interval.of(low, high)], [ValueType((steps, None, 1, 1), "int32")])
    smallest, largest, fires = extremes(op, low, high, steps)
    assert claimed.minimum == smallest
    assert claimed.maximum == largest
    assert (claimed_spikes.minimum, claimed_spikes.maximum) == (0, int(fires))


def test_the_membrane_range_includes_the_product_before_its_shift():
    kind = ValueType((4, None, 1, 1), "int32")
    narrow, wide = (lif([100], *leak).infer_ranges([Interval.of(-50, 60)], [kind])[1] for leak in ((1, 1), (171, 8)))
    assert narrow.minimum == -50 - 25 - 13 - 6  # -50, floor(-25) - 50, floor(-37.5) - 50, floor(-44) - 50
    assert wide.maximum == 99 * 171
    assert wide.minimum < -50 * 171


def test_lif_types():
    made = types_of(lif([1, 2]), ValueType((4, None, 3, 2), "int32"))
    assert made == (ValueType((4, None, 3, 2), "uint8"), ValueType((4, None, 3, 2), "int32"))


@pytest.mark.parametrize(
    ("op", "shape"),
    [
        (lif([1, 2]), (4, None, 3, 3)),
        (lif([1, 0]), (4, None, 3, 2)),
        (lif([1, -5]), (4, None, 3, 2)),
        (lif([1, 2], 3, 1), (4, None, 3, 2)),
        (lif([1, 2], -1, 1), (4, None, 3, 2)),
        (lif([1, 2], 0, -1), (4, None, 3, 2)),
        (lif([[1, 2]]), (4, None, 3, 2)),
        (lif([1, 2]), (2,)),
        (Lif("n", ("x",), ("s",), int32(1, 2), 1, 1), (4, None, 3, 2)),
        (Lif("n", ("x",), ("s", "v"), 5, 1, 1), (4, None, 3, 2)),
    ],
)
def test_lif_of_what_does_not_fit(op, shape):
    with pytest.raises(UnsupportedError, match=r"DS2TA-210 \[n\]"):
        types_of(op, ValueType(shape, "int32"))
