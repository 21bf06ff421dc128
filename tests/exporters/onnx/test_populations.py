import numpy as np
import onnx
import pytest
from builders import build_small_graph, small_inputs, trace_of
from onnx import helper, numpy_helper
from support import assert_exported_equal, replaced, spiking_chain

from ds2ta_deploy.exporters.onnx.functions import DOMAIN, FunctionLibrary
from ds2ta_deploy.exporters.onnx.populations import Emitter
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.populations import group


def emit(graph, **options):
    emitter = Emitter(graph, FunctionLibrary(), **options)
    for population in group(graph):
        emitter.emit(population)
    return emitter


def attributes(node):
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


# --- one node a population -------------------------------------------------------------------------------------------


def test_every_population_is_one_node_of_its_name(small_graph):
    emitter = emit(small_graph)
    populations = group(small_graph)
    assert [node.name for node in emitter.nodes] == [population.name for population in populations]
    assert [node.output[0] for node in emitter.nodes] == [population.outputs[0] for population in populations]
    assert [node.input[0] for node in emitter.nodes] == [population.inputs[0] for population in populations]


def test_the_kind_of_every_node_tells_what_it_is(small_graph):
    kinds = {node.name: node.op_type for node in emit(small_graph).nodes}
    assert kinds["encoder"] == "InputTable"
    assert kinds["patch.stages.0"] == "EncodingConv2d"
    assert kinds["patch.stages.0.pool"] == "SpikeMaxPool2d"
    assert kinds["patch.position"] == "SpikingConv2d"
    assert kinds["blocks.0.attn.q"] == kinds["blocks.0.attn.k"] == kinds["blocks.0.attn.proj"] == "TemporalSpikingLinear"
    assert kinds["blocks.0.attn.v"] == "TemporalSpikingLinear_2"  # a shorter window is another body
    assert kinds["blocks.0.attn"] == "SpikingAttention"
    assert kinds["blocks.0.mlp.fc1"] == kinds["blocks.0.mlp.fc2"] == "SpikingLinear"
    assert kinds["head"] == "Readout"
    assert (kinds["patch.residual.add"], kinds["patch.flatten"]) == ("Add", "Reshape")


def test_only_the_spikes_of_a_population_have_a_name_unless_all_are_exposed(small_graph):
    hidden = {node.name: list(node.output) for node in emit(small_graph).nodes}
    assert hidden["blocks.0.attn.q"] == ["blocks.0.attn.q.spikes", "", "", ""]
    shown = {node.name: list(node.output) for node in emit(small_graph, expose_all=True).nodes}
    assert shown["blocks.0.attn.q"] == [f"blocks.0.attn.q.{value}" for value in ("spikes", "membrane", "current", "product")]
    assert shown["blocks.0.attn"] == [
        f"blocks.0.attn.{value}" for value in ("spikes", "membrane", "current", "context", "denoised", "scores")
    ]
    assert {name for outputs in shown.values() for name in outputs} == set(small_graph.observable)


def test_shifts_are_the_nodes_attributes(small_graph):
    nodes = {node.name: attributes(node) for node in emit(small_graph).nodes}
    # q: 3 taps, decay 1, 2 guard bits: << 2, << 1, << 0. k: decay 2, 1 guard bit: << 1, >> 1, >> 3.
    assert nodes["blocks.0.attn.q"] == {"multipliers": [4, 2, 1], "divisors": [1, 1, 1], "leak_divisor": 2, "leak_numerator": 1}
    assert nodes["blocks.0.attn.k"] == {"multipliers": [2, 1, 1], "divisors": [1, 2, 8], "leak_divisor": 2, "leak_numerator": 1}
    assert nodes["blocks.0.mlp.fc1"] == {"leak_divisor": 4, "leak_numerator": 3}
    assert nodes["blocks.0.attn"] == {"leak_divisor": 2, "leak_numerator": 1, "heads": 2, "guard_multiplier": 8}


def test_a_file_in_which_no_neuron_and_no_window_needs_more_has_simpler_functions():
    graph, inputs = spiking_chain(4, window=(3, 2, 4))
    nodes = {node.name: attributes(node) for node in emit(graph).nodes}
    assert nodes["linear"] == {"multipliers": [16, 4, 1], "leak_divisor": 2}
    assert_exported_equal(graph, inputs)


def test_constants_are_what_the_ops_hold(small_graph):
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in emit(small_graph).initializers}
    by_name = {op.name: op for op in small_graph}
    assert np.array_equal(constants["blocks.0.attn.q.weight"], by_name["blocks.0.attn.q.weights"].weight.T)
    assert np.array_equal(constants["blocks.0.attn.q.bias"], by_name["blocks.0.attn.q.window"].bias)
    assert np.array_equal(constants["blocks.0.attn.q.threshold"], by_name["blocks.0.attn.q"].threshold)
    assert np.array_equal(constants["blocks.0.attn.table"], by_name["blocks.0.attn.denoiser"].table)
    assert np.array_equal(constants["head.weight"], by_name["head"].weight.T)
    weight = by_name["patch.position.weights"].weight
    assert constants["patch.position.weight"].shape == (3 * 3 * 8, 8)
    for row, column, channel, out in ((0, 0, 0, 0), (1, 2, 5, 3), (2, 1, 7, 7)):
        assert constants["patch.position.weight"][(row * 3 + column) * 8 + channel, out] == weight[out, row, column, channel]


# --- every value, in and out of the ordinary -------------------------------------------------------------------------


@pytest.mark.parametrize("still", [True, False])
def test_every_value_of_the_small_graph(still):
    assert_exported_equal(build_small_graph(still=still), small_inputs(still=still))


@pytest.mark.parametrize("leak", [(1, 1), (1, 0), (1, 3), (3, 2), (171, 8)])
def test_every_value_with_any_leak(leak):
    assert_exported_equal(*spiking_chain(4, leak=leak))


@pytest.mark.parametrize("window", [(2, 1, 0), (3, 4, 0), (3, 4, 3), (3, 4, 8), (4, 1, 1), (1, 0, 3), (1, 2, 2)])
def test_every_value_with_any_window(window):
    assert_exported_equal(*spiking_chain(4, window=window))


@pytest.mark.parametrize(("steps", "taps"), [(1, 1), (1, 2), (1, 3), (2, 2), (2, 3), (2, 4), (3, 4), (5, 5), (5, 8)])
def test_every_value_when_the_window_is_longer_than_the_run(steps, taps):
    graph, inputs = spiking_chain(steps, window=(taps, 1, taps - 1))
    assert_exported_equal(graph, inputs)
    graph, inputs = spiking_chain(steps, window=(taps, 2, 0))
    assert_exported_equal(graph, inputs)


@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("name", ["conv.weights"])
def test_every_value_with_kernels_of_any_size(size, name):
    graph, inputs = spiking_chain(2)
    weight = np.random.default_rng(size).integers(-400, 401, (3, size, size, 2)).astype(np.int16)
    assert_exported_equal(replaced(graph, name, weight=weight), inputs)


def test_every_value_when_the_first_layer_is_at_the_limit_of_its_planes():
    graph, inputs = spiking_chain(2)
    random = np.random.default_rng(0)
    table = np.sort(random.choice([-8191, -8190, -128, -1, 0, 127, 8190, 8191], (2, 256)), axis=1).astype(np.int16)
    weight = random.choice([-8191, 8191, 1, -1, 64, -64, 0], (3, 3, 3, 2)).astype(np.int16)
    graph = replaced(replaced(graph, "encoder", table=table), "conv.weights", weight=weight)
    currents = trace_of(graph, inputs)["conv.current"]
    threshold = np.maximum(np.quantile(currents, 0.7, axis=(0, 1, 2, 3)), 1).astype(np.int32)
    assert_exported_equal(replaced(graph, "conv", threshold=threshold), inputs)


def test_the_emitter_knows_every_op_that_a_graph_can_hold(small_graph, stream_graph):
    assert {type(op) for graph in (small_graph, stream_graph) for op in graph} == set(ops.OPS.values())
    for graph in (small_graph, stream_graph):
        assert all(isinstance(node, onnx.NodeProto) for node in emit(graph).nodes)
        assert {node.domain for node in emit(graph).nodes} == {"", DOMAIN}
