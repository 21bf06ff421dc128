"""A fused body is written only for a population whose ops and wiring it fits; all else is composed, or refused by name."""

import dataclasses

import numpy as np
import pytest
from support import assert_exported_equal, assert_refused, lif, replaced, spiking_chain

from ds2ta_deploy.errors import UnsupportedError
from ds2ta_deploy.exporters.onnx import patterns, to_onnx
from ds2ta_deploy.exporters.onnx.functions import FunctionLibrary
from ds2ta_deploy.exporters.onnx.populations import Emitter
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.populations import group


def population_of(graph, name):
    (found,) = [population for population in group(graph) if population.name == name]
    return found


def test_a_linear_population_is_taken_apart(small_graph):
    parts = patterns.weighted(population_of(small_graph, "blocks.0.attn.q"))
    assert (parts.synapse.name, parts.window.name, parts.neuron.name) == (
        "blocks.0.attn.q.weights",
        "blocks.0.attn.q.window",
        "blocks.0.attn.q",
    )
    assert parts.repeat is None


def test_a_still_picture_is_repeated_between_window_and_neuron(small_graph):
    parts = patterns.weighted(population_of(small_graph, "patch.stages.0"))
    assert isinstance(parts.synapse, ops.Conv2d)
    assert parts.repeat.time_steps == 4


def test_attention_is_taken_apart_by_its_wiring_not_by_the_order_of_its_ops(small_graph):
    straight = patterns.attention(population_of(small_graph, "blocks.0.attn"))
    assert straight.sources == tuple(f"blocks.0.attn.{part}.spikes" for part in "qkv")
    assert straight.heads == 2
    *others, q, k, v = sorted(small_graph, key=lambda op: op.name in {f"blocks.0.attn.split_{part}" for part in "qkv"})
    assert [op.name[-1] for op in (q, k, v)] == ["q", "k", "v"]
    split_at = next(index for index, op in enumerate(others) if op.name == "blocks.0.attn.query_key")
    turned = dataclasses.replace(small_graph, ops=(*others[:split_at], v, k, q, *others[split_at:]))
    assert patterns.attention(population_of(turned, "blocks.0.attn")).sources == straight.sources


def odd_population(kind):
    """Return a well-formed graph with a population that no fused body fits, and inputs."""
    graph, inputs = spiking_chain(2)
    *before, linear, window, neuron, readout = graph.ops
    again = dataclasses.replace(window, name="linear.again", inputs=("linear.current",), outputs=("linear.current_2",))
    match kind:
        case "no window":
            changed = [linear, dataclasses.replace(neuron, inputs=("linear.product",)), readout]
        case "two windows":
            changed = [linear, window, again, dataclasses.replace(neuron, inputs=("linear.current_2",)), readout]
        case "shared current":
            changed = [linear, window, neuron, lif("second", "linear.current", [60, 60, 60]), readout]
        case "repeat before the window":
            return repeat_first()
        case "no neuron":
            return dataclasses.replace(graph, ops=(*before, linear), output="linear.product"), inputs
    return dataclasses.replace(graph, ops=(*before, *changed)), inputs


def repeat_first():
    """Return the chain over still pictures whose currents are repeated before the window, not behind it."""
    frames, inputs = spiking_chain(1)
    encoder, conv, window, *behind = frames.ops
    repeat = ops.Repeat("conv.repeat", ("conv.product",), ("conv._repeated",), time_steps=3)
    changed = (encoder, conv, repeat, dataclasses.replace(window, inputs=("conv._repeated",)), *behind)
    return dataclasses.replace(frames, ops=changed), inputs


ODD = ["no window", "two windows", "shared current", "repeat before the window", "no neuron"]


@pytest.mark.parametrize("kind", ODD)
def test_what_no_fused_body_fits_is_composed(kind):
    graph, inputs = odd_population(kind)
    assert_exported_equal(graph, inputs)
    name = "conv" if kind == "repeat before the window" else "linear"
    odd = next((population for population in group(graph) if population.name == name), None)
    assert odd is None or patterns.weighted(odd) is None


@pytest.mark.parametrize("changes", [{"bias": np.ones(8, np.int32)}, {"taps": 2}], ids=["bias", "taps"])
def test_attention_with_a_bias_or_a_longer_window_is_composed(small_graph, small_inputs, changes):
    graph = replaced(small_graph, "blocks.0.attn.window", **changes)
    assert patterns.attention(population_of(small_graph, "blocks.0.attn")) is not None
    assert patterns.attention(population_of(graph, "blocks.0.attn")) is None
    assert_exported_equal(graph, small_inputs)


@pytest.mark.parametrize(
    ("name", "changes"),
    [("query_key", {"transpose_left": 1, "transpose_right": 0}), ("query_key", {"transpose_right": 0}), ("split_v", {"heads": 4})],
)
def test_attention_that_is_wired_alike_and_multiplies_otherwise_is_another_one(small_graph, name, changes):
    population = population_of(small_graph, "blocks.0.attn")
    other = [dataclasses.replace(op, **changes) if op.name == f"blocks.0.attn.{name}" else op for op in population.ops]
    assert patterns.attention(dataclasses.replace(population, ops=tuple(other))) is None


def test_attention_whose_inner_value_is_read_by_somebody_else_is_taken_apart(small_graph, small_inputs):
    extra = ops.MergeHeads("blocks.0.attn.other", ("blocks.0.attn._mixed",), ("blocks.0.attn.other_context",))
    assert_exported_equal(dataclasses.replace(small_graph, ops=(*small_graph.ops, extra)), small_inputs)


@dataclasses.dataclass(frozen=True, eq=False)
class Invert(ops.Op):
    """An op that the house has not."""

    INPUT_RANKS = ((4, 5),)
    INPUT_DTYPES = (("int32",),)

    def infer_types(self, inputs):
        return tuple(inputs)

    def infer_ranges(self, inputs, types):
        return (inputs[0].of(-inputs[0].high, -inputs[0].low),)

    def execute(self, *inputs):
        return (-inputs[0],)


def inverted(graph, place):
    """Return the chain with an unknown op before the neuron of that name."""
    (neuron,) = [op for op in graph if op.name == place]
    at = graph.ops.index(neuron)
    strange = Invert(f"{place}.invert", neuron.inputs, (f"{place}.inverted",))
    behind = dataclasses.replace(neuron, inputs=strange.outputs)
    return dataclasses.replace(graph, ops=(*graph.ops[:at], strange, behind, *graph.ops[at + 1 :]))


def test_an_op_without_onnx_form_is_refused_by_name():
    graph, _ = spiking_chain(2)
    assert_refused(inverted(graph, "linear"), "DS2TA-230", "linear.invert")
    with pytest.raises(UnsupportedError, match="population of Invert"):
        to_onnx(inverted(graph, "linear"))


def test_every_population_without_onnx_form_is_named_at_once():
    graph, _ = spiking_chain(2)
    with pytest.raises(UnsupportedError) as caught:
        to_onnx(inverted(inverted(graph, "linear"), "conv"))
    assert [problem.where for problem in caught.value.problems] == ["conv.invert", "linear.invert"]


def test_an_unknown_op_inside_a_population_is_refused_with_all_that_it_belongs_to(small_graph):
    population = population_of(small_graph, "blocks.0.attn.q")
    linear, window, neuron = population.ops
    strange = Invert("blocks.0.attn.q.invert", window.outputs, ("blocks.0.attn.q.inverted",))
    odd = dataclasses.replace(population, ops=(linear, window, strange, dataclasses.replace(neuron, inputs=strange.outputs)))
    with pytest.raises(UnsupportedError, match=r"DS2TA-230 \[blocks.0.attn.q\].*Linear, TemporalWindow, Invert, Lif"):
        Emitter(small_graph, FunctionLibrary()).emit(odd)
