"""What is certified holds: brute force over whole small networks, and the ends of the intervals are reached."""

from itertools import product

import builders
import numpy as np
import pytest
from support import FACTS, attention_on_counts, frozen, lif, replaced, spiking_chain

from ds2ta_deploy.artifact import encode_json
from ds2ta_deploy.certificate import certify
from ds2ta_deploy.errors import UnsupportedError
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.graph import Graph


def bounds_of(graph):
    return {entry.value: entry for entry in certify(graph).bounds}


def three_pixels(*layers, output, steps=3, threshold=None):
    """Return a graph that sees one channel of events at each of three steps, and all its 5^3 inputs as one batch.

    The table knows five different pixels only, so that these inputs are all there are.
    """
    table = np.array([0, 3, -4, 7, 1] + [7] * 251, np.int16)[None]
    encoder = ops.InputTable("encoder", ("frames",), ("pixels",), table=table, still=0)
    graph = Graph("three", "frames", ops.ValueType((steps, None, 1, 1, 1), "uint8"), (encoder, *layers), output, 1.0, dict(FACTS))
    inputs = np.array(list(product(range(5), repeat=steps)), np.uint8).T.reshape(steps, -1, 1, 1, 1)
    return graph, inputs


def neuron_network(leak=(1, 1), window=(2, 1, 0), bias=-2):
    """Return convolution, window and neuron of two channels."""
    weight = np.array([5, -3], np.int16).reshape(2, 1, 1, 1)
    taps, decay, guard = window
    return three_pixels(
        ops.Conv2d("conv.weights", ("pixels",), ("conv.product",), weight=weight),
        ops.TemporalWindow(
            "conv.window",
            ("conv.product",),
            ("conv.current",),
            bias=np.array([bias, 4], np.int32),
            taps=taps,
            decay=decay,
            guard_bits=guard,
        ),
        ops.Lif("conv", ("conv.current",), ("conv.spikes", "conv.membrane"), np.array([20 << guard, 9 << guard], np.int32), *leak),
        output="conv.spikes",
    )


@pytest.mark.parametrize("leak", [(1, 1), (0, 0), (1, 0), (3, 2)])
@pytest.mark.parametrize("window", [(1, 0, 0), (2, 1, 0), (3, 1, 2), (3, 2, 1)])
@pytest.mark.parametrize("bias", [-2, 0, 11])
def test_no_input_at_all_leaves_a_bound(leak, window, bias):
    graph, inputs = neuron_network(leak, window, bias)
    trace, bounds = builders.trace_of(graph, inputs), bounds_of(graph)
    for name, value in trace.items():
        assert bounds[name].low <= value.min(), name
        assert value.max() <= bounds[name].high, name


def test_the_bounds_of_products_are_reached():
    graph, inputs = neuron_network()
    trace, bounds = builders.trace_of(graph, inputs), bounds_of(graph)
    assert (
        (bounds["conv.product"].low, bounds["conv.product"].high) == (trace["conv.product"].min(), trace["conv.product"].max()) == (-21, 35)
    )
    assert (bounds["conv.spikes"].low, bounds["conv.spikes"].high) == (0, 1) == (trace["conv.spikes"].min(), trace["conv.spikes"].max())


def test_the_bounds_of_a_neuron_without_bias_are_reached_where_it_never_fires():
    graph, inputs = neuron_network(window=(1, 0, 0), bias=0)
    window = ops.TemporalWindow("conv.window", ("conv.product",), ("conv.current",), np.zeros(2, np.int32), 1, 0, 0)
    graph = Graph(
        graph.name,
        graph.input_name,
        graph.input_type,
        (*graph.ops[:2], window, lif("conv", "conv.current", [1000, 1000])),
        "conv.spikes",
        1.0,
    )
    trace, bounds = builders.trace_of(graph, inputs), bounds_of(graph)
    assert (bounds["conv.membrane"].low, bounds["conv.membrane"].high) == (trace["conv.membrane"].min(), trace["conv.membrane"].max())
    assert bounds["conv.spikes"].high == 0


@pytest.mark.parametrize("seed", range(3))
def test_the_bounds_of_a_linear_layer_are_reached_by_the_inputs_that_its_signs_choose(seed):
    random = np.random.default_rng(seed)
    op = ops.Linear("l", ("x",), ("y",), weight=random.integers(-127, 128, (4, 6)).astype(np.int8))
    graph = Graph("g", "x", ops.ValueType((1, None, 1, 6), "uint8"), (op,), "y", 1.0)
    entry = bounds_of(graph)["y"]
    highest = graph.execute(np.where(op.weight > 0, 255, 0).astype(np.uint8)[None, :, None])
    lowest = graph.execute(np.where(op.weight < 0, 255, 0).astype(np.uint8)[None, :, None])
    assert (entry.low, entry.high) == (lowest.min(), highest.max())


@pytest.mark.parametrize("seed", range(4))
def test_random_inputs_stay_inside_in_a_network_with_every_op(small_graph, seed):
    random = np.random.default_rng(seed)
    inputs = random.choice(np.array([0, 1, 127, 254, 255], np.uint8), builders.small_inputs().shape)
    bounds = bounds_of(small_graph)
    for name, value in builders.trace_of(small_graph, inputs).items():
        assert bounds[name].low <= value.min(), name
        assert value.max() <= bounds[name].high, name


@pytest.mark.parametrize("doublings", [0, 2])
def test_table_indices_say_why_they_stay_inside(doublings):
    graph, inputs = attention_on_counts(doublings)
    pixels, scores = certify(graph).tables
    assert (pixels.op, pixels.low, pixels.high, pixels.entries, pixels.terms, pixels.largest) == ("encoder", 0, 255, 256, 0, 255)
    assert (scores.op, scores.index, scores.low) == ("attn.denoiser", "attn.scores", 0)
    assert scores.high == scores.terms * scores.largest == 4**doublings
    assert scores.margin == scores.entries - 1 - scores.high == 0
    assert builders.trace_of(graph, inputs)["attn.scores"].max() == scores.high  # and it is reached


def test_every_value_of_a_graph_is_certified(small_graph):
    certificate = certify(small_graph)
    assert [entry.value for entry in certificate.bounds] == list(small_graph.types)
    kinds = {entry.value.rsplit(".", 1)[-1]: entry.kind for entry in certificate.bounds}
    assert kinds["product"] == kinds["scores"] == kinds["context"] == kinds["logits"] == "accumulator"
    assert (kinds["current"], kinds["membrane"], kinds["spikes"], kinds["denoised"]) == ("current", "membrane", "count", "table entry")
    assert all(entry.margin == entry.available - entry.bits >= 0 for entry in certificate.bounds)
    assert all(entry.margin == entry.limit - entry.pair >= 0 for entry in certificate.products)


def test_a_value_of_a_stream_is_what_it_is_stored_as(stream_graph):
    kinds = {entry.value: entry.kind for entry in certify(stream_graph).bounds}
    for name, kind in stream_graph.types.items():
        if name != stream_graph.input_name:
            assert (kinds[name] == "count") is (kind.dtype == "uint8"), name
    currents = ["patch.stages.1.pooled", "patch.residual", "patch.tokens", "blocks.0.attn_residual", "blocks.0.attn.proj.current"]
    assert {kinds[name] for name in currents} == {"current"}
    sums = ["blocks.1.attn.key_value", "blocks.1.attn.context", "blocks.2.attn.relevance", "blocks.2.attn.mixed", "head.sum"]
    assert {kinds[name] for name in sums} == {"accumulator"}
    assert kinds["blocks.2.attn.saccade.spikes"] == kinds["blocks.2.attn.masked"] == kinds["blocks.0.attn.k.pooled"] == "count"
    assert kinds["blocks.0.attn.input.membrane"] == "membrane"


def test_the_profile_decides_what_there_is(small_graph):
    for profile, bits in (("cpu", 32), ("loihi", 24)):
        graph = Graph(**{**vars(frozen(small_graph)), "facts": {"profile": profile}})
        state = {entry.available for entry in certify(graph).bounds if entry.kind in ("accumulator", "current", "membrane")}
        assert state == {bits}


def test_what_is_not_proved_is_not_certified(small_graph):
    table = next(op for op in small_graph if isinstance(op, ops.Lookup)).table
    with pytest.raises(UnsupportedError, match="DS2TA-221"):
        certify(replaced(small_graph, "blocks.0.attn.denoiser", table=table[:, :4]))


def test_equal_graphs_have_equal_certificates_and_others_have_not():
    one, again = (encode_json(certify(builders.build_small_graph())) for _ in range(2))
    assert one == again
    graph, _ = spiking_chain(2)
    weight = graph.ops[1].weight.copy()
    weight[0, 0, 0, 0] += 1
    assert certify(graph).graph != certify(replaced(graph, "conv.weights", weight=weight)).graph
