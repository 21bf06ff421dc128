"""The config knows no PyTorch, and neither do these tests."""

import math

import msgspec
import pytest
from builders import EVENTS, tiny_config
from family_configs import CONFIGS, changed

from ds2ta_deploy.errors import InputError
from ds2ta_deploy.models.families import FAMILIES, Ds2taConfig
from ds2ta_deploy.models.presets import PRESETS


def complaints(**changes):
    """Return what validation says of the tiny config with some fields changed: field names."""
    with pytest.raises(InputError) as caught:
        tiny_config(**changes).validate()
    assert {problem.code for problem in caught.value.problems} == {"DS2TA-110"}
    return [problem.where.removeprefix("config.") for problem in caught.value.problems]


@pytest.mark.parametrize("name", PRESETS)
def test_the_presets_are_valid(name):
    PRESETS[name].validate()


@pytest.mark.parametrize("changes", [{}, EVENTS, {"temporal_window": 1}, {"initial_decay": 0}, {"initial_decay": 8}, {"time_steps": 1}])
def test_these_are_valid(changes):
    tiny_config(**changes).validate()


@pytest.mark.parametrize(
    "field",
    [
        "image_height",
        "image_width",
        "time_steps",
        "num_classes",
        "embed_dim",
        "depth",
        "mlp_ratio",
        "temporal_window",
        "threshold",
        "attention_scale",
        "attention_threshold",
        "pixel_scale",
    ],
)
@pytest.mark.parametrize("value", [0, -1])
def test_what_must_be_positive(field, value):
    assert set(complaints(**{field: value})) == {field}


@pytest.mark.parametrize("heads", [0, -4, 5, 3])
def test_heads_must_divide_the_width(heads):
    assert "embed_dim" in complaints(num_heads=heads)


@pytest.mark.parametrize("width", [12, 20, 28])
def test_the_width_must_be_divisible_by_eight_for_the_patch_stages(width):
    assert complaints(embed_dim=width) == ["embed_dim"]


@pytest.mark.parametrize("stages", ["", "101", "10101", "1012", "abcd", "１０１０"])
def test_pool_stages_are_four_bits(stages):
    assert complaints(pool_stages=stages) == ["pool_stages"]


@pytest.mark.parametrize("value", [1.0, 0.5, -2.0, math.inf, math.nan])
def test_the_membrane_time_constant_is_more_than_one_step(value):
    assert complaints(membrane_time_constant=value) == ["membrane_time_constant"]


@pytest.mark.parametrize("value", [-1, 9])
def test_the_decay_exponent_lies_in_the_range_of_training(value):
    assert complaints(initial_decay=value) == ["initial_decay"]


@pytest.mark.parametrize("field", ["threshold", "attention_scale", "attention_threshold", "pixel_scale", "initial_denoise_threshold"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_must_be_finite(field, value):
    assert complaints(**{field: value}) == [field]


@pytest.mark.parametrize(
    "changes",
    [
        {"pixel_mean": ()},
        {"pixel_mean": (0.1, 0.2)},
        {"pixel_std": (0.1, 0.2)},
        {"in_channels": 3},
        {"pixel_mean": (math.nan,)},
        {"pixel_mean": (math.inf,)},
        {"pixel_std": (0.0,)},
        {"pixel_std": (-1.0,)},
        {"pixel_std": (math.nan,)},
        {"pixel_std": (math.inf,)},
    ],
)
def test_every_channel_needs_a_finite_mean_and_a_positive_deviation(changes):
    assert complaints(**changes) == ["pixel_mean, pixel_std"]


@pytest.mark.parametrize("field", ["image_height", "embed_dim", "depth", "num_classes", "time_steps", "temporal_window"])
def test_absurd_sizes_are_refused_before_anything_is_allocated(field):
    assert field in complaints(**{field: 2**40})


def test_everything_that_is_wrong_is_said_at_once():
    named = complaints(depth=0, pool_stages="x", threshold=-1.0, initial_decay=99, pixel_std=(0.0,), membrane_time_constant=1.0)
    assert set(named) == {"depth", "pool_stages", "threshold", "initial_decay", "pixel_mean, pixel_std", "membrane_time_constant"}


def test_a_config_cannot_be_changed_and_has_no_unknown_fields():
    with pytest.raises(AttributeError):
        tiny_config().depth = 3
    with pytest.raises(msgspec.ValidationError, match="surprise"):
        msgspec.convert({**msgspec.to_builtins(tiny_config()), "surprise": 1}, Ds2taConfig)


def test_a_config_survives_json():
    for config in PRESETS.values():
        assert msgspec.json.decode(msgspec.json.encode(config), type=FAMILIES[config.family]) == config
        config.validate()


def test_derived_sizes():
    config = tiny_config(embed_dim=64, num_heads=4)
    assert config.head_dim == 16
    assert config.stage_widths == (8, 16, 32, 64)
    assert config.input_shape == (None, 12, 10, 1)
    assert tiny_config(**EVENTS).input_shape == (4, None, 12, 10, 2)


def test_the_presets_are_the_papers():
    cifar, events, bundled = (PRESETS[name] for name in ("ds2ta-4-384", "ds2ta-2-256", "ds2ta-2-64"))
    assert (cifar.depth, cifar.embed_dim, cifar.num_heads, cifar.time_steps) == (4, 384, 12, 4)
    assert (cifar.temporal_window, cifar.initial_decay, cifar.initial_denoise_threshold) == (3, 4, 3.0)
    assert (events.depth, events.embed_dim, events.num_heads, events.time_steps) == (2, 256, 16, 10)
    assert (events.temporal_window, events.initial_decay, events.initial_denoise_threshold) == (3, 2, 2.0)
    assert (events.input_kind, events.image_height, events.image_width, events.in_channels) == ("frames", 128, 128, 2)
    assert (bundled.depth, bundled.embed_dim, bundled.input_kind, bundled.image_height) == (2, 64, "images", 28)
    assert all(config.membrane_time_constant == 2.0 for config in PRESETS.values())
    assert all(config.decay_input == (config.family != "ds2ta") for config in PRESETS.values())  # SpikingJelly's neurons, or Eq. 2


def test_the_presets_have_the_published_tokens_and_scales():
    assert {name: PRESETS[name].tokens for name in ("spikformer-4-384", "spikformer-8-512", "statten-2-256")} == {
        "spikformer-4-384": 64,
        "spikformer-8-512": 196,
        "statten-2-256": 256,
    }
    scales = {name: PRESETS[name].attention_scale for name in PRESETS if name.startswith(("spikformer", "statten"))}
    assert all(scales[name] == 1 / 8 for name in ("spikformer-4-384", "spikformer-8-512"))
    assert scales["spikformer-2-256"] == 1 / 4
    assert all(scales[name] == 1 / PRESETS[name].token_rows for name in ("statten-2-512", "statten-8-512", "statten-2-64"))
    assert scales["statten-2-256"] == 1 / (16 * 16 * 5)


@pytest.mark.parametrize("family", ["sdt", "statten"])
def test_an_inner_residual_of_the_mlp_is_refused(family):
    """With a hidden layer as narrow as the stream the published MLP adds its input once more, which ours does not."""
    with pytest.raises(InputError, match=r"DS2TA-110 \[config.mlp_ratio\]"):
        changed(CONFIGS[family], mlp_ratio=1).validate()
