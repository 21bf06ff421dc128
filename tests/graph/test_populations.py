from dataclasses import replace

import numpy as np
import pytest

from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.ops import Lif, Linear, TemporalWindow, ValueType
from ds2ta_deploy.graph.populations import group, population_values

COUNTS = ValueType((2, None, 3, 4), "uint8")


@pytest.fixture(scope="module")
def populations(small_graph):
    return {population.name: population for population in group(small_graph)}


def test_every_op_is_in_exactly_one_population_in_graph_order(small_graph, populations):
    members = [op.name for population in populations.values() for op in population.ops]
    assert sorted(members) == sorted(op.name for op in small_graph)
    position = {op.name: index for index, op in enumerate(small_graph)}
    for population in populations.values():
        places = [position[op.name] for op in population.ops]
        assert places == sorted(places)


def test_names_and_kinds(populations):
    assert {name: population.kind for name, population in populations.items()} == {
        "encoder": "Single",
        "patch.stages.0": "SpikingConv2d",
        "patch.stages.0.pool": "Single",
        "patch.position": "SpikingConv2d",
        "patch.residual.add": "Single",
        "patch.flatten": "Single",
        "blocks.0.attn.q": "SpikingLinear",
        "blocks.0.attn.k": "SpikingLinear",
        "blocks.0.attn.v": "SpikingLinear",
        "blocks.0.attn": "SpikingAttention",
        "blocks.0.attn.proj": "SpikingLinear",
        "blocks.0.attn_residual.add": "Single",
        "blocks.0.mlp.fc1": "SpikingLinear",
        "blocks.0.mlp.fc2": "SpikingLinear",
        "blocks.0.mlp_residual.add": "Single",
        "head": "Single",
    }


def test_what_belongs_together(populations):
    assert [op.name for op in populations["patch.stages.0"].ops] == [
        "patch.stages.0.weights",
        "patch.stages.0.window",
        "patch.stages.0.repeat",
        "patch.stages.0",
    ]
    assert {op.name.removeprefix("blocks.0.attn") for op in populations["blocks.0.attn"].ops} == {
        ".split_q",
        ".split_k",
        ".split_v",
        ".query_key",
        ".denoiser",
        ".map_value",
        ".merge",
        ".window",
        "",
    }


def test_inputs_and_outputs(populations):
    attention = populations["blocks.0.attn"]
    assert set(attention.inputs) == {"blocks.0.attn.q.spikes", "blocks.0.attn.k.spikes", "blocks.0.attn.v.spikes"}
    assert attention.outputs == ("blocks.0.attn.spikes",)
    assert populations["blocks.0.attn.q"].inputs == ("patch.tokens",)
    assert populations["patch.residual.add"].inputs == ("patch.position.spikes", "patch.stages.0.pooled")
    assert populations["head"].outputs == ("head.logits",)


def test_populations_can_run_in_their_order(small_graph):
    made = {small_graph.input_name}
    for population in group(small_graph):
        assert set(population.inputs) <= made, population.name
        made.update(population.outputs)
    assert small_graph.output in made


def test_running_the_populations_is_running_the_graph(small_graph, small_inputs):
    values = {small_graph.input_name: small_inputs.astype(np.int64)}
    for population in group(small_graph):
        inner = {name: values[name] for name in population.inputs}
        for op in population.ops:
            inner.update(zip(op.outputs, op.execute(*(inner[name] for name in op.inputs)), strict=True))
        values.update({name: inner[name] for name in population.outputs})
    assert np.array_equal(values["head.logits"], small_graph.execute(small_inputs))


def test_the_values_between_populations_are_spikes_counts_and_logits(small_graph):
    values = population_values(small_graph)
    assert len(values) == len(set(values)) == 16
    assert {name.rsplit(".", 1)[-1] for name in values} == {
        "input_values",
        "spikes",
        "pooled",
        "residual",
        "tokens",
        "attn_residual",
        "mlp_residual",
        "logits",
    }


def linear(name, value, out):
    return Linear(name, (value,), (out,), np.ones((4, 4), np.int8))


def window(name, value, out):
    return TemporalWindow(name, (value,), (out,), np.zeros(4, np.int32), 1, 0, 0)


def neuron(name, value):
    return Lif(name, (value,), (f"{name}.s", f"{name}.v"), np.ones(4, np.int32), 1, 1)


def named(ops, output):
    graph = Graph("g", "x", COUNTS, tuple(ops), output, 1.0)
    _ = graph.types
    return {population.name: population for population in group(graph)}


def test_a_product_that_two_neurons_share_is_an_output_of_its_own():
    made = named([linear("l", "x", "p"), window("w1", "p", "c1"), neuron("n1", "c1"), window("w2", "p", "c2"), neuron("n2", "c2")], "n2.s")
    assert made["l"].kind == "Single"
    assert made["l"].outputs == ("p",)
    assert [op.name for op in made["n1"].ops] == ["w1", "n1"]
    assert made["n1"].inputs == made["n2"].inputs == ("p",)


def test_a_product_read_elsewhere_too_is_not_swallowed():
    made = named([linear("l", "x", "p"), window("w", "p", "c"), neuron("n", "c"), window("other", "p", "z")], "z")
    assert made["l"].outputs == ("p",)
    assert made["other"].kind == "Synapses"
    assert [op.name for op in made["n"].ops] == ["w", "n"]


def test_a_neuron_without_weights_of_its_own_is_a_population():
    made = named([linear("l", "x", "p"), neuron("n1", "p"), neuron("n2", "p")], "n1.s")
    assert made["n1"].kind == made["n2"].kind == "SpikingNeuron"
    assert made["n1"].inputs == made["n2"].inputs == ("p",)


def test_a_membrane_that_is_read_is_an_output_as_well():
    ops = [linear("l", "x", "p"), neuron("n", "p"), window("other", "n.v", "z")]
    assert named(ops, "z")["n"].outputs == ("n.v",)
    assert named(ops, "n.s")["n"].outputs == ("n.s", "n.v")


def test_an_inner_value_that_is_the_networks_output_stays_visible(small_graph):
    graph = replace(small_graph, output="blocks.0.attn.scores")
    attention = {population.name: population for population in group(graph)}["blocks.0.attn"]
    assert set(attention.outputs) == {"blocks.0.attn.scores", "blocks.0.attn.spikes"}


def test_weights_and_bias_that_feed_a_stream_are_synapses():
    made = named([linear("l", "x", "p"), window("w", "p", "c"), neuron("n", "c"), window("other", "c", "z")], "z")
    assert [op.name for op in made["w"].ops] == ["l", "w"]
    assert made["w"].kind == "Synapses"
    assert made["w"].outputs == ("c",)
    assert made["n"].kind == "SpikingNeuron"


def test_the_populations_of_a_stream(stream_graph):
    made = {population.name: population for population in group(stream_graph)}
    kinds = {name: population.kind for name, population in made.items()}
    assert kinds["blocks.1.attn"] == kinds["blocks.3.attn"] == "SpikingAttention"
    assert kinds["blocks.0.attn.input"] == kinds["head.input"] == "SpikingNeuron"
    assert kinds["patch.position"] == kinds["blocks.2.mlp.fc2"] == "Synapses"
    assert sum(len(population.ops) for population in made.values()) == len(stream_graph.ops)


def test_a_mere_view_is_no_value_between_populations(stream_graph):
    assert set(population_values(stream_graph)) <= set(stream_graph.observable)
