"""Whatever the ops and their wiring: one node, all values, the same integers."""

import dataclasses
import re

import numpy as np
import pytest
from builders import assert_fires, trace_of
from compositions import COMPOSITIONS, build
from stream_graph import build_stream_graph, small_inputs
from support import assert_all_equal, assert_exported_equal, replaced

from ds2ta_deploy.exporters.onnx import to_onnx
from ds2ta_deploy.exporters.onnx.functions import FunctionLibrary
from ds2ta_deploy.exporters.onnx.populations import Emitter
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.populations import group
from ds2ta_deploy.runtimes.native.library import library_path
from ds2ta_deploy.runtimes.ort_native import KERNELS, OnnxNativeRuntime


@pytest.fixture(scope="module", params=COMPOSITIONS)
def composition(request):
    return build(request.param)


@pytest.mark.parametrize("still", [True, False])
@pytest.mark.parametrize("seed", [5, 6])
def test_every_value_of_the_stream(still, seed):
    assert_exported_equal(build_stream_graph(seed, still=still), small_inputs(still=still))


def test_every_value_of_every_composition(composition):
    assert_exported_equal(*composition)


@pytest.mark.skipif(library_path() is None, reason="the native library was not built: there is no C compiler")
def test_every_value_where_kernels_take_what_they_know(composition):
    graph, inputs = composition
    expected = trace_of(graph, inputs)
    assert_fires(expected)
    assert_all_equal(expected, OnnxNativeRuntime(to_onnx(graph).SerializeToString(), graph).trace(inputs, graph.observable))


def test_every_population_is_one_node_of_its_name(composition):
    graph, _ = composition
    model = to_onnx(graph)
    assert [node.name for node in model.graph.node] == [population.name for population in group(graph)]
    assert [node.output[0] for node in model.graph.node] == [population.outputs[0] for population in group(graph)]


def nodes_of(name, **options):
    graph, _ = build(name)
    emitter = Emitter(graph, FunctionLibrary(), **options)
    for population in group(graph):
        emitter.emit(population)
    return {node.name: node for node in emitter.nodes}


def test_a_general_form_has_no_name_that_a_kernel_has():
    odd = ("attn", "conv", "a", "b", "both")
    stems = {name: {re.sub(r"_[0-9]+$", "", node.op_type) for node in nodes_of(name).values() if node.name in odd} for name in COMPOSITIONS}
    assert stems["linear attention"] == stems["denoised chunks"] == {"ComposedSpikingAttention"}
    assert stems["wide and dilated"] == {"ComposedSpikingConv2d"}
    assert stems["two windows"] == {"ComposedSpikingLinear"}
    assert stems["two kernels"] == {"SpikingNeuron"}
    assert not set().union(*stems.values()) & KERNELS
    assert nodes_of("wide and dilated")["wide"].op_type == "EncodingLinear"  # there is a kernel for 16 bits


def test_what_others_read_is_named_and_what_can_be_watched_is_there():
    shared = nodes_of("shared membrane")
    assert list(shared["first.window"].output) == ["first.current", ""]
    assert list(shared["first"].output) == ["first.spikes", "first.membrane"]
    assert list(shared["second"].output) == ["second.spikes", ""]
    windows = nodes_of("two windows")
    assert list(windows["a"].output) == ["a.spikes", "", "a.current-2", "", ""]  # a name that no function output can have is given at once
    shown = nodes_of("two windows", expose_all=True)
    assert list(shown["a"].output) == ["a.spikes", "a.membrane", "a.current-2", "a.current", "a.product"]


def test_arrays_and_attributes_of_one_name_are_told_apart():
    node = nodes_of("two windows")["a"]
    assert list(node.input) == ["tokens", "a.weight", "a.window.bias", "a.again.bias", "a.threshold"]
    attributes = {attribute.name: list(attribute.ints) or attribute.i for attribute in node.attribute}
    assert attributes == {"multipliers": [2, 1], "divisors": [1, 1], "multipliers_2": [2, 1, 1], "divisors_2": [1, 1, 2], "leak_divisor": 2}
    attention = nodes_of("linear attention")["attn"]
    assert {attribute.name: attribute.i for attribute in attention.attribute} == {"heads": 1, "leak_divisor": 2, "multipliers": 0}


def test_blocks_that_are_alike_share_their_functions(stream_graph):
    model = to_onnx(stream_graph)
    used = [node.op_type for node in model.graph.node if node.domain]
    assert used.count("LinearSynapses") == used.count("SpikingLinear") // 2 == 8
    assert {function.name for function in model.functions} >= {"TimeMix", "Threshold", "SplitHeads", "MergeHeads", "AxisSum", "MaxPool2d"}


def test_names_that_onnx_does_not_know_are_written_otherwise_inside():
    graph, inputs = build("two windows")
    renamed = {"a.current": "a.1st current", "a.product": "a.größe", "b.product": "b.product"}

    def new(names):
        return tuple(renamed.get(name, name) for name in names)

    changed = [dataclasses.replace(op, inputs=new(op.inputs), outputs=new(op.outputs)) for op in graph]
    assert_exported_equal(dataclasses.replace(graph, ops=tuple(changed)), inputs)


def test_a_neuron_that_nobody_reads_is_there_all_the_same():
    graph, inputs = build("two windows")
    *before, readout = graph.ops
    extra = ops.Lif("idle", ("a.product",), ("idle.spikes", "idle.membrane"), np.full(8, 40, np.int32), 1, 1)
    assert_exported_equal(dataclasses.replace(graph, ops=(*before, extra, readout)), inputs)


@pytest.mark.parametrize("entries", [(0, 255), (0, 256), (-300, 300)])
def test_maps_of_any_entries(entries):
    graph, inputs = build("denoised chunks")
    table = np.linspace(*entries, 10).astype(np.int16).reshape(2, 5)
    graph = replaced(graph, "attn.denoiser", table=table)
    context = trace_of(graph, inputs)["attn.current"]
    strong = np.quantile(context.reshape(-1, 8), 0.7, axis=0, method="higher").astype(np.int32)
    assert_exported_equal(replaced(graph, "attn", threshold=np.maximum(strong, 1)), inputs)
