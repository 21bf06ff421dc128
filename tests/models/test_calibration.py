import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from builders import EVENTS, assert_fires, pixels_for, tiny_config

from ds2ta_deploy.models.calibration import random_network
from ds2ta_deploy.models.presets import PRESETS
from ds2ta_deploy.models.probe import Watch


def firing(model, seed):
    """Return every spike of the network on fresh random pixels."""
    seen = {}
    pixels = torch.from_numpy(pixels_for(model.config, 4, seed).copy())
    with torch.no_grad(), Watch(model, seen.__setitem__, lambda name: name.endswith(".spikes")):
        model(pixels)
    return seen


@pytest.mark.parametrize(
    "changes",
    [
        {},
        EVENTS,
        {"depth": 2},
        {"time_steps": 1},
        {"time_steps": 7},
        {"temporal_window": 1},
        {"initial_decay": 0},
        {"initial_decay": 8},
        {"decay_input": True},
        {"decay_input": True, "membrane_time_constant": 3.0},
        {"membrane_time_constant": 4.0},
        {"qkv_bias": False},
        {"attention_scale": 0.25},
        {"in_channels": 3, "pixel_mean": (0.5, 0.4, 0.3), "pixel_std": (0.2, 0.3, 0.4)},
    ],
    ids=str,
)
@pytest.mark.parametrize("seed", [0, 1])
def test_every_layer_fires_on_pixels_it_has_not_seen(changes, seed):
    config = tiny_config(**changes)
    model = random_network(config, seed)
    assert model.config == config
    assert not model.training
    seen = firing(model, seed + 100)
    assert len(seen) == 5 + 7 * config.depth  # four stages and the position; q, k, v, attention, proj, fc1, fc2
    assert_fires(seen)


def test_the_bundled_presets_size_fires():
    assert_fires(firing(random_network(PRESETS["ds2ta-2-64"]), 100))


def test_the_same_seed_gives_the_same_network_and_another_seed_another(tiny_config):
    first, again, other = (random_network(tiny_config, seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    different = [name for name in first if not torch.equal(first[name], other[name])]
    assert all(name in different for name in first if name.endswith(("weight", "running_mean")) or ".norm.bias" in name)


def test_the_random_numbers_of_the_caller_are_left_alone(tiny_config):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    random_network(tiny_config, 1)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("initial", [0, 1, 3])
def test_the_layers_get_different_decays_between_one_and_the_initial_one(initial):
    model = random_network(tiny_config(initial_decay=initial, depth=2), 0)
    decays = {p.item() for name, p in model.named_parameters() if name.endswith("window.decay")}
    assert decays <= set(range(min(1, initial), initial + 1))
    assert initial < 3 or len(decays) > 1


def test_the_batch_norms_hold_the_statistics_of_the_pixels_seen(tiny_config):
    import numpy as np

    from ds2ta_deploy.synthetic import synthetic_pixels

    model = random_network(tiny_config, 3, batch=6)
    pixels = torch.from_numpy(np.array(synthetic_pixels("images", (6, 12, 10, 1), 3)))
    stage = model.patch.stages[0]
    with torch.no_grad():
        product = torch.nn.functional.conv2d(model.encoder(pixels).movedim(-1, 1), stage.weight, padding=1)
    torch.testing.assert_close(stage.norm.running_mean, product.mean((0, 2, 3)))  # float32 sums in another order
    torch.testing.assert_close(stage.norm.running_var, product.var((0, 2, 3), unbiased=True))


def test_a_network_can_be_calibrated_on_given_pixels():
    config = tiny_config(**EVENTS)
    sparse = pixels_for(config, 4, 9) * (np.random.default_rng(0).random((1, 1, config.image_height, config.image_width, 1)) < 0.3)
    model = random_network(config, 3, pixels=sparse.astype(np.uint8))
    seen = {}
    with torch.no_grad(), Watch(model, seen.__setitem__, lambda name: name.endswith(".spikes")):
        model(torch.from_numpy(sparse.astype(np.uint8)))
    assert_fires({name: value.numpy() for name, value in seen.items()})
    other = random_network(config, 3)
    assert not torch.equal(model.state_dict()["patch.stages.0.norm.running_var"], other.state_dict()["patch.stages.0.norm.running_var"])
