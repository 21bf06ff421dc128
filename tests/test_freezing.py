import copy
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

import numpy as np
from builders import EVENTS, assert_fires, pixels_for, tiny_config, trace_of

from ds2ta_deploy.errors import UnsupportedError
from ds2ta_deploy.freezing import ROUNDING, freeze
from ds2ta_deploy.graph.ops import OPS, Conv2d, Linear, Lookup, TemporalWindow
from ds2ta_deploy.graph.ranges import PROFILES, prove
from ds2ta_deploy.graph.serialize import from_bytes, to_bytes
from ds2ta_deploy.models.calibration import random_network
from ds2ta_deploy.models.probe import Probe, Watch
from ds2ta_deploy.quantization import Quantization, quantize


def watched(quantized, pixels):
    """Return every value of the PyTorch model as integers; fails when one is not an integer."""
    seen = {}
    with torch.no_grad(), Watch(quantized, seen.__setitem__):
        logits = quantized(torch.from_numpy(pixels.copy()))
    trace = {}
    for name, value in seen.items():
        trace[name] = value.numpy().astype(np.int64)
        assert np.array_equal(trace[name], value.numpy()), f"{name} holds fractions"
    assert np.array_equal(trace["head.logits"], logits.numpy())
    return trace


def differing(reference, trace):
    """Return every value that is missing, has another shape, or differs in a single integer."""
    wrong = dict.fromkeys(set(reference) ^ set(trace), "only in one of the two")
    for name in set(reference) & set(trace):
        if reference[name].shape != trace[name].shape:
            wrong[name] = f"{reference[name].shape} and {trace[name].shape}"
        elif not np.array_equal(reference[name], trace[name]):
            wrong[name] = f"{np.count_nonzero(reference[name] != trace[name])} of {reference[name].size}"
    return wrong


def assert_equal_everywhere(model, graph, seed=11, batch=3):
    """Assert that model and graph agree in every observable integer, that neurons fire, and that the proof holds."""
    pixels = pixels_for(model.config, batch, seed)
    reference, trace = watched(model, pixels), trace_of(graph, pixels)
    assert differing(reference, trace) == {}
    assert tuple(trace) == graph.observable
    assert_fires(trace)
    for name, value in trace.items():
        assert graph.ranges[name].contains(value.astype(np.int64)), name
        assert value.dtype == graph.types[name].dtype, name
    return trace


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"depth": 2},
        EVENTS,
        EVENTS | {"time_steps": 3, "depth": 2},
        {"membrane_time_constant": 4.0},
        {"membrane_time_constant": 3.0},
        EVENTS | {"membrane_time_constant": 3.0},
        {"membrane_time_constant": 1.25},
        {"decay_input": True},
        {"decay_input": True, "membrane_time_constant": 4.0},
        {"decay_input": True, "membrane_time_constant": 3.0, "attention_scale": 0.25},
        EVENTS | {"decay_input": True},
        {"qkv_bias": False},
        EVENTS | {"qkv_bias": False, "attention_scale": 0.25},
        {"temporal_window": 1},
        {"temporal_window": 2, "initial_decay": 0},
        {"temporal_window": 5, "time_steps": 3, "initial_decay": 8},
        {"time_steps": 1},
        EVENTS | {"time_steps": 1},
        {"time_steps": 2},
        {"time_steps": 7},
        {"attention_scale": 0.3},
        {"attention_scale": 0.3, "membrane_time_constant": 3.0},
        {"pool_stages": "0000", "image_height": 5, "image_width": 3},
        {"pool_stages": "1111", "image_height": 13, "image_width": 30, "attention_scale": 0.5},
        {"num_heads": 1},
        {"num_heads": 32, "initial_denoise_threshold": 0.0, "attention_scale": 0.5},
        {"mlp_ratio": 1, "num_classes": 2},
        {"in_channels": 3, "pixel_mean": (0.5, 0.4, 0.3), "pixel_std": (0.2, 0.3, 0.4)},
    ],
    ids=str,
)
def test_the_frozen_graph_computes_what_the_model_computes(changes):
    quantized = quantize(random_network(tiny_config(**changes), seed=1))
    assert_equal_everywhere(quantized, freeze(quantized))


@pytest.mark.parametrize(
    "settings",
    [
        {"profile": "loihi"},
        {"weight_bits": 4},
        {"weight_bits": 2},
        {"weight_bits": 6, "first_layer_bits": 8},
        {"first_layer_bits": 12},
        {"profile": "loihi", "weight_bits": 4, "first_layer_bits": 8},
        {"thresholds": "layer"},
    ],
    ids=str,
)
@pytest.mark.parametrize("changes", [{}, EVENTS], ids=["images", "frames"])
def test_under_every_setting(settings, changes):
    model = random_network(tiny_config(**changes), seed=1)
    quantized = quantize(model, Quantization(**settings))
    graph = freeze(quantized)
    assert_equal_everywhere(quantized, graph)
    widest = max(entry.bits for entry in prove(graph, PROFILES["cpu"]) if graph.types[entry.name].dtype == "int32")
    assert widest <= PROFILES[settings.get("profile", "cpu")].state_bits


@pytest.mark.parametrize("seed", [2, 3, 4])
def test_other_networks_too(seed):
    quantized = quantize(random_network(tiny_config(depth=2, initial_decay=4), seed=seed))
    assert_equal_everywhere(quantized, freeze(quantized), seed=seed)


def test_a_window_with_fewer_guard_bits_than_exact_is_the_same_on_both_sides():
    model = random_network(tiny_config(embed_dim=64, num_heads=4, initial_decay=8), seed=1)
    with torch.no_grad():
        for part in ("q", "k", "v", "proj"):
            getattr(model.blocks[0].attn, part).window.decay.fill_(8.0)
    quantized = quantize(model, Quantization(profile="loihi"))
    graph = freeze(quantized)
    guards = {op.name: op.guard_bits for op in graph if isinstance(op, TemporalWindow) and op.taps > 1}
    assert len(guards) == 4
    assert all(guard < 16 for guard in guards.values())  # 8 bits for each of two lags would be exact
    assert_equal_everywhere(quantized, graph)


def test_many_guard_bits():
    """Two-bit weights and long windows leave room for more guard bits than usual."""
    model = random_network(tiny_config(embed_dim=8, num_heads=2, time_steps=6, temporal_window=6, initial_decay=8), seed=3)
    with torch.no_grad():
        for part in ("q", "k", "v", "proj"):
            getattr(model.blocks[0].attn, part).window.decay.fill_(8.0)
    quantized = quantize(model, Quantization(weight_bits=2))
    graph = freeze(quantized)
    assert max(op.guard_bits for op in graph if isinstance(op, TemporalWindow)) >= 16
    pixels = pixels_for(model.config, 3, 5)
    assert differing(watched(quantized, pixels), trace_of(graph, pixels)) == {}


def negative_table(model):
    """Give every head another table, with negative entries."""
    with torch.no_grad():
        denoiser = model.blocks[0].attn.denoiser
        denoiser.a.copy_(torch.linspace(-1.0, 2.0, 4))
        denoiser.b.fill_(0.2)
        denoiser.u.copy_(torch.tensor([-1.0, 0.5, 1.0, 2.0]))


def test_tables_with_negative_entries():
    model = random_network(tiny_config(), seed=1)
    negative_table(model)
    quantized = quantize(model)
    graph = freeze(quantized)
    table = next(op.table for op in graph if isinstance(op, Lookup))
    assert table.min() < 0
    assert len({tuple(row) for row in table.tolist()}) == 4
    trace = assert_equal_everywhere(quantized, graph)
    assert trace["blocks.0.attn.denoised"].min() < 0


# --- the graph -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{}, {"depth": 2}, EVENTS, {"time_steps": 1}], ids=str)
def test_observable_values_are_the_probes_of_the_model(changes):
    quantized = quantize(random_network(tiny_config(**changes)))
    probes = {name for name, module in quantized.named_modules() if isinstance(module, Probe)}
    assert set(freeze(quantized).observable) == probes


def test_the_graph_says_what_it_is(tiny_quantized, tiny_graph):
    config = tiny_quantized.config
    assert tiny_graph.name == f"ds2ta-{config.depth}-{config.embed_dim}"
    assert (tiny_graph.input_name, tiny_graph.output) == ("images", "head.logits")
    assert tiny_graph.types["images"].shape == (None, 12, 10, 1)
    assert tiny_graph.output_scale == tiny_quantized.head.scale
    expected = {
        "family": "ds2ta",
        "input_kind": "images",
        "time_steps": config.time_steps,
        "classes": 5,
        "profile": "cpu",
        "weight_bits": 8,
        "first_layer_bits": 10,
        "thresholds": "channel",
        "rounding": ROUNDING,
    }
    assert expected.items() <= tiny_graph.facts.items()


@pytest.mark.parametrize(("tau", "exact"), [(2.0, 1), (4.0, 0), (3.0, 0)])
def test_the_graph_marks_leaks_that_are_not_exact(tau, exact):
    graph = freeze(quantize(random_network(tiny_config(membrane_time_constant=tau))))
    assert graph.facts["leak_exact"] == exact


def test_frames_are_named_so():
    graph = freeze(quantize(random_network(tiny_config(**EVENTS))))
    assert graph.input_name == "frames"
    assert graph.types["frames"].shape == (4, None, 12, 10, 2)
    assert "Repeat" not in {type(op).__name__ for op in graph}


def test_every_op_of_the_house_is_in_use(tiny_graph, family_graphs):
    assert {type(op) for graph in (tiny_graph, *family_graphs.values()) for op in graph} == set(OPS.values())


def test_weights_are_stored_in_as_few_bits_as_the_contract_says(tiny_graph):
    for op in tiny_graph:
        if isinstance(op, Linear | Conv2d):
            assert op.weight.dtype == (np.int16 if op.name.startswith("patch.stages.0") else np.int8)
        if isinstance(op, Lookup):
            assert op.table.dtype == np.int16
            assert op.table.shape == (4, 9)  # an entry for every score 0..8


def test_freezing_is_repeatable_and_does_not_change_the_model(tiny_config, tiny_model, tiny_quantized, tiny_graph):
    before = {name: tensor.clone() for name, tensor in tiny_quantized.state_dict().items()}
    assert to_bytes(freeze(tiny_quantized)) == to_bytes(tiny_graph)
    assert to_bytes(freeze(quantize(tiny_model))) == to_bytes(tiny_graph)
    assert to_bytes(freeze(quantize(random_network(tiny_config, seed=1)))) == to_bytes(tiny_graph)
    assert all(torch.equal(tensor, tiny_quantized.state_dict()[name]) for name, tensor in before.items())


def test_a_frozen_graph_survives_its_file(tiny_graph, tiny_inputs):
    back = from_bytes(to_bytes(tiny_graph))
    first, second = trace_of(tiny_graph, tiny_inputs), trace_of(back, tiny_inputs)
    assert_fires(first)
    assert differing(first, second) == {}
    assert back.facts == tiny_graph.facts
    assert back.output_scale == tiny_graph.output_scale


def test_scores_can_reach_every_entry_of_the_table_and_no_more(tiny_graph):
    assert (tiny_graph.ranges["blocks.0.attn.scores"].minimum, tiny_graph.ranges["blocks.0.attn.scores"].maximum) == (0, 8)


@pytest.mark.parametrize("level", [0, 255])
def test_extreme_pictures_agree_too(tiny_quantized, tiny_graph, level):
    pixels = np.full((1, 12, 10, 1), level, np.uint8)
    trace = trace_of(tiny_graph, pixels)
    assert differing(watched(tiny_quantized, pixels), trace) == {}
    assert all(tiny_graph.ranges[name].contains(value.astype(np.int64)) for name, value in trace.items())


def test_real_logits_are_the_integer_ones_times_the_scale(tiny_model, tiny_graph, tiny_inputs):
    with torch.no_grad():
        trained = tiny_model(torch.from_numpy(tiny_inputs.copy())).numpy()
    integer = tiny_graph.execute(tiny_inputs) * tiny_graph.output_scale
    # Spikes flip on the way (rung 0), so this only says that unit and order of classes are right.
    assert np.corrcoef(trained.flatten(), integer.flatten())[0, 1] > 0.5
    assert 0.5 < np.abs(integer).mean() / np.abs(trained).mean() < 2


# --- what is refused -------------------------------------------------------------------------------------------------


def test_a_model_that_is_not_quantized_is_refused(tiny_model):
    with pytest.raises(UnsupportedError, match=r"DS2TA-202.*quantize") as caught:
        freeze(tiny_model)
    assert caught.value.problems[0].mend


def modified(model, name, value):
    """Return a copy of the model with a module or attribute replaced."""
    copied = copy.deepcopy(model)
    parent, _, last = name.rpartition(".")
    setattr(copied.get_submodule(parent), last, value)
    return copied


@pytest.mark.parametrize(
    "name",
    [
        "blocks.0.mlp.fc1.neuron",
        "blocks.0.attn.neuron",
        "blocks.0.attn.denoiser",
        "blocks.0.attn.q.window",
        "patch.position.neuron",
        "encoder",
        "head",
    ],
)
def test_a_part_that_is_not_quantized_is_refused(tiny_model, tiny_quantized, name):
    with pytest.raises(UnsupportedError, match="DS2TA-202"):
        freeze(modified(tiny_quantized, name, copy.deepcopy(tiny_model.get_submodule(name))))


@pytest.mark.parametrize("name", ["blocks.0.mlp.fc1", "patch.position"])
def test_a_layer_without_a_bias_is_not_quantized(tiny_quantized, name):
    with pytest.raises(UnsupportedError, match=f"DS2TA-202.*{name}"):
        freeze(modified(tiny_quantized, f"{name}.bias", None))


@pytest.mark.parametrize("value", [0.5, 2.0**15, -(2.0**15) - 1, float("nan")])
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")
def test_weights_that_are_no_int16_are_refused_and_never_rounded(tiny_quantized, value):
    model = copy.deepcopy(tiny_quantized)
    model.blocks[0].mlp.fc1.weight.data[0, 0] = value
    with pytest.raises(UnsupportedError, match="DS2TA-203"):
        freeze(model)


def test_a_state_too_narrow_names_the_values_that_do_not_fit(tiny_model):
    def louder(model):
        with torch.no_grad():
            model.blocks[0].mlp.fc1.norm.bias.fill_(2e5)
            model.blocks[0].mlp.fc2.norm.bias.fill_(2e5)
        return model

    model = louder(copy.deepcopy(tiny_model))
    prove(freeze(quantize(model)), PROFILES["cpu"])
    with pytest.raises(UnsupportedError) as caught:
        freeze(quantize(model, Quantization(profile="loihi")))
    assert {problem.code for problem in caught.value.problems} == {"DS2TA-220"}
    assert {problem.where.rsplit(".", 1)[0] for problem in caught.value.problems} == {"blocks.0.mlp.fc1", "blocks.0.mlp.fc2"}


def test_a_table_too_short_for_its_scores_is_refused(tiny_quantized):
    model = copy.deepcopy(tiny_quantized)
    model.blocks[0].attn.denoiser.table = model.blocks[0].attn.denoiser.table[:, :-1]
    with pytest.raises(UnsupportedError, match=r"DS2TA-221 \[blocks\.0\.attn\.denoiser\].*\[0, 8\].*0\.\.7"):
        freeze(model)


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("blocks.0.attn.k", "threshold"),
        ("blocks.0.attn", "threshold"),
        ("blocks.0.mlp.fc2.weights", "weight"),
        ("patch.stages.2.window", "bias"),
        ("blocks.0.attn.denoiser", "table"),
    ],
)
def test_the_comparison_that_these_tests_rest_on_sees_a_change_by_one(tiny_quantized, tiny_graph, tiny_inputs, name, field):
    changed = next(op for op in tiny_graph if op.name == name)
    array = getattr(changed, field) + np.ones(1, getattr(changed, field).dtype)
    graph = replace(tiny_graph, ops=tuple(replace(op, **{field: array}) if op is changed else op for op in tiny_graph))
    wrong = differing(watched(tiny_quantized, tiny_inputs), trace_of(graph, tiny_inputs))
    assert wrong
    assert "patch.stages.1.spikes" not in wrong


def test_the_comparison_sees_a_single_weight(tiny_quantized, tiny_graph, tiny_inputs):
    changed = next(op for op in tiny_graph if op.name == "head")
    weight = changed.weight.copy()
    weight[2, 7] -= 1
    graph = replace(tiny_graph, ops=tuple(replace(op, weight=weight) if op is changed else op for op in tiny_graph))
    assert set(differing(watched(tiny_quantized, tiny_inputs), trace_of(graph, tiny_inputs))) == {"head.logits"}


def test_a_table_beyond_sixteen_bits_is_refused_by_name(tiny_model):
    model = copy.deepcopy(tiny_model)
    model.blocks[0].attn.denoiser.a.data.fill_(1e5)
    with pytest.raises(UnsupportedError, match=r"DS2TA-2\d\d \[blocks\.0\.attn"):
        freeze(quantize(model))
