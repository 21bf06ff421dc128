from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from ds2ta_deploy.models.neurons import IntegerLif, Lif, surrogate_derivative

EIGHTHS = st.lists(st.integers(-24, 24), min_size=1, max_size=7)


def real_neuron(current, threshold, leak):
    """Eq. 2-3 of one neuron in exact rational numbers; returns (spikes, membranes before reset)."""
    spikes, membranes, membrane, spike = [], [], Fraction(0), 0
    for value in current:
        membrane = leak * membrane * (1 - spike) + value
        spike = int(membrane >= threshold)
        spikes.append(spike)
        membranes.append(membrane)
    return spikes, membranes


def integer_neuron(current, threshold, numerator, shift):
    """The neuron of docs/numerics.md in Python integers."""
    spikes, membranes, membrane, spike = [], [], 0, 0
    for value in current:
        membrane = ((membrane * (1 - spike) * numerator) >> shift) + value
        spike = int(membrane >= threshold)
        spikes.append(spike)
        membranes.append(membrane)
    return spikes, membranes


def column(values, dtype=torch.float64):
    """Return the values of one neuron as a current ``[T, 1, 1]``."""
    return torch.tensor([[[float(value)]] for value in values], dtype=dtype)


def as_lists(spikes, membranes):
    return [int(s) for s in spikes.flatten()], [Fraction(float(v)) for v in membranes.flatten()]


# --- the real-valued neuron ------------------------------------------------------------------------------------------


@given(EIGHTHS, st.sampled_from([4, 8, 9, 16]), st.sampled_from([2, 4]))
@example([8, 0, 0], 8, 2)  # fires at equality
@example([7, 9], 8, 2)  # what did not fire is carried over
@example([16, 7], 8, 2)  # the reset is to zero, nothing is left over
def test_every_step_is_eq_2_and_3_exactly(eighths, threshold, tau):
    # All numbers are multiples of 2^-22 below 2^6: float64 holds them exactly, so == is the right comparison.
    current = [Fraction(value, 8) for value in eighths]
    spikes, membranes = Lif(threshold / 8, tau)(column(current))
    assert as_lists(spikes, membranes) == real_neuron(current, Fraction(threshold, 8), 1 - Fraction(1, tau))


@given(EIGHTHS, st.sampled_from([4, 8, 9]), st.sampled_from([2, 4]))
@example([16, 0], 8, 2)  # half of the current meets the threshold exactly
def test_input_decay_is_the_same_neuron_with_a_larger_threshold(eighths, threshold, tau):
    current = [Fraction(value, 8) for value in eighths]
    spikes, membranes = Lif(threshold / 8, tau, decay_input=True)(column(current))
    doubled_spikes, doubled_membranes = Lif(tau * threshold / 8, tau)(column(current))
    assert torch.equal(spikes, doubled_spikes)
    assert torch.equal(membranes * tau, doubled_membranes)
    assert as_lists(spikes, membranes) == real_neuron([value / tau for value in current], Fraction(threshold, 8), 1 - Fraction(1, tau))


def test_neurons_do_not_mix_and_keep_their_shape():
    generator = torch.Generator().manual_seed(0)
    current = torch.randint(-16, 24, (5, 2, 3, 4), generator=generator).double() / 8
    spikes, membranes = Lif(1.0)(current)
    assert spikes.shape == membranes.shape == current.shape
    assert 0.05 < spikes.mean() < 0.95
    for index in torch.cartesian_prod(torch.arange(2), torch.arange(3), torch.arange(4)).tolist():
        one = [Fraction(float(current[(t, *index)])) for t in range(5)]
        expected = real_neuron(one, 1, Fraction(1, 2))
        assert as_lists(spikes[(slice(None), *index)], membranes[(slice(None), *index)]) == expected


def test_the_settings_are_shown():
    assert "threshold=0.5" in repr(Lif(0.5, 4.0, decay_input=True))
    assert "tau_m=4.0" in repr(Lif(0.5, 4.0, decay_input=True))
    assert "decay_input=True" in repr(Lif(0.5, 4.0, decay_input=True))


# --- its gradient ----------------------------------------------------------------------------------------------------


def straightforward(current, threshold, tau, decay_input):
    """The same neuron as a loop that autograd differentiates: surrogate for the step, detached reset."""
    leak = 1 - 1 / tau
    membrane, spikes = torch.zeros_like(current[0]), []
    for value in current / tau if decay_input else current:
        membrane = membrane + value
        smooth = torch.sigmoid(4 * (membrane - threshold))
        spike = (membrane >= threshold).to(current.dtype).detach() + smooth - smooth.detach()
        spikes.append(spike)
        membrane = membrane * (1 - spike.detach()) * leak
    return torch.stack(spikes)


@pytest.mark.parametrize("decay_input", [False, True])
@pytest.mark.parametrize(("threshold", "tau"), [(1.0, 2.0), (0.5, 4.0), (1.5, 3.0)])
@pytest.mark.parametrize("steps", [1, 2, 6])
def test_the_gradient_is_that_of_the_straightforward_loop(steps, threshold, tau, decay_input):
    generator = torch.Generator().manual_seed(steps)
    current = 2 * torch.randn(steps, 3, 4, 5, generator=generator, dtype=torch.float64) + 0.5
    current = (current * (tau if decay_input else 1.0)).requires_grad_()
    weight = torch.randn(steps, 3, 4, 5, generator=generator, dtype=torch.float64)
    spikes, _ = Lif(threshold, tau, decay_input=decay_input)(current)
    assert 0.05 < spikes.mean() < 0.95
    (gradient,) = torch.autograd.grad((spikes * weight).sum(), current)
    (expected,) = torch.autograd.grad((straightforward(current, threshold, tau, decay_input) * weight).sum(), current)
    # The same real numbers in another order of operations: a few units in the last place of float64.
    torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-14)
    assert gradient.abs().min() > 0


def test_a_gradient_that_is_a_mere_view_is_taken():
    current = torch.linspace(-1, 2, 24, dtype=torch.float64).view(4, 2, 3).requires_grad_()
    (gradient,) = torch.autograd.grad(Lif()(current)[0].sum(), current)  # sum() hands back an expanded one
    (expected,) = torch.autograd.grad(straightforward(current, 1.0, 2.0, False).sum(), current)
    torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-14)


def test_a_current_that_is_a_mere_view_is_taken():
    still = torch.linspace(-1, 2, 6, dtype=torch.float64).view(1, 2, 3).requires_grad_()
    (gradient,) = torch.autograd.grad(Lif()(still.expand(4, 2, 3))[0].sum(), still)
    (expected,) = torch.autograd.grad(straightforward(still.expand(4, 2, 3), 1.0, 2.0, False).sum(), still)
    torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-14)


def test_only_spikes_carry_a_gradient():
    spikes, membranes = Lif()(torch.ones(2, 1, 3, requires_grad=True))
    assert spikes.requires_grad
    assert not membranes.requires_grad


def test_the_surrogate_is_the_derivative_of_a_sigmoid_of_steepness_four():
    distance = torch.linspace(-2, 2, 41, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(torch.sigmoid(4 * distance).sum(), distance)
    torch.testing.assert_close(surrogate_derivative(distance.detach()), expected, rtol=1e-12, atol=0)
    assert float(surrogate_derivative(torch.zeros((), dtype=torch.float64))) == 1.0


# --- the neuron on the integer grid ----------------------------------------------------------------------------------

CURRENTS = st.lists(st.integers(-60, 60), min_size=1, max_size=10)


@given(CURRENTS, st.integers(1, 40), st.sampled_from([(1, 1), (3, 2), (7, 3), (171, 8), (1, 0), (0, 0)]))
@example([-1, 1], 1, (1, 1))  # a shift toward zero would fire at the second step
@example([5, 5], 5, (1, 1))  # fires at equality, and starts again from zero
@example([4, 3], 5, (1, 1))
def test_every_step_is_the_integer_recurrence(current, threshold, leak):
    spikes, membranes = IntegerLif(torch.tensor([threshold]), *leak)(column(current))
    assert as_lists(spikes, membranes) == integer_neuron(current, threshold, *leak)


@given(CURRENTS, st.integers(1, 40))
@example([-1, 1], 1)
@example([-3, -3, 2], 1)
def test_with_tau_2_the_floor_loses_no_spike_against_real_numbers(current, threshold):
    spikes, membranes = IntegerLif(torch.tensor([threshold]))(column(current))
    real_spikes, real_membranes = real_neuron(current, threshold, Fraction(1, 2))
    assert [int(s) for s in spikes.flatten()] == real_spikes
    assert [int(v) for v in membranes.flatten()] == [value.__floor__() for value in real_membranes]


def test_a_shift_toward_zero_would_be_another_neuron():
    current, threshold = [-1, 1], 1
    truncated = int(-1 / 2) + 1
    assert truncated >= threshold
    spikes, _ = IntegerLif(torch.tensor([threshold]))(column(current))
    assert spikes.flatten().tolist() == [0, 0] == real_neuron(current, threshold, Fraction(1, 2))[0]


@pytest.mark.parametrize("channel_axis", [-1, -3])
def test_every_channel_has_its_own_threshold(channel_axis):
    generator = torch.Generator().manual_seed(0)
    current = torch.randint(-20, 30, (4, 2, 3, 5, 6), generator=generator).double()
    channels = current.shape[channel_axis]
    thresholds = torch.arange(1, channels + 1) * 4
    shape = (channels,) if channel_axis == -1 else (channels, 1, 1)
    spikes, membranes = IntegerLif(thresholds.view(shape), 3, 2)(current)
    assert 0.05 < spikes.mean() < 0.95
    moved, moved_spikes, moved_membranes = (value.movedim(channel_axis, -1).flatten(1, -2) for value in (current, spikes, membranes))
    for neuron in range(moved.shape[1]):
        for channel in range(channels):
            column_of = [int(value) for value in moved[:, neuron, channel]]
            found = as_lists(moved_spikes[:, neuron, channel], moved_membranes[:, neuron, channel])
            assert found == integer_neuron(column_of, int(thresholds[channel]), 3, 2)


def test_thresholds_are_kept_in_double_precision_and_saved():
    neuron = IntegerLif(torch.tensor([2**24 + 1]))
    assert neuron.threshold.dtype == torch.float64
    assert int(neuron.state_dict()["threshold"]) == 2**24 + 1


# --- the gradient on the grid ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("decay_input", [False, True])
@pytest.mark.parametrize("theta", [0.5, 1.0])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_on_the_grid_the_gradient_is_the_trained_neurons_in_other_units(steps, theta, decay_input):
    generator = torch.Generator().manual_seed(steps)
    threshold = torch.tensor([32, 64, 128], dtype=torch.float64)
    # Multiples of 2^T lose nothing to the floor of the leak.
    current = 32.0 * torch.randint(-3, 5, (steps, 4, 6, 3), generator=generator)
    weighed = torch.randn(current.shape, generator=generator, dtype=torch.float64)
    neuron = Lif(theta, decay_input=decay_input)
    integer = current.double().requires_grad_()
    real = (current * neuron.effective_threshold / threshold).requires_grad_()
    spikes, expected = IntegerLif(threshold, theta=theta)(integer)[0], neuron(real)[0]
    assert torch.equal(spikes, expected)
    assert 0.05 < spikes.mean() < 0.95
    (spikes * weighed).sum().backward()
    (expected * weighed).sum().backward()
    assert torch.allclose(integer.grad, real.grad * neuron.effective_threshold / threshold, rtol=1e-12, atol=1e-15)
