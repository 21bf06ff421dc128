import math
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from builders import every_index
from torch import nn

from ds2ta_deploy.models.layers import SpikingConv2d, SpikingLinear
from ds2ta_deploy.models.neurons import IntegerLif, Lif
from ds2ta_deploy.models.probe import Watch
from ds2ta_deploy.models.windows import IntegerWindow, TemporalWindow

PRODUCTS = st.lists(st.integers(-500, 500), min_size=1, max_size=7)


def integers(shape, largest, seed=0, low=None):
    """Return random integers as float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-largest if low is None else low, largest + 1, shape, generator=generator).double()


def watched(layer, inputs):
    """Return the layer's result and every value that its probes saw, channels last."""
    seen = {}
    with torch.no_grad(), Watch(layer, seen.__setitem__):
        result = layer(inputs)
    return result, seen


# --- the window ------------------------------------------------------------------------------------------------------


def eq_1(weights, spikes, taps, decay):
    """Eq. 1 with 4 and 5, the double sum over inputs and lags, in exact rational numbers: one neuron's current."""
    current = []
    for t in range(len(spikes)):
        total = Fraction(0)
        for lag in range(taps):
            if t - lag < 0:
                continue
            for k, weight in enumerate(weights):
                total += Fraction(weight, 2 ** (decay * lag)) * spikes[t - lag][k]
        current.append(total)
    return current


@given(
    st.integers(1, 5).flatmap(
        lambda k: st.tuples(st.just(k), st.lists(st.lists(st.integers(0, 3), min_size=k, max_size=k), min_size=1, max_size=6))
    ),
    st.integers(1, 8),
    st.integers(0, 8),
    st.randoms(use_true_random=False),
)
def test_the_window_is_the_double_sum_of_eq_1(inputs, taps, decay, random):
    width, spikes = inputs
    weights = [random.randint(-127, 127) for _ in range(width)]
    product = torch.tensor([[[sum(w * s for w, s in zip(weights, step, strict=True))]] for step in spikes], dtype=torch.float64)
    with torch.no_grad():
        currents = TemporalWindow(taps, decay).double()(product)
    # Multiples of 2^-40 (lag 5, decay 8) below 2^11 in magnitude: 52 bits, exact in float64.
    expected = [float(value) for value in eq_1(weights, spikes, taps, decay)]
    assert currents.flatten().tolist() == expected


@given(PRODUCTS, st.integers(1, 6), st.integers(0, 5), st.integers(0, 10))
@example([-1, 0, 0], 3, 1, 0)  # floor keeps -1 alive, a shift toward zero would not
@example([1, 0, 0], 3, 1, 0)
@example([3, 3, 3, 3], 3, 0, 0)  # exactly three taps
def test_the_integer_window_is_a_sum_of_flooring_shifts(products, taps, decay, guard):
    expected = [sum((products[t - lag] << guard) >> (decay * lag) for lag in range(min(t + 1, taps))) for t in range(len(products))]
    currents = IntegerWindow(taps, decay, guard)(torch.tensor(products, dtype=torch.float64).view(-1, 1, 1))
    assert currents.flatten().tolist() == expected


@given(PRODUCTS, st.integers(1, 4), st.integers(0, 4))
def test_with_enough_guard_bits_no_bit_is_lost(products, taps, decay):
    guard = decay * (taps - 1)
    value = torch.tensor(products, dtype=torch.float64).view(-1, 1, 1)
    with torch.no_grad():
        real = TemporalWindow(taps, decay).double()(value)
    assert torch.equal(IntegerWindow(taps, decay, guard)(value), real * 2**guard)


def test_one_guard_bit_less_loses_bits():
    value = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64).view(-1, 1, 1)
    assert IntegerWindow(3, 2, 4)(value).flatten().tolist() == [16, 4, 1]
    assert IntegerWindow(3, 2, 3)(value).flatten().tolist() == [8, 2, 0]


@pytest.mark.parametrize("make", [lambda: TemporalWindow(3, 1).double(), lambda: IntegerWindow(3, 1, 2)])
def test_time_is_the_first_axis_and_the_inputs_are_left_alone(make):
    products = integers((5, 2, 3, 4), 50)
    before = products.clone()
    with torch.no_grad():
        currents = make()(products)
        assert torch.equal(products, before)
        for index in every_index((2, 3, 4)):
            alone = make()(products[(slice(None), *index)].reshape(5, 1))
            assert torch.equal(currents[(slice(None), *index)], alone.flatten())


@pytest.mark.parametrize(("parameter", "integer"), [(0.4, 0), (1.5, 2), (2.5, 2), (2.51, 3), (8.0, 8), (9.7, 8), (-3.0, 0), (3.49, 3)])
def test_the_learned_decay_is_rounded_and_kept_in_its_range(parameter, integer):
    window = TemporalWindow(3, 4).double()
    window.decay.data.fill_(parameter)
    assert window.integer_decay == integer
    with torch.no_grad():
        currents = window(torch.tensor([1.0, 0, 0, 0], dtype=torch.float64).view(4, 1, 1))
    assert currents.flatten().tolist() == [1.0, 2.0**-integer, 4.0**-integer, 0.0]


def test_the_decay_learns_through_the_rounding():
    products, weight = integers((6, 2, 3), 20), integers((6, 2, 3), 5, seed=1)
    window = TemporalWindow(3, 4).double()
    window.decay.data.fill_(2.3)  # the forward pass uses 2
    (window(products) * weight).sum().backward()
    expected = sum(-lag * math.log(2) * 2.0 ** (-2 * lag) * float((products[:-lag] * weight[lag:]).sum()) for lag in (1, 2))
    assert expected != 0
    # One sum of a few hundred products in float64, in two orders.
    torch.testing.assert_close(window.decay.grad, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=0)


def test_a_window_of_one_tap_sees_the_present_only():
    products = integers((4, 2, 3), 20)
    with torch.no_grad():
        assert torch.equal(TemporalWindow(1, 0).double()(products), products)
    assert torch.equal(IntegerWindow(1, 0, 0)(products), products)


def test_units_of_the_bias():
    assert TemporalWindow(3, 4).unit == 1
    assert IntegerWindow(3, 4, 0).unit == 1
    assert IntegerWindow(3, 4, 5).unit == 32


# --- linear populations ----------------------------------------------------------------------------------------------


def integer_linear(window, *, bias=True, seed=0):
    """Return a linear population on the integer grid, 5 inputs and 4 neurons."""
    layer = SpikingLinear(5, 4, Lif(), bias=bias, window=None).double()
    layer.weight = nn.Parameter(integers((4, 5), 40, seed))
    if bias:
        layer.bias = nn.Parameter(integers((4,), 30, seed + 1))
    layer.norm = nn.Identity()
    layer.window = window
    layer.neuron = IntegerLif(torch.tensor([40, 50, 60, 70]) * (1 if window is None else window.unit))
    return layer


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("window", [None, (3, 1, 0), (3, 1, 2), (2, 3, 1), (1, 0, 0), (9, 1, 1)])
def test_a_population_by_the_definition(window, bias):
    steps, batch, tokens = 5, 2, 3
    inputs = integers((steps, batch, tokens, 5), 3, seed=5, low=0)
    layer = integer_linear(None if window is None else IntegerWindow(*window), bias=bias)
    taps, decay, guard = window or (1, 0, 0)
    result, seen = watched(layer, inputs)
    assert torch.equal(result, seen["spikes"])
    assert 0.05 < float(seen["spikes"].mean()) < 0.95
    for b, n, c in every_index((batch, tokens, 4)):
        product = [sum(int(layer.weight[c, k]) * int(inputs[t, b, n, k]) for k in range(5)) for t in range(steps)]
        offset = (int(layer.bias[c]) if bias else 0) << guard  # once a step, not once a tap
        current = [sum((product[t - lag] << guard) >> (decay * lag) for lag in range(min(t + 1, taps))) + offset for t in range(steps)]
        membranes, spikes, carried = [], [], 0
        for value in current:
            membranes.append(carried + value)
            spikes.append(int(membranes[-1] >= int(layer.neuron.threshold[c])))
            carried = 0 if spikes[-1] else membranes[-1] >> 1
        for name, expected in (("product", product), ("current", current), ("membrane", membranes), ("spikes", spikes)):
            assert seen[name][:, b, n, c].tolist() == expected, name


def test_batch_norm_lies_between_bias_and_neuron():
    layer = SpikingLinear(5, 4, Lif(0.5), window=TemporalWindow(3, 1)).double()
    layer.weight.data = integers((4, 5), 8) / 8
    layer.bias.data = integers((4,), 8, seed=1) / 8
    inputs = integers((4, 6, 3, 5), 2, seed=2, low=0)
    layer.train()
    layer.norm.momentum = 1.0  # running statistics are those of this batch
    _, seen = watched(layer, inputs)
    with torch.no_grad():
        current = layer.window(inputs @ layer.weight.T) + layer.bias
    mean, variance = current.mean((0, 1, 2)), current.var((0, 1, 2), unbiased=False)
    expected = (current - mean) / torch.sqrt(variance + layer.norm.eps)
    torch.testing.assert_close(seen["current"], expected, rtol=1e-10, atol=1e-10)  # float64, sums in another order
    torch.testing.assert_close(layer.norm.running_mean, mean, rtol=1e-10, atol=1e-10)


def test_every_parameter_of_a_population_learns():
    layer = SpikingLinear(5, 4, Lif(0.5), window=TemporalWindow(3, 2)).double()
    inputs = integers((4, 6, 3, 5), 2, seed=2, low=0)
    (layer(inputs) * integers((4, 6, 3, 4), 3, seed=3)).sum().backward()
    for name, parameter in layer.named_parameters():
        if name != "bias":  # batch norm takes the mean away, and a constant with it
            assert parameter.grad.abs().max() > 1e-6, name


# --- convolutional populations ---------------------------------------------------------------------------------------


def integer_conv(steps, *, pool=False, bias=True):
    """Return a convolutional population on the integer grid, 2 inputs and 3 neurons a pixel."""
    layer = SpikingConv2d(2, 3, Lif(), time_steps=steps, pool=pool).double()
    layer.weight = nn.Parameter(integers((3, 2, 3, 3), 20))
    if bias:
        layer.bias = nn.Parameter(integers((3,), 10, seed=1))
    layer.norm = nn.Identity()
    layer.neuron = IntegerLif(torch.tensor([20, 30, 40])[:, None, None])
    return layer


def padded(value, *index):
    """Return one element of ``[..., H, W]``, zero outside the picture."""
    *_, y, x = index
    height, width = value.shape[-2:]
    return int(value[index]) if 0 <= y < height and 0 <= x < width else 0


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", [(4, 5), (1, 3), (2, 1)])
def test_a_convolution_by_the_definition(size, bias):
    inputs = integers((3, 2, 2, *size), 9, seed=4)
    layer = integer_conv(3, bias=bias)
    result, seen = watched(layer, inputs)
    assert torch.equal(result, seen["spikes"].movedim(-1, -3))
    for t, b, c, y, x in every_index((3, 2, 3, *size)):
        product = sum(
            int(layer.weight[c, k, i, j]) * padded(inputs, t, b, k, y + i - 1, x + j - 1)
            for k in range(2)
            for i in range(3)
            for j in range(3)
        )
        assert int(seen["product"][t, b, y, x, c]) == product
        assert int(seen["current"][t, b, y, x, c]) == product + (int(layer.bias[c]) if bias else 0)


def test_a_still_picture_is_computed_once_and_shown_at_every_step():
    still = integers((1, 2, 2, 4, 5), 9, seed=4)
    layer = integer_conv(4)
    spikes, seen = watched(layer, still)
    moving, moving_seen = watched(layer, still.expand(4, -1, -1, -1, -1))
    assert spikes.shape == (4, 2, 3, 4, 5)
    assert seen["product"].shape == seen["current"].shape == (1, 2, 4, 5, 3)
    assert seen["membrane"].shape == (4, 2, 4, 5, 3)
    assert torch.equal(spikes, moving)
    assert torch.equal(seen["membrane"], moving_seen["membrane"])
    assert 0.05 < float(spikes.mean()) < 0.95
    assert not torch.equal(spikes[0], spikes[1])  # the membrane goes on


@pytest.mark.parametrize("size", [(4, 5), (5, 4), (1, 1), (2, 3)])
def test_pooling_is_or_over_three_by_three_with_stride_two(size):
    height, width = size
    inputs = integers((3, 2, 2, *size), 9, seed=4)
    layer = integer_conv(3, pool=True)
    result, seen = watched(layer, inputs)
    pooled = ((height + 1) // 2, (width + 1) // 2)
    assert result.shape == (3, 2, 3, *pooled)
    assert torch.equal(result, seen["pooled"].movedim(-1, -3))
    spikes = seen["spikes"].movedim(-1, -3)
    for t, b, c, y, x in every_index((3, 2, 3, *pooled)):
        any_spike = any(padded(spikes, t, b, c, 2 * y + i - 1, 2 * x + j - 1) for i in range(3) for j in range(3))
        assert bool(result[t, b, c, y, x]) == any_spike


def test_without_pooling_there_is_no_pooled_value():
    _, seen = watched(integer_conv(1), integers((1, 1, 2, 4, 4), 9))
    assert set(seen) == {"product", "current", "membrane", "spikes"}
