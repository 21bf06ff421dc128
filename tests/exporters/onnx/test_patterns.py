"""A body is written only for a population whose ops and wiring it fits; everything else is refused by name."""

import dataclasses

import numpy as np
import pytest
from support import assert_refused, lif, replaced, spiking_chain

from ds2ta_deploy.errors import UnsupportedError
from ds2ta_deploy.exporters.onnx import patterns, to_onnx
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
    assert not parts.repeats


def test_a_still_picture_is_repeated_between_window_and_neuron(small_graph):
    parts = patterns.weighted(population_of(small_graph, "patch.stages.0"))
    assert isinstance(parts.synapse, ops.Conv2d)
    assert parts.repeats


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
    """Return a well-formed graph with a population that has no ONNX form."""
    graph, _ = spiking_chain(2)
    *before, linear, window, neuron, readout = graph.ops
    again = dataclasses.replace(window, name="linear.again", inputs=("linear.current",), outputs=("linear.current_2",))
    match kind:
        case "no window":
            changed = [linear, dataclasses.replace(neuron, inputs=("linear.product",)), readout]
        case "two windows":
            changed = [linear, window, again, dataclasses.replace(neuron, inputs=("linear.current_2",)), readout]
        case "shared current":
            changed = [linear, window, neuron, lif("second", "linear.current", [1, 1, 1]), readout]
        case "repeat before the window":
            return repeat_first()
        case _:
            return dataclasses.replace(graph, ops=(*before, linear), output="linear.product")
    return dataclasses.replace(graph, ops=(*before, *changed))


def repeat_first():
    """Return the chain over still pictures whose currents are repeated before the window, not behind it."""
    graph, _ = spiking_chain(1)
    encoder, conv, window, *behind = graph.ops
    repeat = ops.Repeat("conv.repeat", ("conv.product",), ("conv._repeated",), time_steps=3)
    return dataclasses.replace(graph, ops=(encoder, conv, repeat, dataclasses.replace(window, inputs=("conv._repeated",)), *behind))


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("no window", "linear"),
        ("two windows", "linear"),
        ("shared current", "linear.weights"),
        ("repeat before the window", "conv"),
        ("no neuron", "linear.weights"),
    ],
)
def test_a_population_without_onnx_form_is_refused_by_name(kind, place):
    assert_refused(odd_population(kind), "DS2TA-230", place)


@pytest.mark.parametrize("changes", [{"bias": np.ones(8, np.int32)}, {"taps": 2}], ids=["bias", "taps"])
def test_attention_with_a_bias_or_a_longer_window_is_refused(small_graph, changes):
    assert_refused(replaced(small_graph, "blocks.0.attn.window", **changes), "DS2TA-230", "blocks.0.attn")


def test_attention_whose_inner_value_is_read_by_somebody_else_is_refused(small_graph):
    extra = ops.MergeHeads("blocks.0.attn.other", ("blocks.0.attn._mixed",), ("blocks.0.attn.other_context",))
    assert_refused(dataclasses.replace(small_graph, ops=(*small_graph.ops, extra)), "DS2TA-230", "blocks.0.attn.split_q")


def test_a_refusal_says_which_ops_it_could_not_place(small_graph):
    with pytest.raises(UnsupportedError, match="TemporalWindow, Lif"):
        to_onnx(replaced(small_graph, "blocks.0.attn.window", taps=2))


def test_every_population_without_onnx_form_is_named_at_once(small_graph):
    graph = replaced(replaced(small_graph, "blocks.0.attn.window", taps=2), "blocks.0.mlp.fc1.window", taps=2)
    *before, linear, window, neuron, second, readout = odd_population("shared current").ops
    with pytest.raises(UnsupportedError) as caught:
        to_onnx(dataclasses.replace(odd_population("shared current"), ops=(*before, linear, window, neuron, second, readout)))
    assert [problem.where for problem in caught.value.problems] == ["linear.weights", "linear.window", "linear", "second"]
    with pytest.raises(UnsupportedError) as caught:
        to_onnx(graph)
    assert [problem.where for problem in caught.value.problems] == ["blocks.0.attn"]  # a window of two taps is fine for a linear layer
