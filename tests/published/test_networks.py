"""The published networks and ours, with the same weights: the same spikes in every population, attention included."""

import copy

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")
pytest.importorskip("spikingjelly.activation_based.neuron", reason="needs SpikingJelly: make test installs it")

from builders import BUSIEST, QUIETEST, pixels_for
from published.cases import CASES, our_network
from published.compare import differences, exactly_representable, folded, nearest_to_threshold, our_values, published_spikes
from published.names import DEAD, put_weights


def both(case, model, pixels):
    """Return the published network's spikes and ours."""
    network = case.published(case.config).to(model.head.weight.dtype).eval()
    put_weights(network, model.state_dict(), membranes=case.membranes)
    norms = torch.nn.BatchNorm1d | torch.nn.BatchNorm2d
    (epsilon,) = {layer.eps for layer in model.modules() if isinstance(layer, norms)}
    for layer in network.modules():
        if isinstance(layer, norms):
            layer.eps = epsilon
    return published_spikes(network, model, pixels, membranes=case.membranes), our_values(model, pixels)


def assert_spikes(values):
    """Assert that every population fires, and none always."""
    rates = {name: value.mean().item() for name, value in values.items() if name.endswith(".spikes")}
    assert any(name.endswith(("attn.spikes", "gate.spikes")) for name in rates)
    assert {name: rate for name, rate in rates.items() if not QUIETEST < rate < BUSIEST} == {}


def apart(case, count):
    """Yield networks and pixels such that no membrane comes within 2^-18 of its threshold: no rounding of float32 decides."""
    for seed in range(100):
        model, pixels = our_network(case.config, seed), pixels_for(case.config, 2, seed + 50)
        if nearest_to_threshold(model, pixels) > 2**-18:
            yield model, pixels
            count -= 1
        if not count:
            return
    pytest.fail("no seed gives such a network")


@pytest.mark.parametrize("name", CASES)
def test_float32_spikes_are_the_published_networks(name):
    case = CASES[name]
    for model, pixels in apart(case, 2):
        published, ours = both(case, model, pixels)
        assert_spikes(ours)
        assert differences(published, ours, tokens_first=case.tokens_first) == {}
        norms_folded = our_values(folded(model), pixels)
        assert [key for key, value in ours.items() if key != "head.logits" and not torch.equal(norms_folded[key], value)] == []


@pytest.mark.parametrize("name", CASES)
def test_float64_spikes_are_the_published_networks_wherever_membranes_come(name):
    case = CASES[name]
    model, pixels = our_network(case.config, 7).double(), pixels_for(case.config, 3, 57)
    published, ours = both(case, model, pixels)
    assert_spikes(ours)
    assert differences(published, ours, tokens_first=case.tokens_first) == {}
    norms_folded = our_values(folded(model), pixels)
    assert [key for key, value in ours.items() if key != "head.logits" and not torch.equal(norms_folded[key], value)] == []


@pytest.mark.parametrize("name", CASES)
def test_where_float32_rounds_nothing_all_are_the_same_numbers(name):
    """Spikes and membranes, thresholds met exactly among them: on any machine, in any order of summation."""
    case = CASES[name]
    model, pixels = exactly_representable(our_network(case.config, 3)), pixels_for(case.config, 3, 53)
    published, ours = both(case, model, pixels)
    assert_spikes(ours)
    assert differences(published, ours, tokens_first=case.tokens_first) == {}

    def inner(name):
        return name.endswith((".spikes", "membrane"))

    single = our_values(model, pixels, inner)
    assert len(single) > 2 * len(ours) - 2
    ties = sum(int((value == 1.0).sum()) for key, value in single.items() if key.endswith("membrane"))
    assert ties > 50
    for other in (copy.deepcopy(model).double(), folded(model)):
        values = our_values(other, pixels, inner)
        assert [key for key in single if key != "head.logits" and not torch.equal(values[key].double(), single[key].double())] == []


@pytest.mark.parametrize("name", CASES)
def test_what_is_called_dead_changes_nothing(name):
    case = CASES[name]
    model, pixels = our_network(case.config, 0), pixels_for(case.config, 1, 9)
    one, other = both(case, model, pixels)[0], both(case, model, pixels)[0]
    assert all(torch.equal(value, other[key]) for key, value in one.items())
    dead = [key for key in case.published(case.config).state_dict() if DEAD.fullmatch(key)]
    assert len(dead) == {True: 2, False: 8}[case.membranes] + 3 * (name == "spikformer-dvs")
