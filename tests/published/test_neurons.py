"""Our neuron and SpikingJelly's, step by step in float32: the same spikes and the same membranes, bit for bit."""

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")
pytest.importorskip("spikingjelly.activation_based.neuron", reason="needs SpikingJelly: make test installs it")

from spikingjelly.activation_based.neuron import LIFNode

from ds2ta_deploy.models.neurons import Lif

STEPS = 8

#: Power-of-two time constants leak without a rounding of their own; 0.1 is no float32 number.
EXACT_LEAKS, OTHERS, THRESHOLDS = (2.0, 4.0, 8.0), (1.5, 3.0, 10.0), (0.5, 1.0, 0.1)


def currents(kind, threshold, gain):
    """Random currents, or multiples of a quarter of the threshold, which meet it all the time; all ``gain`` times as large."""
    generator = torch.Generator().manual_seed(STEPS)
    if kind == "random":
        return torch.randn(STEPS, 3, 500, generator=generator) * gain
    return torch.randint(-6, 9, (STEPS, 3, 500), generator=generator) * (torch.tensor(threshold) / 4 * gain)


def step_by_step(current, threshold, tau, *, decay_input):
    """SpikingJelly's spikes, and its membranes before the reset: those of a twin too high to fire, set back at each step."""
    node, twin = (LIFNode(tau=tau, decay_input=decay_input, v_threshold=each) for each in (threshold, 1e30))
    spikes, membranes = [], []
    for value in current:
        twin.v = node.v if isinstance(node.v, float) else node.v.clone()
        twin(value)
        membranes.append(twin.v.clone())
        spikes.append(node(value))
    return torch.stack(spikes), torch.stack(membranes)


@pytest.mark.parametrize("kind", ["random", "ties"])
@pytest.mark.parametrize("threshold", THRESHOLDS)
@pytest.mark.parametrize(
    ("tau", "decay_input"), [*((tau, True) for tau in EXACT_LEAKS + OTHERS), *((tau, False) for tau in EXACT_LEAKS)], ids=str
)
def test_every_step_is_spikingjellys(kind, threshold, tau, decay_input):
    current = currents(kind, threshold, tau if decay_input else 1.0)
    theirs_spikes, theirs_membranes = step_by_step(current, threshold, tau, decay_input=decay_input)
    spikes, membranes = Lif(threshold, tau, decay_input=decay_input)(current)
    assert spikes.dtype == theirs_spikes.dtype == torch.float32
    assert torch.equal(spikes, theirs_spikes)
    assert torch.equal(membranes, theirs_membranes)
    assert all(0.005 < step.mean() < 0.95 for step in spikes[2:])
    together = LIFNode(tau=tau, decay_input=decay_input, v_threshold=threshold, step_mode="m")
    assert torch.equal(together(current), spikes)
    if kind == "ties" and tau == 2.0:
        assert (membranes == threshold).sum() > 50


@pytest.mark.parametrize("tau", OTHERS)
def test_without_input_decay_another_leak_is_rounded_otherwise_than_in_spikingjelly_2(tau):
    """``V (1 - 1/tau)`` as Eq. 2 and SpikingJelly 0.0.0.0.12 have it; 2.0 computes ``V - V / tau``: the last bits differ."""
    current = currents("random", 1.0, 1.0)
    _, theirs = step_by_step(current, 1e30, tau, decay_input=False)
    _, ours = Lif(1e30, tau)(current)
    written_out = [current[0]]
    for value in current[1:]:
        written_out.append(written_out[-1] * (1 - 1 / tau) + value)
    assert torch.equal(ours, torch.stack(written_out))
    assert 0.05 < (ours != theirs).float().mean() < 0.95
