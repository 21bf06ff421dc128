import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from builders import EVENTS, pixels_for, tiny_config

from ds2ta_deploy.errors import UnsupportedError
from ds2ta_deploy.models.calibration import random_network
from ds2ta_deploy.models.firing import set_firing_rates
from ds2ta_deploy.models.probe import Watch


def measured(model, seed, kind=".spikes"):
    """Mean rate of every population on synthetic pixels."""
    seen = {}
    pixels = torch.from_numpy(pixels_for(model.config, 4, seed).copy())
    with torch.no_grad(), Watch(model, seen.__setitem__, lambda name: name.endswith(kind)):
        model(pixels)
    return {name.removesuffix(kind): spikes.mean().item() for name, spikes in seen.items()}


def wanted(name):
    return 0.04 if name.endswith(("proj", "fc2")) else 0.2 if name.endswith("fc1") else 0.12


@pytest.mark.parametrize("changes", [{}, EVENTS, {"decay_input": True}, {"depth": 2, "attention_scale": 0.25}], ids=str)
@pytest.mark.parametrize("seed", [0, 1])
def test_every_population_fires_at_its_rate(changes, seed):
    model = random_network(tiny_config(**changes), seed)
    before = measured(model, 7)
    assert max(abs(rate - wanted(name)) for name, rate in before.items()) > 0.05
    set_firing_rates(model, wanted, 7, batch=4)
    found = measured(model, 7)
    assert found.keys() == before.keys()
    assert {name: rate for name, rate in found.items() if abs(rate - wanted(name)) > 0.015} == {}
    assert {name: rate for name, rate in found.items() if name[-4:] != "attn" and abs(rate - wanted(name)) > 0.002} == {}


def test_layers_that_pool_may_have_the_rate_behind_pooling():
    model = random_network(tiny_config(), 0)
    set_firing_rates(model, wanted, 7, batch=4, pooled=True)
    before, behind = measured(model, 7), measured(model, 7, ".pooled")
    assert behind
    assert {name: rate for name, rate in behind.items() if abs(rate - wanted(name)) > 0.004} == {}
    assert {name for name, rate in before.items() if rate < wanted(name) - 0.02} == set(behind)


def test_the_rates_are_nearly_those_on_other_pictures(tiny_config):
    model = random_network(tiny_config, 0)
    set_firing_rates(model, wanted, 7, batch=4)
    assert {name: rate for name, rate in measured(model, 8).items() if not wanted(name) / 2 < rate < wanted(name) * 2} == {}


def test_a_quantized_network_is_refused(tiny_quantized):
    with pytest.raises(UnsupportedError, match="DS2TA-202"):
        set_firing_rates(tiny_quantized, wanted)


def test_the_same_call_gives_the_same_network(tiny_config):
    first, second = (random_network(tiny_config, 0) for _ in range(2))
    for model in (first, second):
        set_firing_rates(model, wanted, 7, batch=4)
    assert all(torch.equal(left, right) for left, right in zip(first.parameters(), second.parameters(), strict=True))
