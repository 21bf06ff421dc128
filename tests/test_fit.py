"""The estimate counts what is there, and says what has no form on a chip."""

import itertools
from importlib.resources import files
from math import ceil

import numpy as np
import pytest
from builders import build_small_graph
from hypothesis import given
from hypothesis import strategies as st
from support import replaced, spiking_chain

from ds2ta_deploy.chips import read_chip
from ds2ta_deploy.fit import _connections, estimate
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.populations import group


@pytest.fixture(scope="module")
def loihi2():
    return estimate(build_small_graph(), read_chip("loihi2"))


@pytest.fixture(scope="module")
def loihi1():
    return estimate(build_small_graph(), read_chip("loihi1"))


def entry(fit, name):
    return next(found for found in fit.populations if found.name == name)


def test_neurons_and_state(small_graph, loihi2):
    query = entry(loihi2, "blocks.0.attn.q")
    window = next(op for op in small_graph if op.name == "blocks.0.attn.q.window")
    assert query.neurons == np.prod(small_graph.types["blocks.0.attn.q.spikes"].shape[2:])
    assert query.state_words == window.taps == 3  # a membrane, and all taps but the present one
    assert query.state_bytes == query.neurons * 3 * 3
    assert query.payload_bits == 1
    current = [small_graph.ranges[f"blocks.0.attn.q.{part}"].bits for part in ("product", "current", "membrane")]
    assert query.state_bits == max(current)


def test_synapses_and_weights(small_graph, loihi2):
    fc1, weight = entry(loihi2, "blocks.0.mlp.fc1"), next(op.weight for op in small_graph if op.name == "blocks.0.mlp.fc1.weights")
    tokens = small_graph.types["blocks.0.mlp.fc1.spikes"].shape[2]
    assert (fc1.weights, fc1.synapses) == (weight.size, weight.size * tokens)
    assert fc1.shared_bytes == ceil(weight.size * fc1.weight_bits / 8)
    assert fc1.unshared_bytes == ceil(weight.size * tokens * fc1.weight_bits / 8)


def test_residual_sums_send_counts(loihi2, loihi1):
    name = "blocks.0.mlp_residual.add"
    assert entry(loihi2, name).payload_bits == 3  # 0 to 4
    assert entry(loihi2, name).problems == ()
    assert entry(loihi1, name).problems == ("what it sends needs 3 bits of 1",)


def test_attention_has_no_synapse_anywhere(loihi1, loihi2):
    for fit in (loihi1, loihi2):
        assert "multiply two activations" in entry(fit, "blocks.0.attn").problems[0]
        assert not fit.fits
    assert [found.name for found in loihi2.populations if found.problems] == ["blocks.0.attn"]


def test_a_fixed_neuron_does_less(loihi1):
    said = " ".join(entry(loihi1, "blocks.0.attn.q").problems)
    assert "floor shift" in said
    assert "temporal window" in said
    assert "table" in " ".join(entry(loihi1, "blocks.0.attn").problems)


def test_the_encoder_is_outside_unless_the_cores_can_hold_it(small_graph, loihi2):
    assert [found.name for found in loihi2.populations if found.place == "outside"] == ["encoder", "patch.stages.0"]
    assert entry(loihi2, "patch.stages.0").cores == {}
    first = next(op for op in small_graph if op.name == "patch.stages.0.weights")
    narrow = replaced(small_graph, "patch.stages.0.weights", weight=first.weight.clip(-128, 127))
    assert [found.name for found in estimate(narrow, read_chip("loihi2")).populations if found.place == "outside"] == ["encoder"]


def test_without_attention_everything_fits():
    graph, _ = spiking_chain(2, window=(3, 2, 1))
    assert estimate(graph, read_chip("loihi2")).fits


def test_what_is_too_wide_is_said(small_graph):
    wide = replaced(small_graph, "blocks.0.mlp.fc1.weights", weight=np.full((16, 8), 128, np.int16))
    wide = replaced(wide, "blocks.0.mlp.fc1.window", bias=np.full(16, 2**24, np.int32))
    assert entry(estimate(wide, read_chip("loihi2")), "blocks.0.mlp.fc1").problems == (
        "weights need 9 bits of 8",
        "state needs 26 bits of 24",
    )


@pytest.fixture(scope="module")
def streams(stream_graph):
    return {chip: estimate(stream_graph, read_chip(chip)) for chip in ("loihi1", "loihi2")}


def test_synapses_into_a_stream_hold_their_sum(streams, stream_graph):
    proj = entry(streams["loihi2"], "blocks.0.attn.proj")
    assert (proj.state_words, proj.synapses, proj.weights) == (1, 12 * 8 * 8, 8 * 8)
    assert proj.payload_bits == stream_graph.ranges["blocks.0.attn.proj.current"].bits  # of both signs
    assert any(text.startswith("weights need 12 bits of") for text in proj.problems)
    neuron = entry(streams["loihi2"], "blocks.0.attn.input")
    assert (neuron.state_words, neuron.synapses, neuron.payload_bits, neuron.problems) == (1, 0, 1, ())


def test_what_is_kept_of_earlier_steps(streams):
    assert entry(streams["loihi2"], "blocks.2.attn.mix").state_words == 3 + 1  # the past, and the sum that is sent on
    assert entry(streams["loihi2"], "blocks.1.attn").state_words == 3 * 1 + 1 + 1  # chunks of q, k, v and of what comes out; the membrane
    assert entry(streams["loihi2"], "blocks.3.attn").state_words == 1


def test_sums_and_selections_are_relays(streams):
    assert entry(streams["loihi2"], "blocks.2.attn.key_total").synapses == 2 * 1 * 12
    assert entry(streams["loihi2"], "blocks.0.attn.mask").synapses == 2 * 12 * 8
    assert entry(streams["loihi2"], "blocks.0.attn.key_value.pool").synapses == 9 * 2 * 12 * 4


def test_what_of_a_stream_has_no_form(streams):
    def said(chip, name):
        return " ".join(entry(streams[chip], name).problems)

    assert "multiply two activations" in said("loihi2", "blocks.1.attn")
    assert "numbers that are no spikes are multiplied" in said("loihi2", "blocks.2.attn.relevance")
    assert said("loihi2", "blocks.0.attn.mask") == ""  # of spikes it is a threshold of 2
    assert "the largest of several numbers" in said("loihi2", "patch.stages.1.pool")
    assert said("loihi2", "blocks.0.attn.k.pool") == ""
    for name, text in (
        ("blocks.2.attn.mix", "present and past"),
        ("blocks.2.attn.saccade", "has its threshold"),
        ("blocks.1.attn", "chunk"),
    ):
        assert text in said("loihi1", name)
        assert text not in said("loihi2", name)


def test_only_what_moves_nothing_but_names_is_left_out(streams, stream_graph):
    found = {part.name for part in streams["loihi2"].populations}
    left_out = [op for op in stream_graph if op.REARRANGES and op.name in {population.name for population in group(stream_graph)}]
    assert {op.name for op in left_out}.isdisjoint(found)
    assert found | {op.name for op in left_out} == {population.name for population in group(stream_graph)}


@given(st.integers(1, 7), st.integers(1, 7), st.sampled_from([1, 3, 5]), st.integers(1, 3))
def test_connections_of_a_dilated_convolution_are_the_pairs_inside_the_picture(height, width, size, dilation):
    table = ops.InputTable("t", ("images",), ("x",), table=np.zeros((1, 256), np.int16), still=1)
    op = ops.Conv2d("c", ("x",), ("y",), weight=np.ones((1, size, size, 1), np.int8), dilation=dilation)
    graph = Graph("g", "images", ops.ValueType((None, height, width, 1), "uint8"), (table, op), "y", 1.0)
    taps = [dilation * tap for tap in range(-(size // 2), size // 2 + 1)]
    places = itertools.product(range(height), range(width), taps, taps)
    assert _connections(graph, op) == sum(0 <= y + dy < height and 0 <= x + dx < width for y, x, dy, dx in places)


def test_cores_by_each_limit():
    chip = read_chip("loihi2")
    fit = estimate(build_small_graph(), chip)
    limits = chip.limits
    for found in fit.populations:
        if found.place == "outside":
            continue
        assert found.cores["neurons"] == ceil(found.neurons / limits.neurons_per_core.value)
        assert found.cores["synapses_unshared"] == ceil(found.unshared_bytes / limits.synaptic_bytes_per_core.value)
        assert found.cores["memory_shared"] == ceil((found.shared_bytes + found.state_bytes) / limits.bytes_per_core.value)
    inside = [found for found in fit.populations if found.place == "cores"]
    assert fit.cores_shared == len(inside)  # so small that each takes one
    assert fit.chips_shared == fit.chips_unshared == 1


def test_more_cores_than_a_chip_has_take_more_chips(tmp_path):
    source = files("ds2ta_deploy.chips").joinpath("loihi2.toml").read_text()
    (tmp_path / "few.toml").write_text(source.replace("cores_per_chip = { value = 128", "cores_per_chip = { value = 5"))
    fit = estimate(build_small_graph(), read_chip(str(tmp_path / "few.toml")))
    assert fit.chips_shared == ceil(fit.cores_shared / 5) > 1
    (tmp_path / "sparse.toml").write_text(source.replace("synapses_per_chip = { value = 120000000", "synapses_per_chip = { value = 1000"))
    fit = estimate(build_small_graph(), read_chip(str(tmp_path / "sparse.toml")))
    assert fit.chips_unshared == ceil(sum(found.synapses for found in fit.populations if found.place == "cores") / 1000)


@given(st.integers(1, 6), st.integers(1, 6), st.sampled_from([1, 3, 5]), st.integers(1, 3), st.integers(1, 3))
def test_connections_of_a_convolution_are_the_pairs_inside_the_picture(height, width, size, channels, out):
    op = ops.Conv2d("c", ("images",), ("y",), weight=np.ones((out, size, size, channels), np.int8))
    table = ops.InputTable("t", ("images",), ("x",), table=np.zeros((channels, 256), np.int16), still=1)
    op = ops.Conv2d("c", ("x",), ("y",), weight=op.weight)
    graph = Graph("g", "images", ops.ValueType((None, height, width, channels), "uint8"), (table, op), "y", 1.0)
    half = size // 2
    pairs = 0
    for y, x, dy, dx in itertools.product(range(height), range(width), range(-half, half + 1), range(-half, half + 1)):
        pairs += 0 <= y + dy < height and 0 <= x + dx < width
    assert _connections(graph, op) == pairs * channels * out
