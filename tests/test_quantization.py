import copy
import math
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

import msgspec
import numpy as np
from builders import EVENTS, pixels_for, tiny_config
from torch import nn

from ds2ta_deploy.errors import UnsupportedError, UsageError
from ds2ta_deploy.freezing import freeze
from ds2ta_deploy.graph.ranges import PROFILES, prove
from ds2ta_deploy.grid import fold_norm
from ds2ta_deploy.models.calibration import random_network
from ds2ta_deploy.models.denoiser import IntegerDenoiser
from ds2ta_deploy.models.ds2ta import Ds2ta
from ds2ta_deploy.models.encoder import IntegerPixelEncoder
from ds2ta_deploy.models.neurons import IntegerLif, Lif
from ds2ta_deploy.models.probe import Watch
from ds2ta_deploy.models.readout import IntegerReadout
from ds2ta_deploy.models.windows import IntegerWindow
from ds2ta_deploy.quantization import Quantization, quantize

CONVOLUTIONS = [*(f"patch.stages.{index}" for index in range(4)), "patch.position"]
WINDOWED = [f"blocks.0.attn.{part}" for part in ("q", "k", "v", "proj")]
LINEAR = [*WINDOWED, "blocks.0.mlp.fc1", "blocks.0.mlp.fc2"]


def layer_of(model: Ds2ta, name: str):
    return model.get_submodule(name)


def variant(model: Ds2ta, change) -> Ds2ta:
    """Return a changed copy of the model."""
    copied = copy.deepcopy(model)
    with torch.no_grad():
        change(copied)
    return copied


def theta(neuron: Lif) -> float:
    return neuron.threshold * (neuron.membrane_time_constant if neuron.decay_input else 1)


# --- the grid --------------------------------------------------------------------------------------------------------


def input_unit(model: Ds2ta, quantized: Ds2ta) -> float:
    """Return the real value of one unit of the pixel table, from its largest entry."""
    values = copy.deepcopy(model).double().encoder(torch.arange(256)[:, None].expand(-1, model.config.in_channels)).T
    place = quantized.encoder.table.abs().argmax()
    return float(values.flatten()[place] / quantized.encoder.table.flatten()[place])


@pytest.mark.parametrize(("weight_bits", "first_bits"), [(8, 10), (8, 8), (6, 12), (4, 10), (2, 9)])
def test_every_layer_is_on_the_grid(tiny_model, weight_bits, first_bits):
    quantized = quantize(tiny_model, Quantization(weight_bits=weight_bits, first_layer_bits=first_bits))
    for name in (*CONVOLUTIONS, *LINEAR):
        trained, layer = layer_of(tiny_model, name), layer_of(quantized, name)
        first = name == "patch.stages.0"
        largest = 2 ** ((first_bits if first else weight_bits) - 1) - 1
        weight, bias = (part.detach() for part in fold_norm(trained))
        weight = weight.flatten(1) * (input_unit(tiny_model, quantized) if first else 1.0)
        guard = layer.window.guard_bits if getattr(layer, "window", None) is not None else 0
        thresholds = layer.neuron.threshold.flatten() / 2**guard
        assert layer.weight.shape == trained.weight.shape
        for channel in range(weight.shape[0]):
            real = theta(trained.neuron) / float(weight[channel].abs().max())
            expected = min(max(math.floor(largest * real), 1), 2**20 if first else 2**14)
            threshold = int(thresholds[channel])
            assert threshold == thresholds[channel] == expected, (name, channel)
            grid = weight[channel].numpy() * threshold / theta(trained.neuron)
            on_grid = np.clip(np.rint(grid), -largest, largest)
            assert np.array_equal(layer.weight[channel].flatten().numpy(), on_grid), (name, channel)
            assert int(layer.bias[channel]) == round(float(bias[channel]) * threshold / theta(trained.neuron)), (name, channel)
    assert layer_of(quantized, "patch.stages.0").weight.abs().max() <= 2 ** (first_bits - 1) - 1


def test_the_weights_use_the_grid_they_are_given(tiny_quantized):
    for name in (*CONVOLUTIONS, *LINEAR):
        largest = 511 if name == "patch.stages.0" else 127
        layer = layer_of(tiny_quantized, name)
        peaks = layer.weight.flatten(1).abs().amax(1)
        thresholds = layer.neuron.threshold.flatten() / (layer.window.unit if getattr(layer, "window", None) is not None else 1)
        assert (peaks <= largest).all()
        # theta_c is a whole number: one more would have taken the largest weight beyond the grid.
        assert (peaks * (thresholds + 1) / thresholds >= largest - 1).all(), name


def test_a_threshold_a_layer_is_the_smallest_of_its_channels_and_changes_nothing_else(tiny_model, tiny_quantized):
    quantized = quantize(tiny_model, Quantization(thresholds="layer"))
    for name in (*CONVOLUTIONS, *LINEAR):
        own, shared = layer_of(tiny_quantized, name), layer_of(quantized, name)
        guard, own_guard = ((layer.window.unit if getattr(layer, "window", None) is not None else 1) for layer in (shared, own))
        (threshold,) = set((shared.neuron.threshold.flatten() / guard).tolist())
        assert threshold == min((own.neuron.threshold.flatten() / own_guard).tolist())
        folded, bias = fold_norm(layer_of(tiny_model, name))
        unit = input_unit(tiny_model, quantized) if name == "patch.stages.0" else 1.0
        scale = threshold / theta(layer_of(tiny_model, name).neuron)
        assert torch.equal(shared.weight, (folded.double() * unit * scale).round())
        assert torch.equal(shared.bias, (bias * scale).round())
        assert len(set(own.neuron.threshold.flatten().tolist())) > 1
    assert torch.equal(quantized.encoder.table, tiny_quantized.encoder.table)
    assert torch.equal(quantized.head.weight, tiny_quantized.head.weight)
    assert torch.equal(quantized.blocks[0].attn.denoiser.table, tiny_quantized.blocks[0].attn.denoiser.table)
    assert torch.equal(quantized.blocks[0].attn.neuron.threshold, tiny_quantized.blocks[0].attn.neuron.threshold)


def scaled(name: str, factor: float):
    def change(model: Ds2ta) -> None:
        layer_of(model, name).norm.weight.mul_(factor)

    return change


@pytest.mark.parametrize(("name", "limit"), [("blocks.0.mlp.fc1", 2**14), ("patch.stages.1", 2**14), ("patch.stages.0", 2**20)])
def test_the_threshold_is_limited_where_weights_are_tiny(tiny_model, name, limit):
    layer = layer_of(quantize(variant(tiny_model, scaled(name, 1e-9))), name)
    assert set(layer.neuron.threshold.flatten().tolist()) == {float(limit)}
    assert (layer.weight == 0).all()


def test_the_threshold_is_at_least_one_where_weights_are_huge(tiny_model):
    layer = layer_of(quantize(variant(tiny_model, scaled("blocks.0.mlp.fc1", 1e4))), "blocks.0.mlp.fc1")
    assert set(layer.neuron.threshold.tolist()) == {1.0}
    assert layer.weight.abs().max() == 127


def test_a_channel_of_zeros_is_no_problem(tiny_model):
    def change(model):
        layer_of(model, "blocks.0.mlp.fc1").weight[3] = 0

    layer = layer_of(quantize(variant(tiny_model, change)), "blocks.0.mlp.fc1")
    assert (layer.weight[3] == 0).all()
    assert int(layer.neuron.threshold[3]) == 2**14
    assert torch.isfinite(layer.bias).all()


def is_integer(tensor: torch.Tensor) -> bool:
    return bool((tensor == tensor.round()).all())


@pytest.mark.parametrize("changes", [{}, EVENTS, {"membrane_time_constant": 3.0}, {"decay_input": True}, {"attention_scale": 0.3}], ids=str)
def test_everything_in_the_model_is_an_integer_in_double_precision(changes):
    quantized = quantize(random_network(tiny_config(**changes)))
    state = quantized.state_dict()
    assert not any("norm" in name for name in state)
    assert {name for name, tensor in state.items() if tensor.dtype != torch.float64 or not is_integer(tensor)} == set()
    assert not any(parameter.requires_grad for parameter in quantized.parameters())
    assert not quantized.training
    kinds = [type(module) for module in quantized.modules()]
    assert kinds.count(IntegerLif) == 12
    assert kinds.count(IntegerWindow) == 4
    assert {IntegerDenoiser, IntegerPixelEncoder, IntegerReadout} <= set(kinds)
    for module in quantized.modules():
        if isinstance(module, IntegerLif):
            assert (module.threshold >= 1).all()


@pytest.mark.parametrize("changes", [{}, EVENTS, {"decay_input": True}], ids=str)
def test_every_value_is_an_integer_while_it_runs(changes):
    quantized = quantize(random_network(tiny_config(**changes)))
    seen = {}
    with Watch(quantized, seen.__setitem__):
        quantized(torch.from_numpy(pixels_for(quantized.config, 2, 3).copy()))
    assert {name for name, value in seen.items() if value.dtype != torch.float64 or not is_integer(value)} == set()


def test_the_first_current_is_the_trained_one_up_to_rounding(tiny_model, tiny_quantized, tiny_inputs):
    """Half a unit a weight, half a unit a pixel, half a unit for the bias: not a tolerance but a bound."""
    pixels, trained, integer = torch.from_numpy(tiny_inputs.copy()), {}, {}
    with torch.no_grad():
        with Watch(tiny_model.double(), trained.__setitem__):
            tiny_model(pixels)
        tiny_model.float()
        with Watch(tiny_quantized, integer.__setitem__):
            tiny_quantized(pixels)
    layer = layer_of(tiny_quantized, "patch.stages.0")
    unit = theta(layer_of(tiny_model, "patch.stages.0").neuron) / layer.neuron.threshold.flatten()
    real_weight = fold_norm(layer_of(tiny_model, "patch.stages.0"))[0].abs().flatten(1).sum(1).detach()
    table_unit = input_unit(tiny_model, tiny_quantized)
    sums = nn.functional.conv2d(integer["input_values"][0].movedim(-1, 1).abs(), torch.ones_like(layer.weight[:1]), padding=1)
    bound = unit * (sums[:, 0, :, :, None] / 2 + 0.5) + real_weight * table_unit / 2
    error = (integer["patch.stages.0.current"][0] * unit - trained["patch.stages.0.current"][0]).abs()
    assert (error <= bound * (1 + 1e-9)).all()
    # And the bound means something: it is far below the threshold.
    assert bound.max() < 0.25 * theta(layer_of(tiny_model, "patch.stages.0").neuron)


def test_most_spikes_of_the_first_layers_survive(tiny_model, tiny_quantized, tiny_inputs):
    """Rung 0 is measured, not proved; a wrong unit or threshold anywhere would flip far more than these."""
    pixels, trained, integer = torch.from_numpy(tiny_inputs.copy()), {}, {}
    with torch.no_grad():
        for model, seen in ((tiny_model, trained), (tiny_quantized, integer)):
            with Watch(model, seen.__setitem__):
                model(pixels)
    for name, most in (("patch.stages.0.spikes", 0.01), ("patch.stages.1.spikes", 0.03), ("patch.position.spikes", 0.2)):
        assert float((trained[name] != integer[name]).double().mean()) < most, name


def test_the_model_given_is_left_alone(tiny_config):
    model = random_network(tiny_config, 7).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    quantize(model)
    assert model.training
    assert model.quantization is None
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(after[name].dtype == before[name].dtype and torch.equal(after[name], before[name]) for name in before)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_the_same_model_gives_the_same_integers(tiny_model, tiny_quantized):
    again = quantize(tiny_model).state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in tiny_quantized.state_dict().items())


# --- input decay -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tau", [2.0, 4.0])
def test_input_decay_is_the_same_network_with_larger_thresholds(tau):
    plain = random_network(tiny_config(threshold=1.0, attention_threshold=0.5, membrane_time_constant=tau), 1)
    decayed_config = msgspec.structs.replace(plain.config, threshold=1 / tau, attention_threshold=0.5 / tau, decay_input=True)
    decayed = Ds2ta(decayed_config).eval()
    decayed.load_state_dict(plain.state_dict())
    left, right = quantize(plain), quantize(decayed)
    assert all(torch.equal(tensor, right.state_dict()[name]) for name, tensor in left.state_dict().items())
    assert left.blocks[0].attn.scale.guard_bits == right.blocks[0].attn.scale.guard_bits
    pixels = torch.from_numpy(pixels_for(plain.config, 2, 3).copy())
    assert torch.equal(left(pixels), right(pixels))


# --- attention -------------------------------------------------------------------------------------------------------


def attention_of(**changes):
    return quantize(random_network(tiny_config(**changes))).blocks[0].attn


@pytest.mark.parametrize(
    ("scale", "threshold", "decay_input", "expected"),
    [
        (0.125, 0.5, False, 4),
        (0.25, 0.5, False, 2),
        (0.125, 0.5, True, 8),
        (0.25, 0.5, True, 4),
        (0.1, 0.5, False, 5),
        (1 / 14, 0.5, False, 7),
    ],
)
def test_the_attention_scale_divides_the_threshold(scale, threshold, decay_input, expected):
    attention = attention_of(attention_scale=scale, attention_threshold=threshold, decay_input=decay_input)
    assert set(attention.neuron.threshold.tolist()) == {float(expected)}
    assert attention.neuron.threshold.shape == (32,)
    assert attention.scale.guard_bits == 0


@pytest.mark.parametrize("steps", [1, 4, 6])
def test_a_fractional_threshold_gets_guard_bits_and_the_ceiling(steps):
    attention = attention_of(attention_scale=0.3, time_steps=steps)
    guard = steps - 1
    assert attention.scale.guard_bits == guard
    assert set(attention.neuron.threshold.tolist()) == {float(math.ceil(Fraction(5, 3) * 2**guard))}


@pytest.fixture(scope="module")
def fractional():
    """Return scale and neuron of an attention that fires at 5/3."""
    attention = attention_of(attention_scale=0.3, time_steps=4)
    return attention.scale, attention.neuron


@given(st.lists(st.integers(-4, 4), min_size=4, max_size=4))
@example([1, 0, 1, 1])  # reaches 13/8, just below 5/3: the floor instead of the ceiling would fire
@example([1, 1, 0, 1])  # reaches 7/4, just above
@example([-1, -1, -1, 3])  # negative halves
def test_the_guard_bits_make_a_fractional_threshold_exact(fractional, context):
    scale, neuron = fractional
    current = scale(torch.tensor(context, dtype=torch.float64).view(4, 1, 1, 1).expand(4, 1, 1, 32))
    spikes, membrane, expected = neuron(current)[0][:, 0, 0, 0].tolist(), Fraction(0), []
    for value in context:
        membrane = membrane / 2 + value
        expected.append(float(membrane >= Fraction(5, 3)))
        membrane = Fraction(0) if expected[-1] else membrane
    assert spikes == expected


def test_the_denoisers_tables_are_baked(tiny_model, tiny_quantized):
    trained, baked = tiny_model.blocks[0].attn.denoiser, tiny_quantized.blocks[0].attn.denoiser
    assert torch.equal(baked.table, copy.deepcopy(trained).double().table())
    assert baked.table.shape == (4, 9)


@pytest.mark.parametrize("scale", [1e-4, 1e-7])
def test_a_tiny_attention_scale_is_a_large_threshold(scale):
    attention = attention_of(attention_scale=scale)
    quotients = (Fraction(1, 2) / Fraction(scale), Fraction(1, 2) / Fraction(str(scale)))  # the float itself, or the decimal it stands for
    expected = {math.ceil(quotient * 2**attention.scale.guard_bits) for quotient in quotients}
    assert int(attention.neuron.threshold[0]) in expected


def test_an_attention_scale_too_tiny_for_the_state_is_refused():
    with pytest.raises(UnsupportedError, match=r"DS2TA-222 \[blocks\.0\.attn\]"):
        attention_of(attention_scale=1e-10)


# --- guard bits ------------------------------------------------------------------------------------------------------


def with_decays(model: Ds2ta, *decays: float) -> Ds2ta:
    def change(changed):
        for name, decay in zip(WINDOWED, decays, strict=True):
            layer_of(changed, name).window.decay.fill_(decay)

    return variant(model, change)


@pytest.mark.parametrize(
    ("taps", "steps", "decays", "expected"),
    [
        (3, 4, (1, 2, 4, 0), (2, 4, 8, 0)),
        (1, 4, (1, 2, 4, 8), (0, 0, 0, 0)),
        (4, 2, (1, 2, 4, 3), (1, 2, 4, 3)),  # two steps have one lag
        (3, 1, (1, 2, 4, 8), (0, 0, 0, 0)),
        (3, 4, (1.4, 2.6, 0.2, 3.0), (2, 6, 0, 6)),  # the rounded decay counts
    ],
)
def test_the_cpu_profile_takes_the_exact_guard_bits(taps, steps, decays, expected):
    quantized = quantize(with_decays(random_network(tiny_config(temporal_window=taps, time_steps=steps)), *decays))
    windows = [layer_of(quantized, name).window for name in WINDOWED]
    assert tuple(window.guard_bits for window in windows) == expected
    assert tuple(window.decay for window in windows) == tuple(round(decay) for decay in decays)
    assert {window.taps for window in windows} == {taps}


def widened(graph, name: str, more: int):
    """Return the graph with ``more`` guard bits in one layer."""

    def change(op):
        if op.name == f"{name}.window":
            return replace(op, guard_bits=op.guard_bits + more)
        return replace(op, threshold=op.threshold << more) if op.name == name else op

    return replace(graph, ops=tuple(change(op) for op in graph))


@pytest.fixture(scope="module")
def wide():
    """Return a network whose layers are too wide for all guard bits in 24-bit state."""
    return with_decays(random_network(tiny_config(embed_dim=128, num_heads=8)), 5, 6, 7, 8)


@pytest.mark.parametrize("profile", ["cpu", "loihi"])
def test_where_the_state_is_narrow_the_most_guard_bits_that_fit_are_taken(wide, profile):
    quantized = quantize(wide, Quantization(profile=profile))
    graph = freeze(quantized)
    exact = {name: 2 * decay for name, decay in zip(WINDOWED, (5, 6, 7, 8), strict=True)}
    chosen = {name: layer_of(quantized, name).window.guard_bits for name in WINDOWED}
    if profile == "cpu":
        assert chosen == exact
    else:
        assert all(0 < chosen[name] < exact[name] for name in WINDOWED)
    for name in WINDOWED:
        if chosen[name] < exact[name]:
            with pytest.raises(UnsupportedError) as caught:
                prove(widened(graph, name, 1), PROFILES[profile])
            assert {problem.where.rsplit(".", 1)[0] for problem in caught.value.problems} == {name}


def test_thresholds_and_biases_are_in_the_unit_of_the_guard_bits(wide):
    narrow, full = (quantize(wide, Quantization(profile=profile)) for profile in ("loihi", "cpu"))
    for name in WINDOWED:
        guards = [layer_of(model, name).window.guard_bits for model in (narrow, full)]
        thresholds = [layer_of(model, name).neuron.threshold / 2**guard for model, guard in zip((narrow, full), guards, strict=True)]
        assert torch.equal(*thresholds)
        assert torch.equal(layer_of(narrow, name).weight, layer_of(full, name).weight)
        assert torch.equal(layer_of(narrow, name).bias, layer_of(full, name).bias)


def test_guard_bits_reckon_with_the_counts_that_each_block_really_sees():
    """Block l sees counts of 0..2+2l: one bit more a doubling, and the choice of every layer must still be the best."""
    model = random_network(tiny_config(embed_dim=64, depth=4))
    layers = [f"blocks.{index}.attn.{part}" for index in range(4) for part in ("q", "k", "v", "proj")]
    with torch.no_grad():
        for name in layers:
            layer_of(model, name).window.decay.fill_(8)
    quantized = quantize(model, Quantization(profile="loihi"))
    graph = freeze(quantized)  # which proves that no layer took too many
    guards = {name: layer_of(quantized, name).window.guard_bits for name in layers}
    assert max(guards.values()) < 16  # two lags of 8 bits: nowhere are they exact
    assert guards["blocks.0.attn.proj"] > guards["blocks.0.attn.q"] > guards["blocks.3.attn.q"]
    for name in layers:
        with pytest.raises(UnsupportedError) as caught:
            prove(widened(graph, name, 1), PROFILES["loihi"])
        assert {problem.where.rsplit(".", 1)[0] for problem in caught.value.problems} == {name}
    assert [graph.ranges[f"blocks.{index}.mlp_residual"].maximum for index in range(4)] == [4, 6, 8, 10]


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"profile": "gpu"}, {"profile"}),
        ({"weight_bits": 1}, {"weight_bits"}),
        ({"weight_bits": 9}, {"weight_bits"}),
        ({"first_layer_bits": 7}, {"first_layer_bits"}),
        ({"first_layer_bits": 13}, {"first_layer_bits"}),
        ({"profile": "", "weight_bits": 0, "first_layer_bits": 99}, {"profile", "weight_bits", "first_layer_bits"}),
    ],
)
def test_settings_out_of_range_are_all_named(tiny_model, settings, named):
    with pytest.raises(UsageError) as caught:
        quantize(tiny_model, Quantization(**settings))
    assert {problem.code for problem in caught.value.problems} == {"DS2TA-510"}
    assert {problem.where for problem in caught.value.problems} == named


def test_the_settings_are_kept_with_the_model(tiny_model, tiny_quantized):
    assert tiny_quantized.quantization == Quantization(profile="cpu", weight_bits=8, first_layer_bits=10)
    settings = Quantization(profile="loihi", weight_bits=6)
    assert quantize(tiny_model, settings).quantization == settings


def test_a_model_is_quantized_once(tiny_quantized):
    with pytest.raises(UnsupportedError, match="DS2TA-202"):
        quantize(tiny_quantized)


@pytest.mark.parametrize("name", ["blocks.0.mlp.fc2", "patch.stages.1", "patch.stages.0", "blocks.0.attn.v"])
def test_a_bias_that_no_32_bits_hold_is_named_with_its_channel(tiny_model, name):
    def change(model):
        layer_of(model, name).norm.bias[2] = -1e12

    with pytest.raises(UnsupportedError) as caught:
        quantize(variant(tiny_model, change))
    (problem,) = caught.value.problems
    assert (problem.code, problem.where) == ("DS2TA-222", name)
    assert "channel 2" in problem.what


def test_a_readout_bias_that_no_32_bits_hold_is_refused(tiny_model):
    def change(model):
        model.head.bias[1] = 1e12

    with pytest.raises(UnsupportedError, match=r"DS2TA-222 \[head\]"):
        quantize(variant(tiny_model, change))


@pytest.mark.parametrize(
    ("name", "replacement"),
    [("blocks.0.mlp.fc1.norm", nn.Identity()), ("blocks.0.mlp.fc1.neuron", IntegerLif(torch.ones(128))), ("head", nn.Identity())],
)
def test_parts_that_are_not_trained_ones_are_refused(tiny_model, name, replacement):
    parent, _, last = name.rpartition(".")
    model = variant(tiny_model, lambda copied: setattr(copied.get_submodule(parent), last, replacement))
    with pytest.raises(UnsupportedError, match="DS2TA-202"):
        quantize(model)


# --- what is lost is said --------------------------------------------------------------------------------------------


def test_nothing_is_noted_of_an_ordinary_network(tiny_quantized):
    assert tiny_quantized.quantization_notes == ()


def test_weights_that_the_grid_cuts_off_are_counted_by_name():
    model = random_network(tiny_config())
    with torch.no_grad():
        model.blocks[0].mlp.fc1.weight[3, :5] = 1e4
    notes = quantize(model).quantization_notes
    assert len(notes) == 1
    assert notes[0].startswith("blocks.0.mlp.fc1: 5 weights")


def test_an_approximated_leak_is_noted():
    (note,) = quantize(random_network(tiny_config(membrane_time_constant=3.0))).quantization_notes
    assert "171 / 2^8" in note


def test_a_fractional_attention_threshold_takes_the_guard_bits_that_fit_and_says_so():
    model = random_network(tiny_config(attention_scale=0.3, time_steps=28))
    quantized = quantize(model)
    attention = quantized.blocks[0].attn
    guard = attention.scale.guard_bits
    assert 0 < guard < 27
    assert int(attention.neuron.threshold[0]) == math.ceil(Fraction(5, 3) * 2**guard)
    assert any(note.startswith("blocks.0.attn: the threshold 1.66667") for note in quantized.quantization_notes)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda model: model.blocks[0].attn.q.norm.running_var.fill_(-1.0), "blocks.0.attn.q"),
        (lambda model: model.patch.stages[1].norm.weight.data.fill_(float("inf")), "patch.stages.1"),
    ],
)
def test_weights_that_are_not_finite_after_folding_are_refused_by_name(change, where):
    model = random_network(tiny_config())
    change(model)
    with pytest.raises(UnsupportedError, match=rf"DS2TA-222 \[{where}\]"):
        quantize(model)


def test_event_counts_with_an_offset_do_not_saturate_silently():
    config = tiny_config(**EVENTS | {"pixel_mean": (0.99, 0.99), "pixel_std": (0.1, 0.1)})
    table = quantize(random_network(config)).encoder.table
    assert (table.diff(dim=1) >= 0).all()
    assert table[0].unique().numel() > 200


def test_the_readout_is_narrowed_to_what_its_sum_needs():
    config = tiny_config(image_height=64, image_width=64, pool_stages="0010", time_steps=16)  # 2^14 token-steps
    model = random_network(tiny_config(), seed=1)
    model.config = config
    narrow, wide = (quantize(model, Quantization(profile=profile)) for profile in ("loihi", "cpu"))
    assert 7 < int(narrow.head.weight.abs().max()) < 127
    assert any(note.startswith("head: ") for note in narrow.quantization_notes)
    assert int(wide.head.weight.abs().max()) == 127
    assert freeze(narrow).ranges["head.logits"].bits <= 24
